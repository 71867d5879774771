"""Graph loops whose beats are a tenth of the usual: with them a blocked loop is found soon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from langlog_executor.runtime import heartbeat
from langlog_executor.runtime.graph_loops import GraphLoops
from langlog_executor.runtime.io_loop import IoLoop


@pytest.fixture(autouse=True)
def fast_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)


@pytest.fixture
async def io() -> IoLoop:
    return IoLoop(cast(Any, None))


@pytest.fixture
async def loops(io: IoLoop) -> AsyncIterator[GraphLoops]:
    """As by default: all graphs share one."""
    made = GraphLoops(io, threads=8)
    yield made
    made.stop()


@pytest.fixture
async def isolated(io: IoLoop) -> AsyncIterator[GraphLoops]:
    """Each graph has its own."""
    made = GraphLoops(io, threads=8, isolated=True)
    yield made
    made.stop()
