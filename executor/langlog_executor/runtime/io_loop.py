"""The I/O loop of a worker process: the event loop of the main thread, on which log, Redis and Postgres live.

Graph code never runs here; it runs on loops in other threads (`graph_loops`) and uses this loop through `IoLoop.call` and
`IoLoop.post`. Both may be called from any thread. All calls posted to a loop before it wakes up share one wake-up, because
waking a loop is a system call. When it dies, the process ends, and the lease of its runs expires.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone

logger = structlog.get_logger(__name__)

T = TypeVar("T")


def came_from_io(error: BaseException) -> bool:
    """Return whether the error came from the I/O loop: then a server of langlog's raised it, and otherwise the graph's own code."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_code.co_filename == __file__ for frame in frames)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the calling thread runs the loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class Inbox:
    """Calls for one event loop from other threads, in order, with one wake-up for all that have gathered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._awake = False

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Call ``fn(*args)`` on the loop soon. Raises RuntimeError when the loop is closed."""
        self._calls.append((fn, args))
        with self._lock:
            if self._awake:
                return
            self._awake = True
        if _runs_here(self.loop):  # without a system call, and without a further turn of the loop for it
            self.loop.call_soon(self._drain)
        else:
            self.loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        with self._lock:
            self._awake = False
        calls = self._calls
        while calls:
            fn, args = calls.popleft()
            try:
                fn(*args)
            except Exception:
                logger.exception("inbox.call_failed")


class IoLoop:
    """Handle on the I/O loop and its objects. Create it on that loop: it binds to the running one.

    ``backbone`` may be None in tests that need only the hops.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.loop = asyncio.get_running_loop()
        self._inbox = Inbox(self.loop)
        self._replies: dict[asyncio.AbstractEventLoop, Inbox] = {}

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Call ``fn(*args)`` on the I/O loop soon, in the order of posting; returns at once."""
        self._inbox.post(fn, *args)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the I/O loop and return its result, or raise its exception, on the caller's loop.

        Cancelling the caller cancels the coroutine. On the I/O loop itself it is simply awaited.
        """
        here = asyncio.get_running_loop()
        if here is self.loop:
            return await coroutine
        replies = self._replies.get(here)
        if replies is None:
            replies = self._replies[here] = Inbox(here)
        answer: asyncio.Future[T] = here.create_future()
        started: list[asyncio.Task[T]] = []
        self.post(self._start, coroutine, answer, replies, started)
        try:
            return await answer
        except asyncio.CancelledError:
            self.post(_cancel, started)
            raise

    def call_blocking(self, coroutine: Coroutine[Any, Any, T], what: str) -> T:
        """Like `call`, for synchronous code: blocks the calling thread. Raises RuntimeError on the I/O loop's own thread."""
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self.loop:
            coroutine.close()
            raise RuntimeError(f"a synchronous {what} call would block the I/O loop")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop a graph loop that has ended: no result is sent to it any more."""
        self._replies.pop(loop, None)

    def _start(
        self,
        coroutine: Coroutine[Any, Any, T],
        answer: asyncio.Future[T],
        replies: Inbox,
        started: list[asyncio.Task[T]],
    ) -> None:
        task = self.loop.create_task(coroutine)
        started.append(task)

        def done(task: asyncio.Task[T]) -> None:
            try:
                replies.post(_settle, answer, task)
            except RuntimeError:  # the calling loop is closed: no task waits
                self.forget(replies.loop)

        task.add_done_callback(done)


def _settle(answer: asyncio.Future[T], task: asyncio.Task[T]) -> None:
    if answer.done():
        return
    if task.cancelled():
        answer.cancel()
        return
    error = task.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


def _cancel(started: list[asyncio.Task[T]]) -> None:
    for task in started:
        task.cancel()
