"""Faults of Postgres and Redis while everything else runs: caused on real servers, and undone again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import redis.asyncio as aioredis
from langlog_backbone.process.settings import Settings

from tests.loss.cluster import Cluster

TERMINATIONS = 5
STILL_LOOKS = 500
"""Looks at a read model that does not move, some five seconds: its load has ended."""
SEGMENT_BYTES = 16 * 1024 * 1024
"""Size of a segment of Postgres' log: a limit on files below this would hit that first, and end the server."""
PAGE_BYTES = 8192
"""Size of a page of Postgres."""
FILLER_ROWS = 60_000
"""Enough for a table larger than one segment."""
RECORDS = 'SELECT coalesce(sum("offset"), 0)::bigint FROM positions'

Fault = Callable[[Cluster], AbstractAsyncContextManager[None]]
"""Entered: the fault is there. Left: it has been taken back."""


@contextlib.asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(cluster.postgres.uri, server_settings={"search_path": cluster.projection})
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def restarted(cluster: Cluster) -> AsyncIterator[None]:
    """An orderly restart of Postgres."""
    await cluster.postgres.stop()
    yield
    await cluster.postgres.start()


@contextlib.asynccontextmanager
async def terminated(cluster: Cluster) -> AsyncIterator[None]:
    """All connections are ended by an operator, again and again while the read model moves on: until the load is over, if sooner."""
    async with connected(cluster) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        moved = -1
        for _ in range(TERMINATIONS):
            still = 0
            while (now := await connection.fetchval(RECORDS)) == moved and still < STILL_LOOKS:
                still += 1
                await asyncio.sleep(0.01)
            if now == moved:
                break  # all runs have ended meanwhile
            moved = now
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
    yield


@contextlib.asynccontextmanager
async def read_only(cluster: Cluster) -> AsyncIterator[None]:
    """Postgres takes no writes, as a replica does."""
    async with connected(cluster) as connection:
        await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")
        yield
        await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await connection.execute("SELECT pg_reload_conf()")


@contextlib.asynccontextmanager
async def full_disk(cluster: Cluster) -> AsyncIterator[None]:
    """No table of Postgres can grow any more: its processes get a limit on the size of files, which is that of the largest table."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of other processes need Linux")
    async with connected(cluster) as connection:
        # rows that are gone again leave a table that is large; vacuum must not make room in it meanwhile
        await connection.execute("ALTER TABLE runs SET (autovacuum_enabled = off)")
        async with connection.transaction():  # nobody reads them: they are copies of a run, which may be under way
            await connection.execute(
                "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('run_id', 'filler-' || n))).*"
                " FROM runs r, generate_series(1, $1) n WHERE r.run_id = (SELECT run_id FROM runs LIMIT 1)",
                FILLER_ROWS,
            )
            await connection.execute("DELETE FROM runs WHERE run_id LIKE 'filler-%'")
        size = await connection.fetchval("SELECT pg_relation_size('runs')")
        assert size > SEGMENT_BYTES, "more rows are needed"
        _limit_files(cluster, size)
        try:
            yield
        finally:
            _limit_files(cluster, resource.RLIM_INFINITY)
        await connection.execute("ALTER TABLE runs RESET (autovacuum_enabled)")


def _limit_files(cluster: Cluster, size: int) -> None:
    """Limit the file size of the server and its processes, as their own user."""
    assert cluster.postgres.child is not None
    server = psutil.Process(cluster.postgres.child.pid)
    pids = [server.pid, *(child.pid for child in server.children(recursive=True))]
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:
        owner = {"user": server.uids().real, "group": server.gids().real, "extra_groups": []}

    def limit() -> None:
        """Between fork and exec, when the child is already the owner's."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    subprocess.run(["/bin/true"], preexec_fn=limit, check=True, **owner)


