"""One rig for each log, which all tests of the folder share, and the load under which each of them brings about its faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from tests.faults.load import Load
from tests.faults.rig import LOGS, Rig, running_rig
from tests.history.workload import workload

PACE_S = 0.2
"""Between rounds of the load: it is there to be answered wrongly, not to keep the machine busy."""
BEFORE, AFTER = 5, 6
"""Rounds that end before and after the faults; each kind has had its turn."""

UnderLoad = Callable[[], AbstractAsyncContextManager[Load]]


@pytest_asyncio.fixture(
    scope="package",
    loop_scope="session",
    params=[pytest.param(log, marks=[pytest.mark.kafka] if log == "kafka" else []) for log in LOGS],
)
async def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running_rig(request.param, tmp_path_factory.mktemp("faults")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def under_load(rig: Rig) -> UnderLoad:
    """A block in which faults come and go, amid a load. Afterwards nothing is lost, doubled or stuck, one order of all calls explains
    what clients saw, and no process has ended."""

    @contextlib.asynccontextmanager
    async def block() -> AsyncIterator[Load]:
        async with workload(rig.urls, pace_s=PACE_S) as clients:
            load = Load(rig.log, clients)
            async with clients.going():
                await clients.more(BEFORE)
                yield load
                await clients.more(AFTER)
            await asyncio.to_thread(clients.check)
        assert rig.deaths() == []
        load.record()

    return block
