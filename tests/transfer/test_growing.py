"""`langlog log copy` between deployments: a server continues from the copy as from the original."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.log import started_log
from msgspec.structs import replace

from tests.e2e.conftest import PROJECT
from tests.stack.command_line import TOOL_S, Done, langlog
from tests.stack.fixtures import isolated
from tests.stack.server import LiveServer, kafka_env
from tests.transfer.conftest import everything, fill
from tests.transfer.lived import ENCRYPTED, Lived
from tests.transfer.stopping import REACHED

pytestmark = pytest.mark.kafka


@pytest.fixture
def on_kafka(kafka: str) -> dict[str, str]:
    return kafka_env(kafka)


def beside_log(env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which a deployment with an embedded log has the same topics."""
    return {name: value for name, value in env.items() if name != "LOG_URI"}


def copied(server: LiveServer, *words: str) -> Done:
    done = langlog(server, "log", "copy", *words)
    assert done.code == 0, done
    assert "Traceback" not in done.err
    return done


def test_a_deployment_grows_to_kafka_with_its_keys_and_comes_back(on_kafka: dict[str, str], tmp_path: Path) -> None:
    own = beside_log(on_kafka) | ENCRYPTED
    small = LiveServer(PROJECT, tmp_path / "small", own)
    with small.up():
        lived = Lived(small)
        cut = langlog(small, "log", "cut", "--before", datetime.now(UTC).isoformat(), "--yes")
        assert cut.code == 0 and "No differences." in cut.out, cut
        lived.live(small)
        running = langlog(small, "log", "copy", "--to", on_kafka["LOG_URI"])
        assert running.code == 1 and "is in use by another langlog" in running.err and "--follow" in running.err
        before = lived.seen(small)

    plan = copied(small, "--to", on_kafka["LOG_URI"], "--dry-run")
    assert "that were cut" in plan.out and "records would be copied" in plan.out
    # the new deployment's own Postgres, which has the keys before anything is folded
    large = LiveServer(PROJECT, tmp_path / "large", on_kafka | ENCRYPTED)
    with postgres(large.data) as uri:
        done = copied(small, "--to", on_kafka["LOG_URI"], "--keys-to", uri)
    assert "no differences" in done.out and "keys of threads" in done.out and "the secret of the deployment" in done.out
    with large.up():
        assert lived.seen(large) == before
        lived.go_on(large)
        after = lived.seen(large)
        busy = langlog(small, "log", "copy", "--to", on_kafka["LOG_URI"])
        assert busy.code == 1 and "1 deciders run on the log" in busy.err and "on the target" in busy.err, busy

    other = langlog(small, "log", "copy", "--to", on_kafka["LOG_URI"])
    assert other.code == 1 and "the target holds records that the source does not" in other.err, other
    # and back into a folder: its Postgres is not there yet, its keys come along
    back = LiveServer(PROJECT, tmp_path / "back", own)
    with postgres(back.data) as uri:
        copied(large, "--from", on_kafka["LOG_URI"], "--to", str(back.data), "--keys-to", uri)
    compared = copied(large, "--from", on_kafka["LOG_URI"], "--to", str(back.data), "--verify-only")
    assert "No differences." in compared.out
    with back.up():
        assert lived.seen(back) == after
        lived.live(back)


@contextmanager
def postgres(data: Path) -> Iterator[str]:
    """The Postgres that a data folder will have."""
    data.mkdir(parents=True, exist_ok=True)
    server = EmbeddedPostgres(data)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            yield server.uri
        finally:
            runner.run(server.stop())


def test_a_read_model_that_is_kept_fits_the_copy_of_its_log(on_kafka: dict[str, str], tmp_path: Path) -> None:
    server = LiveServer(PROJECT, tmp_path, beside_log(on_kafka))
    with server.up(verified=False):
        lived = Lived(server)
        before = lived.seen(server)
    copied(server, "--to", on_kafka["LOG_URI"])
    server.env["LOG_URI"] = on_kafka["LOG_URI"]
    with server.up():
        assert lived.seen(server) == before
        lived.go_on(server)


def test_a_log_is_followed_until_its_server_stops(on_kafka: dict[str, str], tmp_path: Path) -> None:
    server = LiveServer(PROJECT, tmp_path / "small", beside_log(on_kafka))
    large = LiveServer(PROJECT, tmp_path / "large", on_kafka)
    with server.up(verified=False):
        lived = Lived(server)
        words = ("log", "copy", "--to", on_kafka["LOG_URI"], "--follow", "--data-dir", str(server.data))
        following = subprocess.Popen(
            [sys.executable, "-m", "langlog", *words],
            env=server.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            for _ in range(5):
                lived.live(server)
            before = lived.seen(server)
            assert following.poll() is None
            server.stop()
            output, _ = following.communicate(timeout=TOOL_S)
        finally:
            following.kill()
    assert following.returncode == 0 and "no differences" in output, output
    with large.up():
        assert lived.seen(large) == before


def test_a_copy_that_is_killed_again_and_again_comes_to_the_same_end(on_kafka: dict[str, str], tmp_path: Path) -> None:
    settings = isolated(None, tmp_path, {"topic_prefix": on_kafka["LANGLOG_TOPIC_PREFIX"]})

    async def make() -> None:
        async with started_log(settings) as log:
            await fill(log, 20_000, size=2_000)

    asyncio.run(make())
    server = LiveServer(PROJECT, tmp_path / "unused", beside_log(on_kafka))
    server.data = settings.data_dir
    words = ["log", "copy", "--to", on_kafka["LOG_URI"], "--data-dir", str(server.data)]
    for _ in range(3):
        stopping = [sys.executable, "-m", "tests.transfer.stopping", "3000", *words]
        with subprocess.Popen(stopping, env=server.env, stdout=subprocess.PIPE, text=True) as copying:
            assert copying.stdout is not None
            lines = iter(copying.stdout.readline, "")
            assert any(line == f"{REACHED}\n" for line in lines), "the copy ended before it could be killed"
            copying.send_signal(signal.SIGKILL)
    refused = subprocess.run(
        [sys.executable, "-m", "langlog", "log", "tail"],
        env=server.env | on_kafka,
        capture_output=True,
        text=True,
        timeout=TOOL_S,
    )
    assert refused.returncode == 1 and "has not finished" in refused.stderr, refused
    done = copied(server, "--to", on_kafka["LOG_URI"])
    assert "records were there before" in done.out
    there = replace(settings, log_uri=on_kafka["LOG_URI"])
    assert asyncio.run(everything(there)) == asyncio.run(everything(settings))
    shutil.rmtree(settings.data_dir)
