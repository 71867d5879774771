"""The process of Node that runs a project's `auth` and `http.app` in JavaScript for a gateway: started, watched, started again, stopped.

    started ─► loaded ─► listens on its Unix sockets … ─► died, or ended because it does not answer ──(a pause that doubles)──► started
                  └─► refused: the start fails with its words, or a reload keeps the former one

Concurrency: `start` blocks until the code is loaded, and may be called on any thread; the rest belongs to one event loop. What happens
when the process dies: requests get 503 until the next one has loaded. What happens when the gateway dies: the process's standard input
closes, upon which it ends. The other side: ``executor/graph-host/src/app/serve.ts``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from ..process.service import StartError
from ..time.sources import monotonic
from .config import Project
from .node import Node
from .supervision import END_S, likely_cause, supervise

logger = structlog.get_logger(__name__)

ALIVE_EVERY_S = 10.0
"""Pause between two checks that the process answers."""
ALIVE_LIMIT_S = 20.0
"""Time for one answer; a process that gives none is replaced."""
REPORT_BYTES_MAX = 1_000_000


class Route(msgspec.Struct, frozen=True):
    """One route of a Hono application, in Hono's syntax."""

    method: str
    path: str


class Loaded(msgspec.Struct, frozen=True):
    """Code that a process has loaded. ``callbacks``: events that `auth` answers; ``routes``: None for an application that shows none."""

    node: str
    callbacks: list[str]
    routes: list[Route] | None


class _Refused(msgspec.Struct, frozen=True):
    key: str
    reason: str


class _Report(msgspec.Struct, frozen=True):
    ready: Loaded | None = None
    refused: _Refused | None = None


class _Named(msgspec.Struct, frozen=True):
    key: str
    file: str
    export: str


class _Spec(msgspec.Struct, frozen=True):
    root: str
    folder: str
    auth: _Named | None
    app: _Named | None


class HostedCode:
    """One for a gateway, and for each reload of its code."""

    def __init__(self, node: Node, project: Project, auth: str | None, app: str | None, start_s: float) -> None:
        """``auth``, ``app``: ``path.ts:export``; None where that is not in JavaScript. ``start_s``: seconds for the code to load."""
        self._node = node
        self._project = project
        self._auth, self._app = auth, app
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._since = 0.0
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.loaded: Loaded | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def auth_socket(self) -> str:
        """Path of the Unix socket; another one after each start."""
        return self._socket("auth")

    @property
    def app_socket(self) -> str:
        return self._socket("app")

    def _socket(self, name: str) -> str:
        return "" if self._folder is None else str(self._folder / name)

    def start(self) -> Loaded:
        """Start the process and wait until it listens. Raises StartError with one line."""
        program = host_program()
        folder = Path(tempfile.mkdtemp(prefix="langlog-code-"))
        spec = _Spec(
            root=str(self._project.root),
            folder=str(folder),
            auth=self._named("auth.path", self._auth),
            app=self._named("http.app", self._app),
        )
        reading, writing = os.pipe()
        try:
            process = spawn([self._node.executable, str(program), "code", msgspec.json.encode(spec).decode()], writing)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(reading)
            raise StartError(f"{self._node.executable} cannot be started: {error.strerror or error}") from None
        finally:
            os.close(writing)
        try:
            self.loaded = self._report(reading)
        except BaseException:
            end_process(process)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(reading)
        self._process, self._folder, self._since = process, folder, monotonic()
        return self.loaded

    def _named(self, key: str, reference: str | None) -> _Named | None:
        if reference is None:
            return None
        source, _, export = reference.rpartition(":")
        return _Named(key, str((self._project.root / source).resolve()), export)

    def _report(self, descriptor: int) -> Loaded:
        data = bytearray()
        deadline = monotonic() + self._start_s
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - monotonic()))
            if not ready:
                raise StartError(
                    f"the project's JavaScript (auth.path, http.app) was not loaded within {self._start_s:g} s: "
                    "if it needs longer, set LANGLOG_WORKER_START_SECS"
                )
            piece = os.read(descriptor, 65_536)
            if not piece or len(data) > REPORT_BYTES_MAX:
                raise StartError(
                    "the process of the project's JavaScript (auth.path, http.app) ended before it was ready"
                )
            data += piece
        report = msgspec.json.decode(data, type=_Report)
        if report.ready is None:
            refused = report.refused or _Refused("", "no reason was given")
            raise StartError(
                f"{self._project.file}: {refused.key or 'auth.path or http.app'} does not load: {refused.reason}"
            )
        return report.ready

    def supervise(self) -> None:
        """From now on a process that dies is replaced. Called on the event loop."""
        self._supervisor = asyncio.create_task(supervise(self._died, self._begin, self._failed), name="hosted-code")

    async def _died(self) -> float:
        """Wait until the process has died; return how long it has lived, in seconds."""
        process = self._process
        assert process is not None
        watching = asyncio.create_task(self._watch(process), name="hosted-code-watch")
        try:
            code = await asyncio.to_thread(process.wait)
        finally:
            watching.cancel()
        logger.error("hosted_code.died", pid=process.pid, code=code, hint=likely_cause(code))
        return monotonic() - self._since

    async def _begin(self) -> None:
        self._forget()
        await asyncio.to_thread(self.start)
        logger.info("hosted_code.restarted", pid=self.pid)

    def _failed(self, error: StartError) -> None:
        logger.error("hosted_code.start_failed", error=str(error))

    async def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End a process whose event loop the project's code holds: every request that needs it would wait, and be refused."""
        if "--inspect" in os.environ.get("NODE_OPTIONS", ""):
            return  # at a breakpoint it does not answer either
        while True:
            await asyncio.sleep(ALIVE_EVERY_S)
            if not await self._answers():
                logger.error(
                    "hosted_code.blocked", pid=process.pid, hint="auth or http.app holds the event loop of Node"
                )
                process.kill()
                return

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ALIVE_LIMIT_S):
                reader, writer = await asyncio.open_unix_connection(self._socket("alive"))
                try:
                    return bool(await reader.read(1))
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """A request that the process answers: `idle` waits for its end. On the event loop."""
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    async def idle(self, limit_s: float) -> None:
        """Return once no request is under way, or after that many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()

    def _forget(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    async def stop(self) -> None:
        """End the process, and replace it no more."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await asyncio.to_thread(self.end)

    def end(self) -> None:
        """End the process of one that is not supervised; it is killed where it does not end."""
        if self._process is not None:
            end_process(self._process)
        self._forget()


def host_program() -> Path:
    """The host's program, built of ``executor/graph-host``. Raises StartError where langlog was installed without it."""
    spec = importlib.util.find_spec("langlog_executor")
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or []]
    for folder in folders:
        program = folder / "graph_host" / "static" / "host.mjs"
        if program.is_file():
            return program
    raise StartError(
        "langlog was installed without its host of JavaScript: in a clone build it by `python node_build.py host` (it needs npm); "
        "released wheels hold it"
    )


def spawn(command: list[str], report: int) -> subprocess.Popen[bytes]:
    """Start the program; ``report``: the descriptor that it writes its report to, named by its last argument."""
    return subprocess.Popen(  # noqa: S603 - the host, by the Node that was found
        [*command, str(report)],
        stdin=subprocess.PIPE,
        pass_fds=[report],
        start_new_session=True,  # Ctrl-C is for the gateway, which ends it
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process that `spawn` started: by itself once its standard input is closed, or else by force."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
