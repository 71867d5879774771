"""`langlog backup` beside a server, and `langlog restore` on a machine where nothing is: with the keys of encrypted threads."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.conftest import PROJECT
from tests.stack.command_line import TOOL_S, Done, langlog
from tests.stack.server import PARTITIONS, LiveServer, kafka_env
from tests.transfer.lived import ENCRYPTED, Lived, call

OTHER = base64.b64encode(bytes(range(32, 64))).decode()


def good(done: Done) -> Done:
    assert done.code == 0, done
    assert "Traceback" not in done.err
    return done


def refused(done: Done, words: str) -> None:
    assert done.code == 1 and words in done.err, done
    assert "Traceback" not in done.err


@contextlib.contextmanager
def busy(lived: Lived, server: LiveServer) -> Iterator[None]:
    """Execute runs during the block."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            lived.live(server)

    working = threading.Thread(target=work)
    working.start()
    try:
        yield
    finally:
        over.set()
        working.join()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_a_backup_of_a_busy_server_lives_on_elsewhere(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    partitions = {"LANGLOG_PARTITIONS": str(PARTITIONS)}
    here = kafka_env(request.getfixturevalue("kafka")) if kind == "kafka" else partitions
    there = kafka_env(request.getfixturevalue("kafka")) if kind == "kafka" else partitions
    server = LiveServer(PROJECT, tmp_path / "here", here | ENCRYPTED)
    folder = tmp_path / "backup"
    with server.up(verified=False):
        lived = Lived(server)
        good(langlog(server, "backup", str(folder)))
        good(langlog(server, "log", "cut", "--before", datetime.now(UTC).isoformat(), "--yes"))
        lived.live(server)
        before = lived.seen(server)
        known = list(lived.threads)
        with busy(lived, server):
            later = good(langlog(server, "backup", str(folder)))
            assert "of earlier backups" in later.out and "check value" in later.out
            piped = subprocess.run(
                [sys.executable, "-m", "langlog", "backup", "-", "--data-dir", str(server.data)],
                env=server.env,
                capture_output=True,
                timeout=TOOL_S,
                check=True,
            )
    archive = tmp_path / "backup.tar"
    archive.write_bytes(piped.stdout)
    shutil.rmtree(server.data)

    restored = LiveServer(PROJECT, tmp_path / "there", there | ENCRYPTED)
    refused(langlog(restored, "restore", str(folder), LANGLOG_ENCRYPTION="off"), "set LANGLOG_ENCRYPTION")
    refused(langlog(restored, "restore", str(folder), LANGLOG_MASTER_KEY=""), "LANGLOG_MASTER_KEY is not set")
    refused(
        langlog(restored, "restore", str(folder), LANGLOG_MASTER_KEY=OTHER), "the backup names the key with check value"
    )
    refused(langlog(restored, "restore", str(folder), LANGLOG_PARTITIONS="8"), f"of a log with {PARTITIONS} partitions")
    assert not (restored.data / "log.sqlite").exists()
    whole = good(langlog(restored, "restore", str(archive), "--check-only"))
    assert "It is whole." in whole.out
    rotated = f"{OTHER},{ENCRYPTED['LANGLOG_MASTER_KEY']}"
    done = good(langlog(restored, "restore", str(folder), LANGLOG_MASTER_KEY=rotated))
    assert "no differences" in done.out and "Folded" in done.out
    assert "the secret of the deployment is another one" in done.err
    refused(langlog(restored, "restore", str(folder)), "already: restore into an empty database")
    with restored.up():
        lived.threads = known
        seen = lived.seen(restored)
        seen.pop("threads"), before.pop("threads")  # of which there are more by now
        assert seen == before
        lived.go_on(restored)


def test_the_secret_and_plain_keys_are_in_a_backup_on_request_alone(tmp_path: Path) -> None:
    plain = {"LANGLOG_PARTITIONS": "8", "LANGLOG_ENCRYPTION": "on"}
    server = LiveServer(PROJECT, tmp_path / "here", plain)
    with server.up(verified=False):
        lived = Lived(server)
        before = lived.seen(server)
        refused(langlog(server, "backup", str(tmp_path / "backup")), "are not wrapped by a master key")
    good(langlog(server, "backup", str(tmp_path / "backup"), "--with-secrets"))  # also where no server runs
    restored = LiveServer(PROJECT, tmp_path / "there", plain)
    done = good(langlog(restored, "restore", str(tmp_path / "backup")))
    assert "secret" not in done.err
    assert (restored.data / "log.sqlite.secret").read_bytes() == (server.data / "log.sqlite.secret").read_bytes()
    with restored.up():
        assert lived.seen(restored) == before


BACKUPS = sorted((Path(__file__).parent / "backups").glob("*.tar"))
"""Each made by the version that began its format, of a server that `Lived` had made: two partitions, encrypted by the
tests' master key."""


@pytest.mark.parametrize("path", BACKUPS, ids=lambda path: path.stem)
def test_a_backup_of_an_earlier_version_is_restored_and_lives_on(path: Path, tmp_path: Path) -> None:
    server = LiveServer(PROJECT, tmp_path, {"LANGLOG_PARTITIONS": "2"} | ENCRYPTED)
    good(langlog(server, "restore", str(path), "--log-only"))  # as far as a restore that is killed while it folds
    done = good(langlog(server, "restore", str(path)))
    assert "It is whole." in done.out and "cannot be folded" not in done.err
    assert "Restored 0 records" in done.out and "Folded" in done.out
    with server.up():
        [asking] = call(server, "POST", "/threads/search", {"status": "interrupted"})
        answer = {"assistant_id": "asking", "command": {"resume": {"approved": True}}}
        answered = call(server, "POST", f"/threads/{asking['thread_id']}/runs/wait", answer)
        assert answered["answers"] == [{"approved": True, "why": ""}]
        assert len(call(server, "POST", "/store/items/search", {"namespace_prefix": []})["items"]) == 3
        assert len(call(server, "POST", "/runs/crons/search", {})) == 1
