"""`GraphHost`: the process of Node that runs the project's graphs in JavaScript and TypeScript, started and supervised by a worker.

    started ─► graphs loaded ─► ready ─► jobs … ─► died ─► every job on it is lost ─► back-off ─► started …
                                            └─► stop: the socket closes, and the process ends by itself

Concurrency: lives on the I/O loop of its worker. What happens when it dies: its jobs end with `HostLost`, and those that come later wait
for the next process. What happens when the worker dies: the socket and standard input close, upon which the process ends, whatever
its graphs do.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import structlog
from langlog_backbone.process.service import StartError
from langlog_backbone.project.supervision import END_S, likely_cause, supervise
from langlog_backbone.time.sources import monotonic

from .jobs import HostLost, Job
from .protocol import (
    Call,
    End,
    GraphFile,
    Load,
    Loaded,
    Log,
    Messages,
    Ping,
    Pong,
    ProtocolFault,
    Refused,
    Stream,
    ToHost,
    ToWorker,
    encode,
)

logger = structlog.get_logger(__name__)

STATIC = Path(__file__).parent / "static" / "host.mjs"
"""The host's program, made of ``executor/graph-host`` by the build."""
START_S = 120.0
"""For the process to load the project's graphs."""
PING_EVERY_S = 5.0
RECENT_S = 0.05
"""A host that has sent something within this time is not blocked."""
PATIENCE_S = 0.5
"""A host that does not answer for this long is blocked by a graph. Shorter, a machine that is busy elsewhere would look so."""
MEMORY_TIMES_MAX = 4
"""A process that takes this many times the bound of its heap is ended: buffers and what is on the way lie outside of the heap."""
LINES_MAX = 1_000
"""Lines of a second that go into the log, as of the console's (``output.ts``)."""
LINE_BYTES_MAX = 64_000
"""Of what the process writes to its standard output and error; a longer line is cut."""


class GraphHostError(StartError):
    """The process cannot be started; one line gives the reason."""

    for_clients = True


class GraphRefused(GraphHostError):
    """A graph does not load: which one, in which file, on which line, and why."""

    def __init__(self, refused: Refused) -> None:
        self.graph_id = refused.graph_id
        self.file, self.line, self.reason = refused.file, refused.line, refused.reason
        place = "" if refused.file is None else f" ({refused.file}, line {refused.line})" if refused.line else ""
        super().__init__(f'graph "{refused.graph_id}" does not load: {refused.reason}{place}')


