"""The pool of worker processes: starts them, starts dead ones again, drains them, and swaps them for new ones on a reload.

    spawned ─► ready ─► serving ─► died ──(after a pause that doubles)──► spawned
       │                   └─► retiring (on a reload): claims no more, and ends when no run is left ─► gone
       └─► error: the start fails with the worker's own words (the first time), or the old workers stay (on a reload)

Concurrency: a `Service`; lives on its process's event loop and runs no user code. What happens when it dies: workers notice that
their parent is gone and drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langlog_backbone.metrics.exposition import EXPOSITION
from langlog_backbone.metrics.worker_figures import WorkerFigures
from langlog_backbone.probe import Probe
from langlog_backbone.process.environment import FILE_SUFFIX, SECRETS, VARIABLES
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.imports import not_of_the_shell
from langlog_backbone.time.sources import monotonic

from .pool_messages import SETTINGS_ALONE, Retiring, together

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone

logger = structlog.get_logger(__name__)

BACKOFF_S = 0.2
MAX_BACKOFF_S = 10.0
STEADY_S = 30.0
"""Seconds of life after which a dead worker is restarted without a pause."""
KILL_AFTER_S = 5.0
"""Seconds beyond the workers' time for draining (twice `drain_s`) until they are killed."""
RETIRE_S = 10.0
"""Seconds for a worker to report that it has stopped claiming."""


class WorkerProcess:
    """One worker process, from spawning to its end."""

    def __init__(self, process: asyncio.subprocess.Process, lines: Lines) -> None:
        self.process = process
        self.lines = lines
        self.since = monotonic()
        self.leaving = False
        """Whether it was requested to end."""

    @classmethod
    async def spawn(
        cls, settings: Settings, figures: WorkerFigures, beside: Callable[[], None] | None = None
    ) -> WorkerProcess:
        """Start one and wait until it is ready. Raises StartError with what it says is wrong.

        ``figures``: follow its metrics once it is ready. ``beside``: what is done here while it imports; the time that this takes
        does not count.
        """
        reading, writing = os.pipe()
        pool_end, worker_end = socket.socketpair()
        ours = environment(settings)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the project's folder must not precede langlog's during imports
                "-m",
                "langlog_executor.worker.process",
                "--report-fd",
                str(writing),
                "--figures-fd",
                str(worker_end.fileno()),
                pass_fds=[writing, worker_end.fileno()],
                stdin=asyncio.subprocess.PIPE,  # closed by our end: that is how it learns of it
                env={**os.environ, **ours, SETTINGS_ALONE: " ".join(not_of_the_shell(ours))},
                start_new_session=True,  # Ctrl-C is for the parent, which drains us
            )
        except BaseException:
            pool_end.close()
            raise
        finally:
            os.close(writing)
            worker_end.close()
        worker = cls(process, await Lines.of(reading))
        try:
            if beside is not None:
                beside()
            limit_s = None if settings.debug_wait else settings.worker_start_s
            async with asyncio.timeout(limit_s):
                lines = await worker.lines.next()
        except TimeoutError:
            pool_end.close()
            await worker.kill()
            raise StartError(
                f"a worker process has not imported the graphs, and started what they need (http.app's lifespan, "
                f"worker_lifespan), within {limit_s:.0f} s: if these need longer, set LANGLOG_WORKER_START_SECS"
            ) from None
        except BaseException:
            pool_end.close()
            await worker.kill()
            raise
        if "ready" in lines:
            figures.follow(pool_end)
            return worker
        pool_end.close()
        code = await process.wait()
        raise StartError(str(lines.get("error") or f"a worker ended with exit code {code} before it was ready"))

    async def retire(self) -> Retiring:
        """Make it stop claiming and end by itself once its runs have ended or moved; returns the runs that it waits for.

        A worker that does not answer is sent SIGTERM.
        """
        self.leaving = True
        try:
            self.process.send_signal(signal.SIGUSR1)
            async with asyncio.timeout(RETIRE_S):
                lines = await self.lines.next()
        except (ProcessLookupError, TimeoutError):
            lines = {}
        if "retiring" not in lines:
            self.request_exit()
            return Retiring()
        return msgspec.convert(lines["retiring"], Retiring)

    def request_exit(self) -> None:
        """Begin to drain."""
        self.leaving = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    async def leave(self, limit_s: float) -> None:
        self.request_exit()
        try:
            async with asyncio.timeout(limit_s):
                await self.process.wait()
        except TimeoutError:
            logger.warning("worker.killed", pid=self.process.pid, after_s=limit_s)
            await self.kill()

    async def kill(self) -> None:
        self.leaving = True
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        self.lines.close()


