"""The embedded Postgres and Redis: real, ours, and gone when we are."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from langlog_backbone.embedded import servers
from langlog_backbone.embedded.child import Child
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis, embedded_servers
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import check_redis
from structlog.testing import capture_logs

from tests.stack.ends import await_ends

ROOT = Path(__file__).parents[2]
LIMIT_S = 90.0


async def fetch(uri: str, query: str) -> object:
    connection = await asyncpg.connect(uri)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that all tests of this module use one after the other."""
    return tmp_path_factory.mktemp("data")


async def test_postgres_has_vectors_and_a_read_models_settings(postgres: EmbeddedPostgres) -> None:
    await fetch(postgres.uri, "CREATE EXTENSION IF NOT EXISTS vector")
    assert await fetch(postgres.uri, "SELECT '[1,2,3]'::vector <-> '[1,2,4]'::vector") == 1.0
    assert await fetch(postgres.uri, "SHOW synchronous_commit") == "off"
    assert await fetch(postgres.uri, "SHOW fsync") == "on"
    assert await fetch(postgres.uri, "SHOW jit") == "off"
    assert await fetch(postgres.uri, "SHOW listen_addresses") == ""
    assert await fetch(postgres.uri, "SELECT lower('ÄÖÜ')") == "äöü"
    assert await fetch(postgres.uri, "SHOW server_encoding") == "UTF8"


async def test_redis_is_new_enough_and_keeps_nothing(redis_server: EmbeddedRedis) -> None:
    await check_redis(redis_server.uri)


async def test_only_what_has_no_uri_is_started(tmp_path: Path) -> None:
    given = Settings(
        data_dir=tmp_path / "unused", log_uri="kafka://a:1", database_uri="postgresql://b", redis_uri="redis://c"
    )
    async with embedded_servers(given) as settings:
        assert settings == given
    assert not (tmp_path / "unused").exists()
    async with embedded_servers(Settings(data_dir=tmp_path / "used", database_uri="postgresql://b")) as settings:
        assert settings.database_uri == "postgresql://b"
        assert settings.log_uri == f"sqlite://{tmp_path / 'used' / 'log.sqlite'}"
        await check_redis(settings.redis_uri)
    assert not list((tmp_path / "used").glob("postgres-*"))


