"""Graph code's queries of the read model wait as long as that is unavailable: a run must not fail for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import SearchOp
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.store.log_store import LogStore

from tests.checkpoints.conftest import running
from tests.stack.fixtures import MakeSettings

LIMIT_S = 60.0
"""Whatever else the machine does."""
REPLY_TIMEOUT_S = 0.2
"""Seconds that a client would wait for an outcome."""


async def test_puts_gets_and_searches_of_nodes_outlast_postgres(make_settings: MakeSettings, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "own")
    await server.start()
    try:
        async with running(make_settings(database_uri=server.uri, reply_timeout_s=REPLY_TIMEOUT_S)) as backbone:
            io = IoLoop(backbone)
            store = LogStore(io)
            await store.aput(("n",), "k", {"v": 1})
            await server.stop()
            asked: list[asyncio.Task[Any]] = [
                asyncio.create_task(store.aput(("n",), "k", {"v": 2})),
                asyncio.create_task(store.aput(("n",), "gone", {"v": 1})),
                asyncio.create_task(store.adelete(("n",), "gone")),
                asyncio.create_task(store.aget(("m",), "k")),
                asyncio.create_task(store.abatch([SearchOp(("m",))])),
                asyncio.create_task(asyncio.to_thread(store.get, ("m",), "k")),
            ]
            done, _ = await asyncio.wait(asked, timeout=10 * REPLY_TIMEOUT_S, return_when=asyncio.FIRST_EXCEPTION)
            assert not done, [task.exception() for task in done]
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

    project, gate = Projection.project, asyncio.Event()

    async def late(self: Projection, records: Any) -> None:
        await gate.wait()
        await project(self, records)

    async with running(make_settings(reply_timeout_s=REPLY_TIMEOUT_S)) as backbone:
        store = LogStore(IoLoop(backbone))
        monkeypatch.setattr(Projection, "project", late)
        put = asyncio.create_task(store.aput(("n",), "k", {"v": 1}))
        done, _ = await asyncio.wait([put], timeout=10 * REPLY_TIMEOUT_S)
        assert not done
        gate.set()
        async with asyncio.timeout(LIMIT_S):
            await put
        item = await store.aget(("n",), "k")
        assert item is not None and item.value == {"v": 1}
