"""Processes of langlog under test: started, awaited until they report that they are ready, stopped or killed.

Each runs in a process group of its own, so that a kill can take its children along. Its output goes to a file and
is shown when a test fails (see ``tests/conftest.py``). A process that dies is noticed by each waiter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings
    from langlog_projector.rebuild.comparison import Comparison

READY_S = 180.0
"""Seconds to create a data folder, start Postgres and import every graph, on a busy machine."""
STOP_S = 60.0
VERIFY_S = 240.0
REPLY_S = 90
"""For a command of a client's, which on Kafka may have to wait until its group has met."""
SHOWN_LINES = 80
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PARTITIONS = 4
"""Partitions of every topic in tests: few enough to start fast, enough to distribute keys."""
PORTS = range(16_000 + WORKER, 32_000, WORKERS)
"""Each worker of a parallel run has its own."""

OWN = ("LOG_URI", "DATABASE_URI", "POSTGRES_URI", "REDIS_URI", "PORT")
"""Variables of the surroundings that a test must not inherit, besides those that begin with ``LANGLOG_``."""

WITHOUT_RICH = str(Path(__file__).with_name("without_rich"))

SURROUNDINGS = {k: v for k, v in os.environ.items() if k not in OWN and not k.startswith("LANGLOG_")}
SURROUNDINGS["PYTHONPATH"] = os.pathsep.join([WITHOUT_RICH, *filter(None, [os.environ.get("PYTHONPATH")])])
"""Taken before any test: one that loads a project in this process adds that project's variables to it."""

running: list[Process] = []
"""Running processes."""

given_ports: set[int] = set()


def free_port() -> int:
    """Return a TCP port without a listener, below the system's ephemeral ports: no connection takes it before its
    server is up, or while it is down. No port is returned twice."""
    while True:
        port = secrets.choice(PORTS)
        if port in given_ports:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            given_ports.add(port)
            return port


def kafka_env(bootstrap: str) -> dict[str, str]:
    """Variables for a log of one's own on a shared broker."""
    return {
        "LOG_URI": f"kafka://{bootstrap}",
        "LANGLOG_TOPIC_PREFIX": f"t{uuid.uuid4().hex[:12]}.",
        "LANGLOG_PARTITIONS": str(PARTITIONS),
    }


class Process:
    """One ``langlog …`` process. `start` returns once it has printed ``ready``; it may be started again after it ended."""

    def __init__(
        self,
        name: str,
        args: list[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        """``python``: of the environment whose langlog it is."""
        self.name = name
        self._python = str(python)
        self._args = args
        self.env = SURROUNDINGS | {
            "LOG_JSON": "true",
            "LANGLOG_LOG_ACTIVITY": "off",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._heard: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._news = threading.Condition()
        self._over = True
        """Whether it has ended, and all its output was read."""

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready_s: float = READY_S) -> None:
        """Start and wait for ``ready``. Raises RuntimeError with the end of its output when it does not come."""
        assert not self.alive, f"{self.name} runs already"
        self._heard.clear()
        self._process = subprocess.Popen(
            [self._python, "-m", "langlog", *self._args],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with self._news:
            self._over = False
        running.append(self)
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, args=(self._process, self._reader), daemon=True).start()
        try:
            self.wait_for(lambda event: event.get("event") == "ready", ready_s)
        except BaseException:
            self.kill()
            raise

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], limit_s: float = READY_S) -> dict[str, Any]:
        """The first event it has logged since its start that is wanted. Raises RuntimeError when it ends before that."""
        collected: list[dict[str, Any]] = []

        def there() -> bool:
            collected.extend(event for event in self._heard if wanted(event))
            return bool(collected) or self._over

        with self._news:
            self._news.wait_for(there, limit_s)
        if not collected:
            state = "still runs" if self.alive else f"ended with {self._process.returncode if self._process else None}"
            raise RuntimeError(f"{self.name} {state}; its output ends with:\n{self.tail()}")
        return collected[0]

    def count(self, wanted: Callable[[dict[str, Any]], bool]) -> int:
        """Return the number of such events that it has logged since its start."""
        with self._news:
            return sum(1 for event in self._heard if wanted(event))

    def _read(self, pipe: IO[bytes]) -> None:
        with self.output.open("ab") as file, pipe:
            for line in pipe:
                file.write(line)
                file.flush()
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        with self._news:
                            self._heard.append(event)
                            self._news.notify_all()

    def _await_end(self, process: subprocess.Popen[bytes], reader: threading.Thread) -> None:
        """Wakes those that wait for its output once it has ended, which may be a little after the end of its output."""
        process.wait()
        reader.join(5)
        with self._news:
            if self._process is process:
                self._over = True
                self._news.notify_all()

    def tail(self, lines: int = SHOWN_LINES) -> str:
        if not self.output.exists():
            return ""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> int:
        """SIGTERM and its exit code; SIGKILL to the group when it does not end in time (and AssertionError)."""
        if not self.alive:
            self._gone()
            return self._process.returncode if self._process else 0
        assert self._process is not None
        self._process.terminate()
        return self.ended()

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to the process alone; `wait` waits for its effect."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, limit_s: float) -> int:
        """Its exit code, once it has ended by itself. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        code = self._process.wait(limit_s)
        self._gone()
        return code

    def ended(self) -> int:
        """Its exit code, once it has ended after a signal that it was sent. AssertionError when it does not end in time."""
        assert self._process is not None
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {STOP_S} s:\n{self.tail()}") from None
        self._gone()
        return code

    def kill(self) -> None:
        """SIGKILL to it and all its children at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._gone()

    def signal(self, number: int) -> None:
        """Send a signal to it and all its children."""
        os.killpg(self.pid, number)

    def children(self) -> list[psutil.Process]:
        processes: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        return processes

    def workers(self) -> list[psutil.Process]:
        """Its processes that run graphs. Other children, such as Postgres' own, may end while they are looked at."""
        found = []
        for child in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "langlog_executor.worker.process" in child.cmdline():
                    found.append(child)
        return found

    def _gone(self) -> None:
        if self in running:
            running.remove(self)
        if self._reader is not None:
            self._reader.join(5)


