"""Nothing of an erased thread is found anywhere: every store of a running langlog is searched for its content."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest
import redis.asyncio as aioredis
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langlog_backbone.embedded.servers import LOG_FILE, EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log.sqlite.rows import read_body
from langlog_backbone.values.compression import restored

from tests.e2e.conftest import PROJECT
from tests.erasure.conftest import MASTER
from tests.stack.kafka_broker import KafkaBroker
from tests.stack.server import SURROUNDINGS, LiveServer, kafka_env

ERASED, KEPT, PASSING = "MARKER-OF-JANE-9D1F", "MARKER-OF-JOAN-77AB", "MARKER-OF-JEAN-0C3E"
TOMBSTONES = "langlog_keys.thread_keys"
LIMIT_S = 60.0


class Stores(NamedTuple):
    postgres: asyncpg.Connection
    redis: aioredis.Redis
    log: Path

    async def rows_with(self, text: str) -> list[str]:
        """Tables of all schemas with a row that holds the text, as text or as bytes."""
        tables = await self.postgres.fetch(
            "SELECT schemaname || '.' || quote_ident(tablename) AS name FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        )
        collected = []
        for (table,) in tables:
            query = (
                f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'"
            )
            if await self.postgres.fetchval(query, text, text.encode().hex()):
                collected.append(table)
        return collected

    async def keys_with(self, text: str) -> list[str]:
        """Redis keys that hold the text."""
        collected = []
        async for key in self.redis.scan_iter(count=1000):
            if text.encode() in key + b"".join(map(restored, await self._content(key))):
                collected.append(key.decode())
        return collected

    async def _content(self, key: bytes) -> list[bytes]:
        match await self.redis.type(key):
            case b"string":
                return [await self.redis.get(key) or b""]
            case b"list":
                return list(await self.redis.lrange(key, 0, -1))
            case b"zset":
                return list(await self.redis.zrange(key, 0, -1))
            case b"set":
                return list(await self.redis.smembers(key))
            case b"hash":
                return [x for pair in (await self.redis.hgetall(key)).items() for x in pair]
            case b"stream":
                return [x for _, fields in await self.redis.xrange(key) for x in fields.values()]
            case kind:
                assert kind == b"none", kind
                return []


def files_with(text: str, paths: Iterable[Path]) -> list[str]:
    """Return those of these files, and of files in these folders, that contain the text."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    assert files
    return [str(file) for file in files if text.encode() in file.read_bytes() or text in _in_log(file)]


def _in_log(file: Path) -> str:
    """Return the records of an embedded log as they are read; empty for any other file."""
    if file.name != LOG_FILE:
        return ""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT key, headers, value FROM records").fetchall()
    return "".join(f"{key}{read_body(key, headers, value)}" for key, headers, value in rows)


@asynccontextmanager
async def stores_of(live: LiveServer, log: Path) -> AsyncIterator[Stores]:
    postgres = await asyncpg.connect(EmbeddedPostgres(live.data).uri)
    client = aioredis.Redis.from_url(EmbeddedRedis(live.data).uri)
    try:
        yield Stores(postgres, client, log)
    finally:
        await client.aclose()
        await postgres.close()


async def talked(client: LangGraphClient, url: str, marker: str) -> str:
    """Create a thread with the marker in every value that a client can send."""
    async with aiohttp.ClientSession() as http:
        made = await http.post(
            f"{url}/threads", json={"metadata": {"name": marker}}, headers={"Idempotency-Key": f"make-{marker[-4:]}"}
        )
        thread: str = (await made.json())["thread_id"]
    said: Any = {"text": marker}
    stream = client.runs.stream(
        thread, "echo", input=said, metadata={"note": marker}, stream_mode=["values"], stream_resumable=True
    )
    assert any(marker in str(part.data) for part in [part async for part in stream])
    await client.threads.update_state(thread, {"text": f"more {marker}"})
    await client.threads.update(thread, metadata={"alias": marker})
    return thread


@pytest.fixture
async def kafka_folder(
    log_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[KafkaBroker | None]:
    if log_kind == "sqlite":
        yield None
        return
    broker: KafkaBroker = request.getfixturevalue("own_kafka")
    await broker.start()
    yield broker


async def test_what_was_said_in_an_erased_thread_is_in_no_store(
    kafka_folder: KafkaBroker | None, tmp_path: Path
) -> None:
    broker = kafka_folder
    env = {"LANGLOG_ENCRYPTION": "on", "LANGLOG_MASTER_KEY": MASTER, "LANGLOG_PARTITIONS": "4"}
    if broker is not None:
        env = {**kafka_env(broker.bootstrap), **env}
    live = LiveServer(PROJECT, tmp_path, env)
    with live.up():
        log_files = [tmp_path / "kafka"] if broker is not None else list(live.data.glob("log.sqlite*"))
        async with get_client(url=live.url) as client, stores_of(live, live.data) as stores:
            erased, kept = await talked(client, live.url, ERASED), await talked(client, live.url, KEPT)
            passing: Any = {"text": PASSING}
            await client.runs.wait(None, "echo", input=passing)
            assert await stores.rows_with(ERASED) and await stores.rows_with(KEPT)
            assert await stores.keys_with(ERASED)

            await client.threads.delete(erased)
            for text in (ERASED, PASSING):
                assert await stores.rows_with(text) == []
            assert await stores.rows_with(erased) == [TOMBSTONES]
            async with asyncio.timeout(LIMIT_S):
                while await stores.keys_with(ERASED) or await stores.keys_with(erased):
                    await asyncio.sleep(0.1)  # the decider takes them away beside: nothing tells of it
            for key in await stores.keys_with(PASSING):  # of a stateless run: readers may still be there; it expires
                assert await stores.redis.ttl(key) > 0
            assert await stores.rows_with(KEPT) and await stores.keys_with(KEPT)
            state = await client.threads.get_state(kept)
            assert KEPT in str(state["values"])
            assert (await run_verify(live, env)) == 0
            await stores.postgres.execute("VACUUM (FULL, ANALYZE)")
            await stores.postgres.execute("CHECKPOINT")
    for text in (ERASED, KEPT, PASSING):
        assert files_with(text, log_files) == []
    assert files_with(ERASED, [next(live.data.rglob("PG_VERSION")).parent / "base"]) == []


async def run_verify(live: LiveServer, env: dict[str, str]) -> int:
    """Check that a rebuild, with an erased thread in the log, results in the live model."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "langlog", "verify", "--data-dir", str(live.data)),
        env={**SURROUNDINGS, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    print(out.decode())
    return process.returncode or 0
