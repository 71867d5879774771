"""Figures of worker processes, through a socket pair: the pool requests them, a worker responds, and one scrape shows all.

    pool ──one byte──► worker ──length and JSON of its families──► pool         (at each scrape)
                       worker ──the same, unrequested, when it ends──► pool

Counts of ended workers stay in the sums, so counters do not decrease when a worker is swapped or dies; of one that died,
the counts since the last scrape are lost. A worker that does not respond in time is shown with its last figures. No files are used.

Concurrency: each end on the event loop of its process. When a worker dies, its end of the socket closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import msgspec

from .exposition import of_process
from .families import Family, family, lasting, merged
from .table import INFO, PYTHON, STARTED, WORKER_PROCESSES

ANSWER_S = 1.0
"""Seconds for workers to respond: their event loop does I/O only."""
NOT_OF_WORKERS = frozenset({INFO, PYTHON, STARTED})
"""Metrics of the scraped process only."""
MAX_BYTES = 16_000_000
_LENGTH_BYTES = 4
_decoder = msgspec.json.Decoder(list[Family])


async def serve_figures(fd: int, refresh: Callable[[], None]) -> None:
    """Serve the worker's end until the pool's closes; a cancellation sends the last figures. ``refresh``: brings gauges up to date."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))

    def answer() -> None:
        refresh()
        data = msgspec.json.encode([one for one in of_process() if one.name not in NOT_OF_WORKERS])
        writer.write(len(data).to_bytes(_LENGTH_BYTES) + data)

    try:
        with contextlib.suppress(OSError):
            while await reader.read(1024):
                answer()
                await writer.drain()
    except asyncio.CancelledError:
        answer()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await writer.drain()
        raise
    finally:
        writer.close()


class _Worker:
    def __init__(self) -> None:
        self.families: list[Family] = []
        self.answered = asyncio.Event()
        self.writer: asyncio.StreamWriter | None = None


class WorkerFigures:
    """The pool's end: a source of `exposition`."""

    def __init__(self) -> None:
        self._workers: dict[_Worker, asyncio.Task[None]] = {}
        self._ended: list[Family] = []

    def follow(self, ours: socket.socket) -> None:
        """Read the figures of a worker through this end of a socket pair."""
        worker = _Worker()
        self._workers[worker] = asyncio.create_task(self._read(worker, ours), name="figures")

    @property
    def alive(self) -> int:
        """Number of connected workers."""
        return len(self._workers)

    async def stop(self) -> None:
        for reading in self._workers.values():
            reading.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)

    async def _read(self, worker: _Worker, ours: socket.socket) -> None:
        reader, worker.writer = await asyncio.open_connection(sock=ours)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
                while True:
                    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
                    if length > MAX_BYTES:
                        return
                    worker.families = _decoder.decode(await reader.readexactly(length))
                    worker.answered.set()
        finally:
            worker.answered.set()
            del self._workers[worker]
            self._ended = merged([self._ended, lasting(worker.families)])
            worker.writer.close()

    async def collect(self) -> list[Family]:
        """Return the merged figures of all workers."""
        workers = [worker for worker in self._workers if worker.writer is not None]
        for worker in workers:
            assert worker.writer is not None
            worker.answered.clear()
            worker.writer.write(b"?")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                for worker in workers:
                    await worker.answered.wait()
        alive = [worker for worker in workers if worker in self._workers]
        answering = sum(worker.answered.is_set() for worker in alive)
        return merged(
            [self._ended, *(worker.families for worker in alive), [family(WORKER_PROCESSES, float(answering))]]
        )