@contextlib.asynccontextmanager
async def broken_index(cluster: Cluster) -> AsyncIterator[None]:
    """The first page of an index is empty, as a file system may leave it that lost its last writes, until an operator makes it anew."""
    async with connected(cluster) as connection:
        await connection.execute("CHECKPOINT")
        folder, file = await connection.fetchrow(
            "SELECT current_setting('data_directory'), pg_relation_filepath('runs_pkey')"
        )
    await cluster.postgres.stop()
    with (Path(folder) / file).open("r+b") as index:
        index.write(bytes(PAGE_BYTES))
    await cluster.postgres.start()
    yield
    async with connected(cluster) as connection:
        await connection.execute("REINDEX TABLE runs")


@contextlib.asynccontextmanager
async def tables_changed(cluster: Cluster) -> AsyncIterator[None]:
    """An operator has renamed a column that all services use, and takes it back."""
    async with connected(cluster) as connection:
        await connection.execute("ALTER TABLE runs RENAME COLUMN status TO state")
    yield
    async with connected(cluster) as connection:
        await connection.execute("ALTER TABLE runs RENAME COLUMN state TO status")


@contextlib.asynccontextmanager
async def turned_away(cluster: Cluster) -> AsyncIterator[None]:
    """Postgres ends all sessions and refuses new ones by an internal error, as proxies do that reach no server."""
    async with connected(cluster) as connection:
        if await connection.fetchval("SELECT current_setting('server_version_num')::int") < 170_000:
            pytest.skip("triggers on login need Postgres 17")
        await connection.execute(
            "CREATE FUNCTION turn_away() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF current_setting('application_name') = 'langlog' THEN"
            "  RAISE EXCEPTION 'no server is behind this proxy' USING ERRCODE = 'XX000'; END IF; END $$"
        )
        await connection.execute("CREATE EVENT TRIGGER turn_away ON login EXECUTE FUNCTION turn_away()")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    yield
    async with connected(cluster) as connection:
        await connection.execute("DROP EVENT TRIGGER turn_away")
        await connection.execute("DROP FUNCTION turn_away")


@contextlib.asynccontextmanager
async def of_another_kind(cluster: Cluster) -> AsyncIterator[None]:
    """Another program has put its values under langlog's keys, as a server may have that takes over with other data."""
    async with _redis(cluster) as client:
        prefix = Settings().redis_prefix
        keys = [f"{prefix}queue", f"{prefix}leases"]
        for key in keys:
            await client.delete(key)
            await client.set(key, "of another program")
        yield
        await client.delete(*keys)


@contextlib.asynccontextmanager
async def out_of_memory(cluster: Cluster) -> AsyncIterator[None]:
    """Redis is at its ``maxmemory``, and evicts nothing."""
    async with _redis(cluster) as client:
        await client.config_set("maxmemory", 1)
        yield
        await client.config_set("maxmemory", 0)


@contextlib.asynccontextmanager
async def demoted(cluster: Cluster) -> AsyncIterator[None]:
    """Redis is a replica for a while, of a primary that is not there."""
    async with _redis(cluster) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        await client.execute_command("REPLICAOF", "NO", "ONE")


@contextlib.asynccontextmanager
async def cannot_save(cluster: Cluster) -> AsyncIterator[None]:
    """Redis cannot write its snapshot, and takes no writes for that (MISCONF)."""
    async with _redis(cluster) as client:
        result = await client.config_get("dir") | await client.config_get("dbfilename")
        blocked = Path(f"{result['dir']}/{result['dbfilename']}")
        blocked.mkdir()  # where the snapshot would go
        await client.config_set("save", "3600 1")
        await client.bgsave()
        while (await client.info("persistence"))["rdb_last_bgsave_status"] == "ok":
            await asyncio.sleep(0.05)
        yield
        await client.config_set("save", "")
        blocked.rmdir()


@contextlib.asynccontextmanager
async def killed(cluster: Cluster) -> AsyncIterator[None]:
    """Redis is killed, and comes back empty."""
    assert cluster.redis.child is not None
    await cluster.redis.child.kill()
    yield
    await cluster.redis.start()


@contextlib.asynccontextmanager
async def flushed(cluster: Cluster) -> AsyncIterator[None]:
    """Redis loses all that it holds."""
    async with _redis(cluster) as client:
        await client.flushall()
    yield


@contextlib.asynccontextmanager
async def _redis(cluster: Cluster) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.from_url(cluster.redis.uri, decode_responses=True) as client:
        yield client
