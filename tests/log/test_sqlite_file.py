"""The embedded log's file: what it refuses, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
from pathlib import Path

import msgspec
import pytest
import zstandard
from langlog_backbone.log import LogFault, LogUnavailable, open_log
from langlog_backbone.log.records import command_record
from langlog_backbone.log.sqlite.file import connect
from langlog_backbone.log.sqlite.reader import fetch_many
from langlog_backbone.log.sqlite.sqlite_log import SqliteLog
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_schemas.commands import CreateThread

from tests.log.conftest import Following, OpenLog, record, stopped_after, take


@pytest.fixture
def log_kind() -> str:
    return "sqlite"


def path_of(settings: Settings) -> Path:
    return Path(settings.log_uri.removeprefix("sqlite://"))


async def test_a_file_that_is_no_database_is_a_fault_in_one_line(settings: Settings) -> None:
    path_of(settings).write_bytes(b"no database at all, but longer than a header of one hundred bytes" * 3)
    with pytest.raises(LogFault, match="is not a log of langlog") as refused:
        await open_log(settings).start()
    assert "\n" not in str(refused.value)


async def test_somebody_elses_database_is_a_fault_and_stays_as_it_is(settings: Settings) -> None:
    with sqlite3.connect(path_of(settings)) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = path_of(settings).read_bytes()
    with pytest.raises(LogFault, match="is not a log of langlog"):
        await open_log(settings).start()
    assert path_of(settings).read_bytes() == before


async def test_another_partition_count_than_it_was_made_with_is_a_fault(
    settings: Settings, open_started: OpenLog
) -> None:
    await open_started(settings)
    with pytest.raises(LogFault, match=f"has {settings.partitions} partitions"):
        await SqliteLog(path_of(settings), Settings(partitions=9)).start()


async def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogFault, match="cannot be opened"):
        await SqliteLog(tmp_path / "file" / "log.sqlite", Settings()).start()


async def test_several_start_on_a_new_file_at_once(settings: Settings, open_started: OpenLog) -> None:
    logs = await asyncio.gather(*(open_started(settings) for _ in range(5)))
    await asyncio.gather(*(log.append([record("a", "x")]) for log in logs))
    assert sum(await logs[0].end_offsets("commands")) == 5


async def test_a_commit_is_on_disk_before_it_is_acknowledged(settings: Settings, open_started: OpenLog) -> None:
    log = await open_started(settings)
    await log.append([record("a", "x")])
    assert isinstance(log, SqliteLog)
    assert log._writer is not None
    assert log._writer._db is not None
    assert log._writer._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert log._writer._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_hint_left_behind_by_a_killed_writer_costs_nothing_but_time(
    settings: Settings, open_started: OpenLog
) -> None:
    # the race: a writer is killed between its commit and the note of its sequence number for others
    first, second = await open_started(settings), await open_started(settings)
    await first.append([record("a", "0")])
    await second.append([record("a", "1")])
    lock = path_of(settings).with_name(path_of(settings).name + ".lock")
    for number in range(2, 10):
        writer = (first, second)[number % 2]
        stale = lock.read_bytes()
        await writer.append([record("a", f"{number}")])
        lock.write_bytes(stale)
    async with stopped_after(first.reader(["commands"])) as reader:
        result = await take(reader, 10)
    assert [(r.offset, int(r.value)) for r in result] == [(n, n) for n in range(10)]


async def test_a_full_disk_refuses_the_append_and_spares_what_is_there(
    settings: Settings, open_started: OpenLog
) -> None:
    log = await open_started(settings)
    await log.append([record("a", "before")])
    assert isinstance(log, SqliteLog)
    assert log._writer is not None
    assert log._writer._db is not None
    (pages,) = log._writer._db.execute("PRAGMA page_count").fetchone()
    log._writer._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogUnavailable):
        await log.append([record("a", os.urandom(500_000))])
    # the writer opens the file anew, without the limit
    await log.append([record("a", "after")])
    async with stopped_after(log.reader(["commands"])) as reader:
        assert [r.value for r in await take(reader, 2)] == [b"before", b"after"]


VALUES = [
    b"",
    b"short",
    b"compressible " * 100_000,
    os.urandom(100_000),
    zstandard.FRAME_HEADER,
    zstandard.FRAME_HEADER + b"by chance",
    zstandard.ZstdCompressor().compress(b"compressed already " * 10_000),
]


async def test_values_are_compressed_where_that_pays_and_come_out_as_they_went_in(
    settings: Settings, open_started: OpenLog
) -> None:
    mine, others = await open_started(settings), await open_started(settings)
    live = others.reader(["commands"])
    await mine.append([record("a", b"first")])
    await take(live, 1)  # at the tail now
    positions = await mine.append([record("a", value) for value in VALUES])
    async with stopped_after(live), stopped_after(others.reader(["commands"])) as late:
        assert [r.value for r in await take(live, len(VALUES))] == VALUES
        assert [r.value for r in await take(late, len(VALUES) + 1)] == [b"first", *VALUES]
    fetched = await others.fetch("commands", positions[0].partition, [position.offset for position in positions])
    assert [r.value for r in fetched] == VALUES
    with sqlite3.connect(path_of(settings)) as db:
        (stored,) = db.execute("SELECT sum(length(value)) FROM records").fetchone()
    db.close()
    assert stored < sum(map(len, VALUES)) / 5


async def test_a_reader_that_catches_up_is_bounded_by_what_comes_out(
    settings: Settings, open_started: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langlog_backbone.log.sqlite.reader.FETCH_BYTES", 250_000)
    log = await open_started(settings)
    await log.append([record("a", b"%05d" % n + b" " * 100_000) for n in range(20)])
    async with stopped_after(log.reader(["commands"])) as reader:
        first = await reader.read()
        assert len(first) == 3
        rest = await take(reader, 17)
    assert [int(r.value[:5]) for r in [*first, *rest]] == list(range(20))


async def test_a_reader_that_catches_up_copies_no_records_that_it_leaves_for_later(
    settings: Settings, open_started: OpenLog
) -> None:
    io = Path("/proc/thread-self/io")
    if not io.exists():
        pytest.skip("only Linux tells what a thread has written")
    log = await open_started(settings)
    for _ in range(20):
        await log.append([record("a", os.urandom(1_000_000)) for _ in range(2)])

    def written() -> int:
        return int(io.read_text().partition("wchar: ")[2].split()[0])

    with contextlib.closing(connect(path_of(settings), write=False)) as db:
        before = written()
        fetched = fetch_many(db, {f"{settings.topic_prefix}commands": "commands"}, 0)
        copied = written() - before
    assert [seq for seq, _ in fetched.rows] == list(range(1, 9)) and fetched.more
    assert copied < 1_000_000


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_file_of_an_earlier_format_is_read_on(settings: Settings, open_started: OpenLog, version: int) -> None:
    log = await open_started(settings)
    new, large = record("a", "x"), record("a", b"large " * 1_000)
    await log.append([new, large])
    await log.stop()
    headers, value = {**new.headers, "ce_id": "before"}, zstandard.ZstdCompressor().compress(b"old " * 2_000)
    with sqlite3.connect(path_of(settings)) as db:
        db.execute(  # as earlier formats have it
            "INSERT INTO records SELECT 3, topic, partition, 2, key, ?, ? FROM records WHERE seq = 1",
            (msgspec.msgpack.encode(headers), value if version > 1 else b"old"),
        )
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    again = await open_started(settings)
    expected = [
        (new.headers, new.value),
        (large.headers, large.value),
        (headers, b"old " * 2_000 if version > 1 else b"old"),
    ]
    async with stopped_after(again.reader(["commands"])) as reader:
        assert [(r.headers, r.value) for r in await take(reader, 3)] == expected
    fetched = await again.fetch("commands", again.partition_of("a"), [0, 1, 2])
    assert [(r.headers, r.value) for r in fetched] == expected
    with sqlite3.connect(path_of(settings)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (4,)
    db.close()


async def test_what_all_small_records_say_is_not_stored_with_each(settings: Settings, open_started: OpenLog) -> None:
    command = CreateThread(thread_id=new_id(), metadata={"owner": "ann"}, fresh=True)
    made = command_record(command, id=new_id(), source="/langlog/gateway")
    log = await open_started(settings)
    await log.append([made])
    with sqlite3.connect(path_of(settings)) as db:
        ((key, headers, value),) = db.execute("SELECT key, headers, value FROM records")
    db.close()
    assert key == command.thread_id
    assert len(headers) + len(value) < (sum(map(len, made.headers.values())) + len(made.value)) / 2


async def test_a_file_of_a_later_format_is_a_fault(settings: Settings, open_started: OpenLog) -> None:
    log = await open_started(settings)
    await log.stop()
    with sqlite3.connect(path_of(settings)) as db:
        db.execute("PRAGMA user_version = 5")
    db.close()
    with pytest.raises(LogFault, match="has format 5"):
        await open_log(settings).start()


async def test_sockets_of_dead_listeners_are_removed(settings: Settings, open_started: OpenLog) -> None:
    log = await open_started(settings)
    assert isinstance(log, SqliteLog)
    assert log._wakeup is not None
    folder = log._wakeup.folder
    folder.mkdir(mode=0o700, exist_ok=True)
    dead = folder / "12345-dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(dead))
    await log.append([record("a", "x")])
    # the ring comes after the acknowledgement; the next append waits for it
    await log.append([record("a", "x")])
    assert not dead.exists()


async def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path, open_started: OpenLog) -> None:
    folder = tmp_path / ("long" * 30)
    settings = Settings(log_uri=f"sqlite://{folder / 'log.sqlite'}", partitions=4)
    ours, theirs = await open_started(settings), await open_started(settings)
    following = Following(ours.reader(["commands"]))
    for i in range(5):
        await theirs.append([record("a", f"{i}")])
        await following.until(i + 1)
    await following.stop()


async def test_nothing_is_left_open_after_stop(settings: Settings) -> None:
    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else set()
    log = open_log(settings)
    await log.start()
    assert isinstance(log, SqliteLog)
    assert log._wakeup is not None
    folder = log._wakeup.folder
    reader = log.reader(["commands"])
    await log.append([record("a", "x")])
    await take(reader, 1)
    assert len(list(folder.iterdir())) == 1
    await reader.stop()
    await log.stop()
    assert not folder.exists() or list(folder.iterdir()) == []
    if before:
        left = [os.readlink(f"/proc/self/fd/{fd}") for fd in set(os.listdir("/proc/self/fd")) - before if fd_exists(fd)]
        assert [name for name in left if "log.sqlite" in name] == []


def fd_exists(fd: str) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


DAMAGED = {
    "no frame after its header": zstandard.FRAME_HEADER + b"\x60\x10\x00garbage",
    "a frame of 1 TB": zstandard.FRAME_HEADER + b"\xe0" + (2**40).to_bytes(8, "little") + b"\x01\x00\x00",
    "a dictionary of a later langlog": zstandard.FRAME_HEADER + b"\x21\x63\x10\x01\x00\x00",
    "nothing": b"",
    "one byte": b"\x00",
    "headers of another type": b"\x00\x05\xff\xff\xff\xff\xff",
    "headers that are no text": b"\x00\x05\x81\xa1\xff\xa1\xff",
}


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_damaged_record_is_a_fault_for_each_reader_and_none_waits_without_end(
    settings: Settings, open_started: OpenLog, damage: str
) -> None:
    mine, others = await open_started(settings), await open_started(settings)
    async with stopped_after(others.reader(["commands"])) as live:
        (position,) = await mine.append([record("a", b"first")])
        await take(live, 1)
        waiting = asyncio.create_task(live.read())
        await asyncio.sleep(0)  # it is at the tail and waits
        with sqlite3.connect(path_of(settings)) as db:
            db.execute(
                "CREATE TRIGGER damage AFTER INSERT ON records BEGIN "
                f"UPDATE records SET headers = x'', value = x'{DAMAGED[damage].hex()}' WHERE seq = NEW.seq; END"
            )
        db.close()
        await mine.append([record("a", b"second")])
        with pytest.raises(LogFault, match=r"with the key a, is damaged or of a newer langlog"):
            async with asyncio.timeout(60):
                await waiting
    async with stopped_after(others.reader(["commands"])) as late:
        with pytest.raises(LogFault, match=r"is damaged"):
            await late.read()
    with pytest.raises(LogFault, match=r"is damaged"):
        await others.fetch("commands", position.partition, [1])


async def test_damaged_pages_are_a_fault(settings: Settings, open_started: OpenLog) -> None:
    log = await open_started(settings)
    await log.append([record("a", os.urandom(3_000)) for _ in range(100)])
    await log.stop()
    with sqlite3.connect(path_of(settings)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = path_of(settings).stat().st_size
    with path_of(settings).open("r+b") as file:  # all but the page with the names of the tables
        file.seek(4_096)
        file.write(bytes(size - 4_096))
    with pytest.raises(LogFault, match=r"is damaged|not a log of langlog"):
        log = await open_started(settings)
        await log.end_offsets("commands")
