"""The graph hosts of a worker: one process of Node, and further ones while graphs hold the event loop of those that are there.

    job ─► first host ──answers, or has nothing to do──► runs there
               │
               └─ does not answer: a graph blocks it ─► the next host, a new one as long as there may be more ─► runs there

As with graph loops (`graph_loops`), a node that blocks delays no later run. Jobs on a blocked host wait for it. A further host is ended
once it has been idle for a while.

Concurrency: on the I/O loop. A host that dies fails its own jobs (see `GraphHost`); the others continue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from langlog_backbone.time.sources import monotonic

from .process import PATIENCE_S, GraphHostError

if TYPE_CHECKING:
    from .jobs import Job
    from .process import GraphHost
    from .protocol import Loaded, ToHost

logger = structlog.get_logger(__name__)

IDLE_S = 60.0
"""Time without jobs after which a further host is ended."""
START_PAUSE_S = 0.5
"""Pause after a further host did not start, before another one is tried."""


class GraphHosts:
    """The graph hosts of one worker process."""

    def __init__(self, make: Callable[[], GraphHost], most: int = 1) -> None:
        """``make`` returns a host with all graphs that is not started. ``most`` is the largest number of hosts at once."""
        self._make = make
        self._most = max(1, most)
        self._hosts = [make()]
        self._adding: asyncio.Task[GraphHost | None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._ended_starts = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._idle_since: dict[GraphHost, float] = {}

    async def start(self) -> None:
        """Start the first host. Raises GraphHostError if it does not become ready."""
        await self._hosts[0].start()

    async def stop(self) -> None:
        """End all hosts. Jobs that run on them are lost."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._adding is not None:
            self._adding.cancel()
            await asyncio.gather(self._adding, return_exceptions=True)
        await asyncio.gather(*(host.stop() for host in self._hosts), *self._ending, return_exceptions=True)

    @property
    def graph_ids(self) -> frozenset[str]:
        """Ids of the graphs that every host has loaded."""
        return self._hosts[0].graph_ids

    @property
    def loaded(self) -> Loaded | None:
        """Description of the graphs that the first host reported; None before it is ready."""
        return self._hosts[0].loaded

    def is_static(self, graph_id: str) -> bool:
        """Whether the graph is the same for every config (no function that makes it)."""
        return self._hosts[0].is_static(graph_id)

    @property
    def pids(self) -> list[int]:
        """Process ids of the hosts that run now."""
        return [host.pid for host in self._hosts if host.pid is not None]

    @property
    def rss_bytes(self) -> int:
        """Resident memory of all hosts, in bytes."""
        return sum(host.rss_bytes for host in self._hosts)

    @property
    def jobs(self) -> int:
        """Number of jobs under way, on all hosts."""
        return sum(host.jobs for host in self._hosts)

    @property
    def starts(self) -> int:
        """Number of processes that were started so far, ended ones included."""
        return sum(host.starts for host in self._hosts) + self._ended_starts

    @property
    def blocked(self) -> int:
        """Number of hosts whose event loop is blocked by a graph."""
        return sum(host.blocked for host in self._hosts)

    @property
    def blocking(self) -> frozenset[str]:
        """Ids of the graphs that may block them."""
        return frozenset[str]().union(*(host.blocking for host in self._hosts))

    async def job(
        self,
        message: Callable[[int], ToHost],
        call: Callable[[str, list[Any]], Awaitable[Any] | None],
        stream: Callable[[list[list[Any]]], None] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> Job:
        """Start a job as `GraphHost.job` does, on a host that is not blocked."""
        host = next((host for host in self._hosts if host.ready and host.free), None)
        if host is None:
            host = await self._choose()
        return await host.job(message, call, stream, about)

    async def _choose(self) -> GraphHost:
        """Return the first host that answers, or else one that is starting. If all are blocked, start another while fewer than ``most``
        run, and check again."""
        while True:
            for host in list(self._hosts):
                if host.ready and (host.free or await host.answers(PATIENCE_S)):
                    return host
            if (starting := next((host for host in self._hosts if not host.ready), None)) is not None:
                return starting
            await self._some_free()

    async def _some_free(self) -> None:
        """Wait until a blocked host answers, or there is another one: their answers wake this up."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(host.unblocked()) for host in self._hosts]
        if len(self._hosts) < self._most and self._adding is None:
            self._adding = asyncio.create_task(self._add(), name="another-graph-host")
        adding = [] if self._adding is None else [self._adding]
        try:
            await asyncio.wait([*waits, *adding], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _add(self) -> GraphHost | None:
        host = self._make()
        try:
            await host.start()
        except GraphHostError as error:
            logger.error("graph_host.start_failed", error=str(error), effect="jobs wait for the one that is blocked")
            await asyncio.sleep(START_PAUSE_S)
            return None
        except BaseException:
            await host.stop()
            raise
        finally:
            self._adding = None
        self._hosts.append(host)
        self._sweep_later()
        return host

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_S / 4, self.sweep)

    def sweep(self) -> None:
        """End further hosts that have been idle for `IDLE_S`, and schedule the next check."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = None
        now = monotonic()
        for host in self._hosts[1:]:
            since = self._idle_since.setdefault(host, now)
            if host.jobs:
                self._idle_since[host] = now
            elif now - since >= IDLE_S:
                self._hosts.remove(host)
                self._ended_starts += host.starts
                self._idle_since.pop(host, None)
                ending = asyncio.ensure_future(host.stop())
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        if len(self._hosts) > 1:
            self._sweep_later()
