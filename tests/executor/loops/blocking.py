"""Work for graph loops: some that blocks them, and some that does nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langlog_executor.runtime.graph_loops import GraphLoops

LIMIT_S = 60.0
NEVER = 10**9
"""Number of beats that no test misses."""


def blocker(begun: threading.Event, release: threading.Event) -> Callable[[], Awaitable[str]]:
    async def block() -> str:
        begun.set()
        release.wait()
        return "released"

    return block


async def blocked(loops: GraphLoops, graph_id: str) -> tuple[Any, threading.Event]:
    """Work that has begun and blocks its loop until the event is set."""
    begun, release = threading.Event(), threading.Event()
    work = loops.submit(graph_id, cast(Any, blocker(begun, release)))
    await asyncio.to_thread(begun.wait)
    return work, release


async def nothing() -> None:
    """Work that is over at once."""


async def here() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)  # nothing signals what a loop's thread does
