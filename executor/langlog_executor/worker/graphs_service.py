"""The service that waits at a start until clients find the project's graphs.

Concurrency: a `Service`; lives on its process's event loop and runs no user code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from langlog_backbone.log import DECIDERS, Positions
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import Availability, until_available
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import read_project
from langlog_backbone.redis import channels
from langlog_schemas import commands
from langlog_schemas.ids import default_assistant_id

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone

RECHECK_S = 1.0
"""Seconds between checks without a notification."""

_ANNOUNCED = load_sql("langlog_executor", "workers.sql")["announced"]


class GraphsService:
    """Ready when the read model has the project's graphs and their default assistants: the first request finds them.

    Started after a decider and the workers, whose announcements it waits for.
    """

    name = "graphs"

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    async def start(self) -> None:
        """Wait until the graphs are in the read model. Raises StartError."""
        graph_ids = list(read_project(self._backbone.settings.project).graphs)
        ids = [default_assistant_id(g) for g in graph_ids]
        moved = asyncio.Event()

        def folded(_: bytes) -> None:
            moved.set()

        async def there() -> bool:
            row = await until_available(lambda: self._backbone.pool.fetchrow(_ANNOUNCED, ids, graph_ids), on=on)
            return bool(row["assistants"] >= len(ids) and row["graphs"] >= len(graph_ids))

        bus, on = self._backbone.bus, Availability("workers.start")
        await bus.subscribe(channels.WATERMARK, folded)
        try:
            await until_there(there, moved, self._decided, self._backbone.settings.worker_start_s)
        except TimeoutError:
            raise StartError("the graphs did not reach the read model: do a decider and a projector run?") from None
        finally:
            await bus.unsubscribe(channels.WATERMARK, folded)

    async def _decided(self) -> Positions:
        """Return the positions below which the deciders have decided all commands."""
        log, on = self._backbone.log, Availability("workers.start", "log")
        partitions = [(commands.TOPIC, partition) for partition in range(log.partitions)]
        return await until_available(lambda: log.committed(DECIDERS, partitions), on=on)

    async def serve(self) -> None:
        await asyncio.Event().wait()

    async def drain(self) -> None:
        """Do nothing: no work is under way."""

    async def stop(self) -> None:
        """Do nothing: no resource is held."""

    async def not_ready(self) -> str | None:
        return None


async def until_there(
    there: Callable[[], Awaitable[bool]],
    moved: asyncio.Event,
    decided: Callable[[], Awaitable[Positions]],
    limit_s: float,
) -> None:
    """Wait until ``there`` returns True, for as long as deciders or projectors make progress: what they have before them may be much.

    ``moved`` is set whenever a projector has folded records. ``decided`` returns the deciders' positions: commands that were decided before leave
    nothing to fold. Raises TimeoutError after ``limit_s`` seconds of waiting without progress of either; the time in which the two calls
    wait for a server that is unavailable does not count.
    """
    clock = asyncio.get_running_loop().time
    before, waited_s = await decided(), 0.0
    while not await there():
        began = clock()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECHECK_S):
                await moved.wait()
        waited_s += clock() - began
        now = await decided()
        if moved.is_set() or now != before:
            waited_s = 0.0
        elif waited_s >= limit_s:
            raise TimeoutError
        before = now
        moved.clear()