class LiveServer(Process):
    """``langlog dev`` on a free port. ``env`` may point it at another log, Postgres or Redis."""

    def __init__(
        self,
        project: Path,
        folder: Path,
        env: Mapping[str, str] | None = None,
        *options: str,
        name: str = "dev",
        python: Path | str = sys.executable,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        args = ["dev", "--config", str(project), "--port", str(self.port), "--data-dir", str(self.data), "--no-reload"]
        own = {"LANGLOG_TEST_URL": self.url, "LANGLOG_REPLY_TIMEOUT_SECS": str(REPLY_S)}
        super().__init__(name, [*args, *options], folder, own | dict(env or {}), python)

    @contextlib.contextmanager
    def up(self, *, verified: bool = True) -> Iterator[LiveServer]:
        """Start a server for the duration of a block, and verify its read model against its log at the end."""
        self.start()
        try:
            yield self
            if verified and self.alive:
                verify(self.env, self.data)
        finally:
            self.stop()


def verify(env: Mapping[str, str], data_dir: Path | None = None) -> None:
    """Fold the log anew and compare, as ``langlog verify`` does, which is not a process of its own here: its start would take more than
    its work. ``env``: variables of the services. Raises AssertionError with every difference, TimeoutError after `VERIFY_S`."""
    from langlog_backbone.process.environment import read_settings

    settings = read_settings(env, data_dir=data_dir)
    with ThreadPoolExecutor(1) as thread:  # a test may have a loop in this one
        comparison = thread.submit(_compare, settings).result()
    differences = "\n".join(str(difference) for difference in comparison.differences)
    assert comparison.same, f"the read model is not what the log says:\n{differences}"


def _compare(settings: Settings) -> Comparison:
    import uvloop
    from langlog.whereabouts import log_and_read_model
    from langlog_projector.rebuild import swap

    async def compare() -> Comparison:
        async with asyncio.timeout(VERIFY_S), log_and_read_model(settings) as (reached, log):
            report = await swap.verify(log, reached, lambda done, total: None)
        assert report.comparison is not None
        return report.comparison

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(compare())


def verify_by(python: Path, env: Mapping[str, str]) -> None:
    """Run ``langlog verify`` of another environment. Raises AssertionError with every difference."""
    _langlog(env, "verify", python=python)


def rebuild(env: Mapping[str, str], *options: str) -> None:
    """``langlog rebuild``: fold the log anew and swap that in. Raises AssertionError where it refuses to."""
    _langlog(env, "rebuild", *options)


def _langlog(env: Mapping[str, str], *arguments: str, python: Path | str = sys.executable) -> None:
    done = subprocess.run(
        [str(python), "-m", "langlog", *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=VERIFY_S,
        check=False,
    )
    assert done.returncode == 0, f"the read model is not what the log says:\n{done.stdout}{done.stderr}"