async def test_what_was_written_is_there_at_the_next_start_which_starts_two_programs_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start after a regular end is quick: nothing is set up again, recovered, or found running."""
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        await fetch(settings.database_uri, "CREATE TABLE kept AS SELECT 1 AS x")
    started: list[str] = []

    class NotedChild(Child):
        def __init__(self, command: Sequence[Any], **options: Any) -> None:
            super().__init__(command, **options)
            started.append(self.program)

    monkeypatch.setattr(servers, "Child", NotedChild)
    with capture_logs() as logged:
        async with embedded_servers(Settings(data_dir=folder)) as settings:
            assert await fetch(settings.database_uri, "SELECT x FROM kept") == 1
    assert len(started) == 2 and "postgres" in started, started
    assert logged == []
    assert "automatic recovery" not in (folder / "postgres.log").read_text()


async def test_a_second_langlog_on_the_folder_is_refused_in_one_line(folder: Path) -> None:
    async with embedded_servers(Settings(data_dir=folder)):
        with pytest.raises(StartError) as refused:
            async with embedded_servers(Settings(data_dir=folder)):
                pass
    assert str(refused.value) == f"data folder {folder} is in use by another langlog (pid {os.getpid()})"


async def test_servers_go_with_a_langlog_that_was_killed_and_the_next_one_starts(folder: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.embedded.holder", str(folder)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert (await asyncio.wait_for(holder.stdout.readline(), LIMIT_S)).startswith(b"up")
    children = [child.pid for child in psutil.Process(holder.pid).children(recursive=True)]
    assert len(children) >= 2
    holder.kill()
    await holder.wait()
    if sys.platform == "linux":
        await asyncio.to_thread(await_ends, children)
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        assert await fetch(settings.database_uri, "SELECT 1") == 1
        await check_redis(settings.redis_uri)
    await asyncio.to_thread(await_ends, children)


async def test_a_server_that_an_earlier_langlog_left_running_is_stopped_first(folder: Path) -> None:
    left_postgres, left_redis = EmbeddedPostgres(folder), EmbeddedRedis(folder)
    await left_postgres.start()
    await left_redis.start()
    assert left_postgres.child is not None
    assert left_redis.child is not None
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        await asyncio.wait_for(left_postgres.child.wait_exit(), LIMIT_S)
        await asyncio.wait_for(left_redis.child.wait_exit(), LIMIT_S)
        assert await fetch(settings.database_uri, "SELECT 1") == 1
        await check_redis(settings.redis_uri)


async def test_processes_of_a_postgres_whose_first_process_was_killed_are_ended_first(folder: Path) -> None:
    """One that is busy does not notice the death, and a new Postgres does not begin beside it."""
    left = EmbeddedPostgres(folder)
    await left.start()
    assert left.child is not None
    connection = await asyncpg.connect(left.uri)
    pid = connection.get_server_pid()
    busy = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 10000000000)"))
    while not await fetch(left.uri, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"):
        await asyncio.sleep(0.01)
    await left.child.kill()
    assert psutil.pid_exists(pid)
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        assert await fetch(settings.database_uri, "SELECT 1") == 1
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await busy
    await asyncio.to_thread(await_ends, [pid])


@pytest.mark.parametrize("whose", ["another program", "another Postgres"])
async def test_what_a_power_cut_leaves_behind_may_name_the_pid_of_a_living_process(
    folder: Path, postgres: EmbeddedPostgres, whose: str
) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert postgres.child is not None
    pid = bystander.pid if whose == "another program" else postgres.child.pid
    try:
        async with embedded_servers(Settings(data_dir=folder)) as settings:
            left = {path: path.read_bytes() for path in _pid_files(folder)}
            assert len(left) >= 2
            assert await fetch(settings.database_uri, "SELECT 1") == 1
        for path, text in left.items():
            _, _, rest = text.partition(b"\n")
            path.write_bytes(f"{pid}\n".encode() + rest)
        for name in ("redis.pid", "lock"):
            (folder / name).write_text(f"{pid}\n")
        async with embedded_servers(Settings(data_dir=folder)) as settings:
            assert await fetch(settings.database_uri, "SELECT 1") == 1
            await check_redis(settings.redis_uri)
        assert bystander.poll() is None
        assert await fetch(postgres.uri, "SELECT 1") == 1
    finally:
        bystander.kill()
        bystander.wait()


def _pid_files(folder: Path) -> list[Path]:
    sockets = EmbeddedPostgres(folder)._sockets
    return [*folder.glob("postgres-*/postmaster.pid"), *sockets.glob(".s.PGSQL.*.lock")]


async def test_a_server_that_cannot_be_started_again_at_once_is_started_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        plainly, failures = EmbeddedRedis.start, [StartError("no space left"), StartError("no space left")]

        async def failing(self: EmbeddedRedis) -> None:
            if failures:
                raise failures.pop()
            await plainly(self)

        monkeypatch.setattr(EmbeddedRedis, "start", failing)
        for child in psutil.Process().children():
            if child.name() in ("redis-server", "valkey-server") and str(folder) in " ".join(child.cmdline()):
                child.kill()

        async def answers() -> None:
            while True:
                try:
                    await check_redis(settings.redis_uri)
                except StartError:
                    await asyncio.sleep(0.02)
                else:
                    return

        while failures:
            await asyncio.sleep(0.02)
        await asyncio.wait_for(answers(), LIMIT_S)


async def test_a_server_that_dies_alone_is_started_again(folder: Path) -> None:
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        names = {"postgres", "redis-server", "valkey-server"}
        for child in psutil.Process().children():
            if child.name() in names and str(folder) in " ".join(child.cmdline()):
                child.kill()

        async def answers() -> None:
            while True:
                try:
                    await check_redis(settings.redis_uri)
                    assert await fetch(settings.database_uri, "SELECT 1") == 1
                except (StartError, OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.02)
                else:
                    return

        await asyncio.wait_for(answers(), LIMIT_S)


async def test_a_set_up_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    (tmp_path / f"{server._folder.name}.new").mkdir()
    (tmp_path / f"{server._folder.name}.new" / "PG_VERSION").write_text("half of it")
    await server.start()
    assert await fetch(server.uri, "SELECT 1") == 1
    await server.stop()


async def test_a_folder_whose_path_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        assert await fetch(settings.database_uri, "SELECT 1") == 1
        await check_redis(settings.redis_uri)


async def test_a_data_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be used") as refused:
        async with embedded_servers(Settings(data_dir=tmp_path / "file" / "data")):
            pass
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_ordinary_user_starts_them_too() -> None:
    nobody = pwd.getpwnam("nobody")
    folder = Path("/tmp") / f"langlog-test-{os.getpid()}"
    folder.mkdir()
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from langlog_backbone.embedded.servers import embedded_servers; from langlog_backbone.process.settings import Settings\n"
        "async def main():\n"
        "    async with embedded_servers(Settings(data_dir=Path(sys.argv[1]))): print('up')\n"
        "asyncio.run(main())"
    )
    try:
        try:
            said = subprocess.run(
                [sys.executable, "-c", code, str(folder / "data")],
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                cwd="/",
                env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
            )
        except PermissionError:
            pytest.skip("the interpreter is closed to other users")
        assert said.stdout == "up\n", said.stderr
    finally:
        shutil.rmtree(folder)
