"""Backups on both logs: consistent under load, continued, checked, refused where they are damaged or their keys are missing."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from langlog_backbone.log import DECIDERS, Log, LogFault, NewRecord, started_log
from langlog_backbone.process.settings import Settings
from langlog_backbone.transfer.backup import Taken, back_up
from langlog_backbone.transfer.backup_files import MANIFEST, Archive, Backup, BackupFault, Folder
from langlog_backbone.transfer.beside import Secret, Writer
from langlog_backbone.transfer.restore import Restored, check, restore
from langlog_backbone.transfer.targets import opened_target

from tests.stack.command_line import TOOL_S
from tests.stack.fixtures import MakeSettings
from tests.stack.server import SURROUNDINGS
from tests.transfer.conftest import everything, fill, nobody_looks, records


async def backed_up(settings: Settings, folder: Path) -> Taken:
    async with started_log(settings) as log:
        with Folder(folder) as store:
            return await back_up(log, settings, store, nobody_looks, beside=False, secrets=False, compressed=True)


async def restored(path: Path, settings: Settings, *, add: bool = False) -> Restored:
    with Backup(path) as backup:
        await check(backup, settings, nobody_looks)
        async with opened_target(settings, settings.log_uri) as target:
            return await restore(backup, target, settings, nobody_looks, beside=False, add=add)


async def test_a_backup_is_continued_and_restored_into_an_empty_log(
    make_log_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, empty, folder = make_log_settings(), make_log_settings(), tmp_path / "backup"
    async with started_log(settings) as log:
        await fill(log, 200)
        held = next(part for part, end in enumerate(await log.end_offsets("commands")) if end > 8)
        await log.cut({("commands", held): 4})
    assert (await backed_up(settings, folder)).before == 0
    async with started_log(settings) as log:
        await fill(log, 100, first=200)
        await log.append([NewRecord("run-events", "large", os.urandom(9_000_000), {"ce_id": "large"})])
    taken = await backed_up(settings, folder)
    assert (taken.records, taken.before) == (101, 196)
    assert (await backed_up(settings, folder)).records == 0
    assert await restored(folder, empty) == Restored(297, 0, 0)
    assert await restored(folder, empty) == Restored(0, 297, 0)  # killed after the log was complete, it is run again
    assert await everything(empty) == await everything(settings)


async def test_a_restore_goes_to_the_other_log_as_well(
    make_log_settings: MakeSettings, embedded: Settings, tmp_path: Path
) -> None:
    settings = make_log_settings()
    async with started_log(settings) as log:
        await fill(log, 150)
    await backed_up(settings, tmp_path / "backup")
    await restored(tmp_path / "backup", embedded)
    assert await everything(embedded) == await everything(settings)


async def test_a_target_that_holds_something_is_refused_unless_it_is_the_beginning(
    embedded: Settings, make_log_settings: MakeSettings, tmp_path: Path
) -> None:
    target, folder = make_log_settings(), tmp_path / "backup"
    async with started_log(embedded) as log:
        await fill(log, 60)
    await backed_up(embedded, folder)
    await restored(folder, target)
    async with started_log(embedded) as log:
        await fill(log, 30, first=60)
    await backed_up(embedded, folder)
    with pytest.raises(BackupFault, match="the target holds 60 records"):
        await restored(folder, target)
    assert await restored(folder, target, add=True) == Restored(30, 60, 0)
    assert await everything(target) == await everything(embedded)
    async with started_log(target) as log:
        await log.append(records(1, first=90))
    with pytest.raises(LogFault, match="holds another log"):
        await restored(folder, target, add=True)


async def test_a_restore_that_is_interrupted_is_continued(
    embedded: Settings, make_log_settings: MakeSettings, tmp_path: Path
) -> None:
    target, folder = make_log_settings(), tmp_path / "backup"
    async with started_log(embedded) as log:
        await fill(log, 3_000)
    await backed_up(embedded, folder)

    def interrupted(what: str, done: int, total: int) -> None:
        if what == "restoring" and done >= 1_000:
            raise InterruptedError

    with Backup(folder) as backup:
        async with opened_target(target, target.log_uri) as into:
            with pytest.raises(InterruptedError):
                await restore(backup, into, target, interrupted, beside=False, add=False)
    with pytest.raises(LogFault, match="has not finished"):
        async with started_log(target):
            pass
    again = await restored(folder, target)
    assert again.before >= 1_000 and again.records + again.before == 3_000
    assert await everything(target) == await everything(embedded)


async def test_the_backup_of_another_log_is_not_continued(make_log_settings: MakeSettings, tmp_path: Path) -> None:
    settings, other, folder = make_log_settings(), make_log_settings(), tmp_path / "backup"
    async with started_log(settings) as log:
        await fill(log, 40)
    async with started_log(other) as log:
        await fill(log, 60, first=3)
    await backed_up(settings, folder)
    with pytest.raises(BackupFault, match="it is of another log; name another folder"):
        await backed_up(other, folder)
    async with started_log(settings) as log:
        ends = {("commands", part): end for part, end in enumerate(await log.end_offsets("commands"))}
        await fill(log, 60, first=40)
        await log.cut({partition: end + 1 for partition, end in ends.items() if end})
    with pytest.raises(BackupFault, match="the log was cut below offset"):
        await backed_up(settings, folder)


async def test_under_load_nothing_acknowledged_before_is_missing_and_no_cause_nor_report_lacks_what_it_needs(
    make_log_settings: MakeSettings, tmp_path: Path
) -> None:
    """Appenders do what deciders and workers do: a command, its event after it; a checkpoint, the report after it."""
    settings, target = make_log_settings(), make_log_settings()
    acknowledged: list[tuple[str, int, int]] = []
    stopping = asyncio.Event()
    rounds = 0

    async def work(log: Log, key: str) -> None:
        nonlocal rounds
        n = 0
        while not stopping.is_set():
            n += 1
            (command,) = await log.append([NewRecord("commands", key, b"create", {"ce_id": f"{key}-c{n}"})])
            cause = f"{command.partition}-{command.offset}-0-1"
            await log.append([NewRecord("run-events", key, b"created", {"ce_id": f"{key}-e{n}", "ce_cause": cause})])
            (checkpoint,) = await log.append([NewRecord("run-events", key, b"checkpoint", {"ce_id": f"{key}-w{n}"})])
            report = {"ce_id": f"{key}-r{n}", "needs": f"{checkpoint.partition}-{checkpoint.offset}"}
            (reported,) = await log.append([NewRecord("commands", key, b"finish", report)])
            acknowledged.append(("commands", reported.partition, reported.offset))
            rounds += 1

    async with started_log(settings) as log, started_log(settings) as reading:
        working = [asyncio.create_task(work(log, f"key-{n}")) for n in range(12)]
        for n in range(4):
            wanted = rounds + 100
            async with asyncio.timeout(TOOL_S):
                while rounds < wanted:
                    await asyncio.sleep(0.01)  # the appenders' progress
            before = list(acknowledged)
            with Folder(tmp_path / "backup") as store:
                taken = await back_up(
                    reading, settings, store, nobody_looks, beside=False, secrets=False, compressed=bool(n % 2)
                )
            ends = {(s.topic, s.partition): s.end for s in taken.manifest.spans}
            assert all(offset < ends[topic, part] for topic, part, offset in before)
            with Backup(tmp_path / "backup") as backup:
                for file in backup.manifest.files:
                    for record in backup.records(file):
                        if "ce_cause" in record.headers:
                            part, offset, *_ = map(int, record.headers["ce_cause"].split("-"))
                            assert offset < ends["commands", part]
                        if "needs" in record.headers:
                            part, offset = map(int, record.headers["needs"].split("-"))
                            assert offset < ends["run-events", part]
        stopping.set()
        await asyncio.gather(*working)
    await restored(tmp_path / "backup", target)


@pytest.fixture
async def good(embedded: Settings, tmp_path: Path) -> Path:
    """A backup in a folder, of several files."""
    folder = tmp_path / "backup"
    async with started_log(embedded) as log:
        for n in range(3):
            await fill(log, 50, first=50 * n)
            await backed_up(embedded, folder)
    return folder


@pytest.fixture
def empty(embedded: Settings, tmp_path: Path) -> Settings:
    return msgspec.structs.replace(embedded, log_uri=f"sqlite://{tmp_path / 'restored.sqlite'}")


async def refused(path: Path, settings: Settings, match: str) -> None:
    with pytest.raises(BackupFault, match=match):
        await restored(path, settings)
    assert not Path(settings.log_uri.removeprefix("sqlite://")).exists(), "nothing is written"


async def test_damage_is_found_before_anything_is_written(good: Path, empty: Settings, tmp_path: Path) -> None:
    second = sorted(good.glob("records-*"))[1]
    whole = second.read_bytes()
    second.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    await refused(good, empty, f"{second.name} of .* is damaged")
    second.write_bytes(whole[: len(whole) // 2])
    await refused(good, empty, f"{second.name} of .* was cut off")
    second.unlink()
    await refused(good, empty, f"lacks {second.name}")
    second.write_bytes(whole)
    manifest = json.loads((good / MANIFEST).read_text())
    (good / MANIFEST).write_text(json.dumps({**manifest, "files": manifest["files"][:-1]}))
    await refused(good, empty, r"the files hold 100 records, the manifest names 150")
    (good / MANIFEST).write_text(json.dumps({**manifest, "files": [{**manifest["files"][0], "name": "../../x"}]}))
    await refused(good, empty, "which is no file of a backup")
    (good / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    await refused(good, empty, "reads formats up to 1: use a newer one")
    (good / MANIFEST).write_text(json.dumps(manifest)[:100])
    await refused(good, empty, "is damaged")
    (good / MANIFEST).unlink()
    await refused(good, empty, "has no manifest")
    await refused(tmp_path / "nowhere", empty, "there is no backup")


async def test_an_archive_that_was_cut_off_or_damaged_is_refused(
    embedded: Settings, empty: Settings, tmp_path: Path
) -> None:
    out = io.BytesIO()
    async with started_log(embedded) as log:
        await fill(log, 300)
        with Archive(out, tmp_path) as store:
            await back_up(log, embedded, store, nobody_looks, beside=False, secrets=False, compressed=True)
    whole, path = out.getvalue(), tmp_path / "backup.tar"
    for size in (0, 100, 1_000, len(whole) // 2, len(whole) - 12_000):
        path.write_bytes(whole[:size])
        await refused(path, empty, "is not a backup|has no manifest|a part of")
    path.write_bytes(whole[:2_000] + bytes([whole[2_000] ^ 255]) + whole[2_001:])
    await refused(path, empty, "is damaged")
    path.write_bytes(whole)
    assert await restored(path, empty) == Restored(300, 0, 0)
    assert await everything(empty) == await everything(embedded)


async def test_a_folder_with_something_else_is_left_alone(embedded: Settings, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    async with started_log(embedded) as log:
        await fill(log, 3)
    with pytest.raises(BackupFault, match="holds something else than a backup"):
        await backed_up(embedded, tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").glob("*.*")] == ["letter.txt"]


async def test_a_backup_that_finds_no_room_leaves_the_one_before(
    embedded: Settings, empty: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    async with started_log(embedded) as log:
        await fill(log, 50)
        await backed_up(embedded, folder)
        # smaller in the log than in a backup that is not compressed, so that the limit is that of the backup
        await log.append([NewRecord("run-events", f"{n}", bytes(400_000), {}) for n in range(10)])
    env = SURROUNDINGS | {
        "LOG_URI": embedded.log_uri,
        "LANGLOG_TOPIC_PREFIX": embedded.topic_prefix,
        "LANGLOG_PARTITIONS": str(embedded.partitions),
        "PYTHONDONTWRITEBYTECODE": "1",  # the limit would cut off what Python compiles, for all processes after it
    }

    def langlog(*words: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
        def limited() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        command = [sys.executable, "-m", "langlog", *words, "--data-dir", str(tmp_path / "data")]
        return subprocess.run(
            command, env=env, preexec_fn=limited, capture_output=True, text=True, timeout=TOOL_S, check=False
        )

    words = ("--log-only", "--compression", "none")
    full = await asyncio.to_thread(langlog, "backup", str(folder), *words, limit=1_000_000)
    assert full.returncode == 1 and "cannot be written: File too large" in full.stderr, full
    assert "Traceback" not in full.stderr
    with Backup(folder) as backup:
        await check(backup, embedded, nobody_looks)
        assert backup.manifest.records == 50
    done = await asyncio.to_thread(langlog, "backup", str(folder), *words)
    assert done.returncode == 0 and "Backed up 10 records, after 50 of earlier backups" in done.stdout, done
    async with started_log(embedded) as log:
        await log.append([NewRecord("run-events", f"{n}", os.urandom(400_000), {}) for n in range(10)])
    await backed_up(embedded, folder)
    assert not list(folder.glob("*.draft"))
    env["LOG_URI"] = empty.log_uri
    full = await asyncio.to_thread(langlog, "restore", str(folder), "--log-only", limit=2_000_000)
    assert full.returncode == 1 and "langlog: the log cannot be written" in full.stderr, full
    done = await asyncio.to_thread(langlog, "restore", str(folder), "--log-only")
    assert done.returncode == 0 and "no differences" in done.stdout, done
    assert await everything(empty) == await everything(embedded)


async def test_a_log_that_is_in_use_is_not_restored_into(embedded: Settings, empty: Settings, tmp_path: Path) -> None:
    async with started_log(embedded) as log:
        await fill(log, 20)
    await backed_up(embedded, tmp_path / "backup")
    path = Path(empty.log_uri.removeprefix("sqlite://"))
    path.parent.mkdir(parents=True, exist_ok=True)
    env = SURROUNDINGS | {
        "LOG_URI": empty.log_uri,
        "LANGLOG_TOPIC_PREFIX": empty.topic_prefix,
        "LANGLOG_PARTITIONS": str(empty.partitions),
    }
    words = [sys.executable, "-m", "langlog", "restore", str(tmp_path / "backup"), "--log-only", "--add"]
    with path.with_name(f"{path.name}.{empty.topic_prefix}{DECIDERS}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a decider does
        refused = await asyncio.to_thread(
            subprocess.run, words, env=env, capture_output=True, text=True, timeout=TOOL_S, check=False
        )
    assert refused.returncode == 1 and "stop what runs on the target" in refused.stderr, refused
    assert not path.exists()


async def test_a_secret_that_finds_no_room_is_written_whole_by_the_next_try(empty: Settings) -> None:
    path = Path(empty.log_uri.removeprefix("sqlite://") + ".secret")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(msgspec.structs.replace(empty, secret=""))
    secret = Secret(os.urandom(32))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            await writer.put([secret])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(path.parent.glob(f"{path.name}*"))
    await writer.put([secret])
    assert path.read_bytes() == secret.secret


OLDER = Path(__file__).parent / "backups"


@pytest.mark.parametrize("path", sorted(OLDER.glob("*.tar")), ids=lambda path: path.stem)
async def test_backups_of_earlier_versions_are_read(path: Path, empty: Settings) -> None:
    with Backup(path) as backup:
        partitions, count = backup.manifest.partitions, backup.manifest.records
    settings = msgspec.structs.replace(
        empty, partitions=partitions, encryption="on", master_key=base64.b64encode(bytes(range(32))).decode()
    )
    with Backup(path) as backup:
        await check(backup, settings, nobody_looks)
    async with opened_target(settings, settings.log_uri) as target:
        with Backup(path) as backup:
            assert (await restore(backup, target, settings, nobody_looks, beside=False, add=False)).records == count