class GraphHost:
    """One for a worker process. Made and used on its I/O loop."""

    def __init__(
        self,
        node: Path,
        host: Path,
        project: Path,
        env: Mapping[str, str],
        graphs: Sequence[GraphFile] = (),
        *,
        memory_mb: int = 0,
        start_s: float = START_S,
    ) -> None:
        """``node``: the program. ``host``: the bundled file. ``project``: the folder that the graphs' process works in. ``memory_mb``: bound
        of its heap; 0: Node's own."""
        self._node, self._host, self._project, self._env = node, host, project, dict(env)
        self._graphs = list(graphs)
        self._ids = frozenset(graph.id for graph in graphs)
        self._memory_mb = memory_mb
        self._is_built = host.is_file()
        self._start_s = start_s
        self._life: _Life | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()
        """Ready, or a start has failed."""
        self._fault: GraphHostError | None = None
        self._jobs = itertools.count(1)
        self.starts = 0
        """Processes that were started so far."""
        self.loaded: Loaded | None = None

    async def start(self) -> None:
        """Returns once all graphs are loaded. Raises GraphHostError."""
        if sys.platform == "win32":
            raise GraphHostError("graphs in JavaScript do not run on Windows: start langlog in WSL")
        if not self._is_built:
            raise GraphHostError(
                f"langlog was installed without its graph host ({self._host}): install it again where Node and npm are, "
                "or run `make host`"
            )
        await self._begin()
        self._supervisor = asyncio.create_task(supervise(self._died, self._begin, self._failed), name="graph-host")

    async def stop(self) -> None:
        """Ends the process; jobs that are on it are lost."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._life is not None:
            await self._life.end()

    @property
    def graph_ids(self) -> frozenset[str]:
        """The graphs that it has."""
        return self._ids

    def is_static(self, graph_id: str) -> bool:
        """Whether the graph is the same for every config (no function that makes it)."""
        loaded = () if self.loaded is None else self.loaded.graphs
        return any(graph.id == graph_id and graph.static for graph in loaded)

    @property
    def pid(self) -> int | None:
        """Process id of the running host; None while no process runs."""
        return self._life.process.pid if self._life is not None and self._ready.is_set() else None

    @property
    def rss_bytes(self) -> int:
        """Memory of the process, as it last said; 0 before that."""
        return self._life.rss if self._life is not None else 0

    @property
    def jobs(self) -> int:
        """How many are under way."""
        return len(self._life.jobs) if self._life is not None else 0

    @property
    def blocked(self) -> bool:
        """Whether its event loop has not answered lately: graph code holds it."""
        return self._life is not None and self._life.blocked

    @property
    def ready(self) -> bool:
        """Whether its process runs and has loaded the graphs."""
        return self._ready.is_set()

    @property
    def free(self) -> bool:
        """Whether nothing says that a graph holds its event loop: it has no job, or sent something a moment ago. A host that is not ready
        takes jobs as well, which wait for it."""
        life = self._life
        if life is None or not self._ready.is_set():
            return True
        return not life.blocked and (not life.jobs or monotonic() - life.received_at < RECENT_S)

    @property
    def blocking(self) -> frozenset[str]:
        """Graphs that may be what blocks it: those with a job on it."""
        return self._life.graphs if self._life is not None and self._life.blocked else frozenset()

    async def job(
        self,
        message: Callable[[int], ToHost],
        call: Callable[[str, list[Any]], Awaitable[Any] | None],
        stream: Callable[[list[list[Any]]], None] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> Job:
        """Begin a job on a process that is ready; waits for one. ``message``: made of the job's id. ``call``, ``stream``: what to do with
        its calls and what it streams. Raises GraphHostError when no process can be started."""
        while not self._ready.is_set():
            if isinstance(self._fault, GraphRefused):  # its code is at fault: waiting for another start changes nothing
                raise self._fault
            await self._settled.wait()  # after a failed start the next one's outcome: a run has few attempts
            if self._fault is not None:
                raise self._fault
        life = self._life
        assert life is not None
        job = Job(next(self._jobs), life.send, call, stream, dict(about or {}))
        life.jobs[job.id] = job
        job.done.add_done_callback(lambda _: life.jobs.pop(job.id, None))
        try:
            life.send(message(job.id))
        except ProtocolFault:
            job.drop()
            raise
        return job

    async def answers(self, patience_s: float = PATIENCE_S) -> bool:
        """Whether its event loop is free: it answers within ``patience_s`` seconds."""
        life = self._life
        return life is not None and self._ready.is_set() and await life.answers(patience_s)

    async def unblocked(self) -> None:
        """Return once nothing says that a graph blocks it: it has answered, or its process is over."""
        life = self._life
        if life is not None and life.blocked and not life.over.is_set():
            await life.unblocked.wait()

    async def _begin(self) -> None:
        self.starts += 1
        self._life = life = await _Life.of(self._node, self._host, self._project, self._env, self._memory_mb)
        try:
            life.send(Load(root=str(self._project), graphs=self._graphs))
            async with asyncio.timeout(self._start_s):
                self.loaded = await life.loaded
        except BaseException as error:
            await life.end()
            if isinstance(error, TimeoutError):
                raise GraphHostError(
                    f"the graphs in JavaScript were not loaded within {self._start_s:g} s (LANGLOG_WORKER_START_SECS)"
                ) from None
            if isinstance(error, HostLost):
                raise GraphHostError(f"the process of Node ended before it had loaded the graphs: {error}") from None
            raise
        self._fault = None
        self._ready.set()
        self._settled.set()
        logger.info("graph_host.ready", pid=life.process.pid, node=self.loaded.node, langgraph=self.loaded.langgraph)

    async def _died(self) -> float:
        """Wait until the process has died; return how long it has lived, in seconds."""
        life = self._life
        assert life is not None
        await life.over.wait()
        self._ready.clear()
        self._settled.clear()
        await life.end()
        code = life.process.returncode
        logger.error("graph_host.died", pid=life.process.pid, code=code, jobs_lost=life.lost, hint=likely_cause(code))
        return monotonic() - life.since

    def _failed(self, error: StartError) -> None:
        self._fault = error if isinstance(error, GraphHostError) else GraphHostError(str(error))
        self._settled.set()  # wakes those that wait now; who comes later waits for the next start
        self._settled.clear()
        logger.error("graph_host.start_failed", error=str(error))


class _Life(asyncio.Protocol):
    """One process of Node, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, rss_max: int) -> None:
        """``rss_max``: bytes of memory; 0: without a bound."""
        loop = asyncio.get_running_loop()
        self.process = process
        self.jobs: dict[int, Job] = {}
        self.loaded: asyncio.Future[Loaded] = loop.create_future()
        self.over = asyncio.Event()
        self.since = monotonic()
        self.rss = 0
        self._rss_max = rss_max
        self.received_at = 0.0
        """When it last sent something."""
        self.lost = 0
        """Jobs that were on it when it ended."""
        self.blocked = False
        self.unblocked = asyncio.Event()
        """Set when it is not blocked, or over."""
        self._messages = Messages()
        self._transport: asyncio.Transport | None = None
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._beside: list[asyncio.Task[None]] = []

    @classmethod
    async def of(cls, node: Path, host: Path, project: Path, env: Mapping[str, str], memory_mb: int) -> _Life:
        """Raises GraphHostError."""
        ours, theirs = socket.socketpair()
        arguments = [str(host), "serve", str(theirs.fileno())]
        if memory_mb:
            arguments.insert(0, f"--max-old-space-size={memory_mb}")
        try:
            process = await asyncio.create_subprocess_exec(
                str(node),
                *arguments,
                cwd=project,
                env={**env},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            ours.close()
            raise GraphHostError(f"{node} cannot be started: {error.strerror or error}") from None
        finally:
            theirs.close()
        life = cls(process, memory_mb * MEMORY_TIMES_MAX * 1024 * 1024)
        await asyncio.get_running_loop().create_unix_connection(lambda: life, sock=ours)
        assert process.stdout is not None and process.stderr is not None
        life._beside = [
            asyncio.create_task(_forward(process.stdout, "stdout")),
            asyncio.create_task(_forward(process.stderr, "stderr")),
            asyncio.create_task(life._watch()),
        ]
        return life

    @property
    def graphs(self) -> frozenset[str]:
        """Those that have a job on it."""
        return frozenset(job.about["graph_id"] for job in list(self.jobs.values()) if "graph_id" in job.about)

    def send(self, message: ToHost) -> None:
        """Raises ProtocolFault. To a process that is over it does nothing."""
        if self._transport is not None and not self.over.is_set():
            self._transport.write(encode(message))

    async def answers(self, patience_s: float) -> bool:
        number = next(self._numbers)
        answer = self._pings[number] = asyncio.get_running_loop().create_future()
        self.send(Ping(number))
        try:
            async with asyncio.timeout(patience_s):
                await asyncio.shield(answer)
            return True
        except HostLost:
            return False
        except TimeoutError:
            self._noticed(blocked=True)
            return False
        finally:
            if answer.done():
                self._pings.pop(number, None)

    async def end(self) -> None:
        """Close the socket, and wait for the process to end; kill it when it does not."""
        if self._transport is not None:
            self._transport.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self.process.wait()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self._lose()
        for task in self._beside:
            task.cancel()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport does not derive from this class

    def data_received(self, data: bytes) -> None:
        self.received_at = monotonic()
        try:
            for message in self._messages.take(data):
                self._take(message)
        except ProtocolFault as error:
            logger.error("graph_host.unreadable", error=str(error))
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def _take(self, message: ToWorker) -> None:
        match message:
            case Call() | Stream() | End():
                if (job := self.jobs.get(message.job)) is not None:
                    job.take(message)
            case Pong():
                self.rss = message.rss
                self._bound_memory()
                self._noticed(blocked=False)
                if (ping := self._pings.pop(message.n, None)) is not None and not ping.done():
                    ping.set_result(None)
            case Log(job=id):
                about = self.jobs[id].about if id in self.jobs else {}
                level = message.level if message.level in ("debug", "info", "warning", "error") else "info"
                getattr(logger, level)("graph.console", text=message.text, **about)
            case Loaded():
                if not self.loaded.done():
                    self.loaded.set_result(message)
            case Refused():
                if not self.loaded.done():
                    self.loaded.set_exception(GraphRefused(message))

    def _bound_memory(self) -> None:
        if not self._rss_max or self.rss <= self._rss_max or self.process.returncode is not None:
            return
        logger.error(
            "graph_host.too_large", pid=self.process.pid, rss_bytes=self.rss, most_bytes=self._rss_max, graphs=sorted(self.graphs),
            hint="LANGLOG_GRAPH_HOST_MEMORY_MB raises the bound",
        )  # fmt: skip
        self.process.kill()

    def _abandon(self) -> None:
        """End a process that code of a job holds which is over: nothing is lost by it, and its place is free again."""
        if self.process.returncode is None and not self.over.is_set():
            logger.warning("graph_host.abandoned", pid=self.process.pid, why="it does not answer, and no run is on it")
            self.process.kill()

    def _noticed(self, *, blocked: bool) -> None:
        if blocked and not self.blocked:
            logger.warning("graph_host.blocked", graphs=sorted(self.graphs), hint="a node holds the event loop of Node")
        self.blocked = blocked
        if blocked:
            self.unblocked.clear()
        else:
            self.unblocked.set()

    def _lose(self) -> None:
        if self.over.is_set():
            return
        self.over.set()
        self.unblocked.set()
        jobs = list(self.jobs.values())
        self.lost = len(jobs)
        reason = HostLost(f"the process of Node that ran the graph ended (pid {self.process.pid})")
        for job in jobs:
            job.failed(reason)
        if not self.loaded.done():
            self.loaded.set_exception(reason)
        if not self.loaded.cancelled():  # as after a start that took too long
            self.loaded.exception()  # seen
        for ping in self._pings.values():
            if not ping.done():
                ping.set_exception(reason)
                ping.exception()  # seen

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PING_EVERY_S)
            if not self.loaded.done() or self.over.is_set():
                continue
            if not await self.answers(PING_EVERY_S) and not self.jobs:
                self._abandon()


async def _forward(stream: asyncio.StreamReader, name: str) -> None:
    """Write the output of the process that bypasses the console's methods to the log, line by line, as far as these are not too many."""
    begun, count = 0.0, 0
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError:
            line = await stream.read(LINE_BYTES_MAX)
        if not line:
            return
        if monotonic() - begun >= 1.0:
            begun, count = monotonic(), 0
        count += 1
        text = line.decode(errors="replace").rstrip()
        if text and count <= LINES_MAX:
            logger.info("graph.output", text=text, stream=name)
        elif count == LINES_MAX + 1:
            logger.warning("graph.output_left_out", stream=name, why=f"more than {LINES_MAX} lines in a second")


def environment() -> dict[str, str]:
    """Return the variables that the process inherits: those of this one, which include the project's."""
    return dict(os.environ)
