"""A server process that langlog starts: it reports when it is ready, and it does not outlive langlog.

Concurrency: one thread reads the child's output, and another waits for its exit, so no event loop need run for the child to
go on.
Death: on Linux the kernel sends the child `stop_signal` when the thread that started it ends (PR_SET_PDEATHSIG), so start
children from the main thread; elsewhere the next start finds remaining processes and stops them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

STOP_TIMEOUT_S = 10.0
"""Seconds after its stop signal until a child that has not ended is killed."""
LAST_WORDS_S = 1.0
"""Seconds to read the rest of a child's output after it has ended."""
KEPT_LINES = 20
"""Lines of a child's output that are kept for the message when it does not start."""

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildFailed(Exception):
    """The child ended before it was ready. The message holds its last output."""


class Child:
    """One run of one program. ``ready``: part of the line that the program prints when it is ready (empty: at once).

    ``become``: called in the child before it runs the program, to change its user (`postgres_user`).
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        ready: bytes = b"",
        stop_signal: signal.Signals = signal.SIGTERM,
        transcript: Path | None = None,
        env: Mapping[str, str] | None = None,
        become: Callable[[], None] | None = None,
    ) -> None:
        self.program = Path(os.fspath(command[0])).name
        self.exited: Future[int] = Future()
        """Exit code, once the child has ended."""
        self._ready: Future[None] = Future()
        self._stop_signal = stop_signal
        self._tail: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd="/",
            preexec_fn=_born(stop_signal, become),
            # a Ctrl-C in the terminal is for us; we stop our children in order
            process_group=0,
        )
        self.pid = self._process.pid
        if not ready:
            self._ready.set_result(None)
        listening = threading.Thread(
            target=self._listen, args=(ready, transcript), name=f"child-{self.program}", daemon=True
        )
        listening.start()
        threading.Thread(
            target=self._await_exit, args=(listening,), name=f"child-{self.program}-exit", daemon=True
        ).start()

    async def wait_ready(self) -> None:
        """Wait until the child is ready. Raises ChildFailed if it ended first."""
        await asyncio.wrap_future(self._ready)

    async def wait_exit(self) -> int:
        return await asyncio.shield(asyncio.wrap_future(self.exited))

    async def stop(self) -> None:
        """Send the stop signal and wait for the end; kill the child if it takes too long."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self._stop_signal)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.wait_exit()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        await self.wait_exit()

    def _listen(self, ready: bytes, transcript: Path | None) -> None:
        assert self._process.stdout is not None
        with contextlib.ExitStack() as stack:
            sink = None
            if transcript is not None:
                with contextlib.suppress(OSError):
                    sink = stack.enter_context(transcript.open("wb", buffering=0))
            for line in stack.enter_context(self._process.stdout):
                self._tail.append(line)
                if sink is not None:
                    with contextlib.suppress(OSError):
                        sink.write(line)
                if not self._ready.done() and ready in line:
                    self._ready.set_result(None)

    def _await_exit(self, listening: threading.Thread) -> None:
        """Wait for the exit of the process itself: its own children (Postgres' backends) may outlive it and keep the output open."""
        code = self._process.wait()
        listening.join(LAST_WORDS_S)
        if not self._ready.done():
            words = b"".join(self._tail).decode(errors="replace").strip()
            self._ready.set_exception(ChildFailed(f"{self.program} ended with {code}: {words or 'no word'}"))
        self.exited.set_result(code)


def _born(stop_signal: signal.Signals, become: Callable[[], None] | None) -> Callable[[], None]:
    """Return the function that the child calls between fork and exec. Libraries are loaded beforehand: it imports nothing."""
    parent = os.getpid()

    def born() -> None:
        if become is not None:
            become()
        if _libc is not None:
            # after the change of user, which clears it
            _libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return born
