"""Graph code's queries of the read model wait as long as that is unavailable: a run must not fail for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import SearchOp
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.process.retry import availabilities
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.store.log_store import LogStore
from langlog_schemas import commands

from tests.checkpoints.conftest import running
from tests.stack.fixtures import MakeSettings

LIMIT_S = 60.0
"""Whatever else the machine does."""
REPLY_TIMEOUT_S = 0.001
"""Seconds that a client would wait for an outcome: over before anything else can have happened."""
FAILED_READS = 10
"""Of three reads, each of which is tried again and again."""


def failed_reads() -> int:
    """Return the number of attempts of stores to read that have failed in this process."""
    return sum(availability.failures for availability in availabilities() if availability.loop == "worker.store")


async def test_puts_gets_and_searches_of_nodes_outlast_postgres(make_settings: MakeSettings, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "own")
    await server.start()
    try:
        async with running(make_settings(database_uri=server.uri, reply_timeout_s=REPLY_TIMEOUT_S)) as backbone:
            io = IoLoop(backbone)
            store = LogStore(io)
            await store.aput(("n",), "k", {"v": 1})
            await server.stop()
            failed_before = failed_reads()
            appended_before = sum(await backbone.log.end_offsets(commands.TOPIC))
            asked: list[asyncio.Task[Any]] = [
                asyncio.create_task(store.aput(("n",), "k", {"v": 2})),
                asyncio.create_task(store.aput(("n",), "gone", {"v": 1})),
                asyncio.create_task(store.adelete(("n",), "gone")),
                asyncio.create_task(store.aget(("m",), "k")),
                asyncio.create_task(store.abatch([SearchOp(("m",))])),
                asyncio.create_task(asyncio.to_thread(store.get, ("m",), "k")),
            ]
            writes = 3
            async with asyncio.timeout(LIMIT_S):
                while (
                    failed_reads() < failed_before + FAILED_READS
                    or sum(await backbone.log.end_offsets(commands.TOPIC)) < appended_before + writes
                ):
                    assert not (ended := [task for task in asked if task.done()]), ended
                    await asyncio.sleep(0.01)  # attempts that fail have no other signal
            await server.start()
            async with asyncio.timeout(LIMIT_S):
                results = await asyncio.gather(*asked)
            assert results[3:] == [None, [[]], None]
            item = await store.aget(("n",), "k")
            assert item is not None and item.value == {"v": 2}
    finally:
        await server.stop()


async def test_a_put_outlasts_a_projector_that_is_slow(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langlog_projector.projection import Projection

    project, reached, gate = Projection.project, asyncio.Event(), asyncio.Event()

    async def late(self: Projection, records: Any) -> None:
        reached.set()
        await gate.wait()
        await project(self, records)

    async with running(make_settings(reply_timeout_s=REPLY_TIMEOUT_S)) as backbone:
        store = LogStore(IoLoop(backbone))
        monkeypatch.setattr(Projection, "project", late)
        put = asyncio.create_task(store.aput(("n",), "k", {"v": 1}))
        async with asyncio.timeout(LIMIT_S):
            await reached.wait()
            await asyncio.sleep(2 * REPLY_TIMEOUT_S)  # on the loop whose timers a limit of the put's would be
            assert not put.done()
            gate.set()
            await put
        item = await store.aget(("n",), "k")
        assert item is not None and item.value == {"v": 1}