class WorkerPoolService:
    """``settings.workers`` worker processes. See `langlog_backbone.process.service.Service`."""

    name = "workers"

    def __init__(self, backbone: Backbone, beside: Callable[[], None] | None = None) -> None:
        """``beside``: work of this process while the first worker imports the graphs; may raise StartError."""
        self._backbone = backbone
        self._beside = beside
        self._settings = backbone.settings
        self._probe = Probe(backbone.pool, backbone.queue, backbone.log)
        self._workers: dict[WorkerProcess, asyncio.Task[None]] = {}
        self._figures = WorkerFigures()
        self._draining = False
        self._reloading = asyncio.Lock()
        self._failed: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Returns once all workers are ready. Raises StartError."""
        EXPOSITION.add("workers", self._figures.collect)
        self._watch(await WorkerProcess.spawn(self._settings, self._figures, self._beside))
        others = [self._spawn() for _ in range(1, self._settings.workers)]
        for failure in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def serve(self) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        await self._failed

    async def drain(self) -> None:
        self._draining = True
        limit = 2 * self._settings.drain_s + KILL_AFTER_S
        await asyncio.gather(*(worker.leave(limit) for worker in self._workers))

    async def stop(self) -> None:
        self._draining = True
        for watcher in self._workers.values():
            watcher.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        await asyncio.gather(*(w.kill() for w in self._workers if w.process.returncode is None))
        EXPOSITION.remove(self._figures.collect)
        await self._figures.stop()

    async def not_ready(self) -> str | None:
        if not any(w.process.returncode is None for w in self._workers):
            return "no worker process runs"
        return await self._probe.reason()

    async def reload(self) -> Retiring:
        """Start new workers with the current graphs; the old ones stop claiming, and end when no run is left. Which runs they
        wait for. Raises StartError, and the old ones stay."""
        async with self._reloading:
            old = [w for w in self._workers if not w.leaving]
            fresh: list[WorkerProcess] = []
            try:
                for _ in range(self._settings.workers):
                    fresh.append(await WorkerProcess.spawn(self._settings, self._figures))
            except StartError:
                for worker in fresh:
                    await worker.kill()
                raise
            for worker in fresh:
                self._watch(worker)
            return together(await asyncio.gather(*(w.retire() for w in old)))

    async def _spawn(self) -> None:
        self._watch(await WorkerProcess.spawn(self._settings, self._figures))

    def _watch(self, worker: WorkerProcess) -> None:
        self._workers[worker] = asyncio.create_task(self._supervise(worker), name="worker")

    async def _supervise(self, worker: WorkerProcess) -> None:
        """Wait for a worker's end; start another one unless the end was requested."""
        code = await worker.process.wait()
        worker.lines.close()
        if not worker.leaving and not self._draining:
            logger.warning("worker.died", pid=worker.process.pid, code=code)
            pause = 0.0 if monotonic() - worker.since > STEADY_S else BACKOFF_S
            while not self._draining:
                await asyncio.sleep(pause)
                try:
                    await self._spawn()
                    break
                except (StartError, OSError) as error:
                    logger.error("worker.start_failed", error=str(error))
                pause = min(max(pause, BACKOFF_S) * 2, MAX_BACKOFF_S)
        self._workers.pop(worker, None)


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables."""
    variables: dict[str, str] = {}
    for field, names in VARIABLES.items():
        value: Any = getattr(settings, field)
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, Path):
            text = str(value.resolve())
        else:
            text = str(value)
        variables[names[0]] = text
        if field in SECRETS:
            variables.update(
                {name + FILE_SUFFIX: "" for name in names}
            )  # read already: set beside the value, it is an error
    return variables


class Lines:
    """The lines that a worker writes into its report pipe."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._reader, self._transport = reader, transport

    @classmethod
    async def of(cls, fd: int) -> Lines:
        """Open the reading end of a pipe; it is closed with the object."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb"))
        return cls(reader, transport)

    async def next(self) -> dict[str, Any]:
        """Return the next line; empty at the end of the pipe."""
        line = await self._reader.readline()
        message: dict[str, Any] = msgspec.json.decode(line) if line else {}
        return message

    def close(self) -> None:
        self._transport.close()
