"""One graph loop, an event loop in a thread of its own, and the work that runs on it.

Each task of a loop is known by its graph, child tasks too: a task factory asks a context variable, which tasks inherit. So another
thread can learn from the loop's current task which graph's code it is in.

Concurrency: `GraphLoop` and `Work` belong to the I/O loop, unless noted otherwise. When user code in a loop's thread raises
``SystemExit`` or a similar exception, its work fails and the loop continues.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

import structlog
from langlog_backbone.time.sources import monotonic

from .io_loop import Inbox, IoLoop

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]

logger = structlog.get_logger(__name__)

T = TypeVar("T")

GRAPH: contextvars.ContextVar[str | None] = contextvars.ContextVar("langlog_graph", default=None)
"""Id of the graph whose work, or a task that it has started, runs in this context."""
LIBRARIES = tuple(
    sysconfig.get_path(name) + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if sysconfig.get_path(name)
)
"""Folders whose code is not the project's."""


class Work(Generic[T]):
    """A coroutine that some graph loop runs. ``done`` belongs to the I/O loop and gets result or exception."""

    def __init__(self, graph_id: str, start: Callable[[], Coroutine[Any, Any, T]], done: asyncio.Future[T]) -> None:
        self.graph_id = graph_id
        self.done = done
        self._start = start
        self._lock = threading.Lock()
        self._begun = False
        self._cancelled = False
        self.loop: GraphLoop | None = None
        """Loop that it was begun on, or waits for."""
        self.task: asyncio.Task[T] | None = None
        self.withdrawn = False
        """Whether it never begins, because it was cancelled or withdrawn before."""

    @property
    def begun(self) -> bool:
        """Whether its loop has begun it, or never will. Any thread."""
        return self._begun

    def wait_for(self, loop: GraphLoop) -> bool:
        """Let this loop begin it, and no other one. Return False if it has begun already."""
        with self._lock:
            if not self._begun:
                self.loop = loop
            return not self._begun

    def _claim(self, loop: GraphLoop) -> bool:
        """Return True to the one loop that may begin it. Any thread."""
        with self._lock:
            if self._begun or self.loop is not loop:
                return False
            self._begun = True
            return True

    def cancel(self) -> None:
        """Cancel the coroutine, once its loop is free; work that has not begun never begins."""
        if not self.withdraw():
            self._cancelled = True
            if self.loop is not None:
                self.loop.inbox.post(self._cancel)

    def withdraw(self) -> bool:
        """Have work that has not begun never begin, and cancel ``done``. Return False, and change nothing, if it has begun."""
        with self._lock:
            if self._begun:
                return False
            self._begun = self._cancelled = self.withdrawn = True
        if self.loop is not None:
            self.loop.discard(self)
        self.done.cancel()
        return True

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def run_on(self, loop: GraphLoop, io: IoLoop, finished: Callable[[Work[Any]], None]) -> None:
        """On the graph loop's thread: begin, unless it was cancelled or waits for another loop now."""
        if not self._claim(loop):
            return
        _let_threads_start()
        context = contextvars.copy_context()
        context.run(GRAPH.set, self.graph_id)
        coroutine = self._start()
        try:
            self.task = loop.loop.create_task(coroutine, context=context)
        except (
            BaseException
        ) as error:  # by the task factory that a graph has given the loop: the waiting caller gets it
            coroutine.close()
            io.post(self._fail, error, finished)
            return
        if self._cancelled:
            self.task.cancel()

        def ended(task: asyncio.Task[T]) -> None:
            if not task.cancelled():
                task.exception()  # seen: it travels with the future
            io.post(self._settle, task, finished)

        self.task.add_done_callback(ended)

    def _settle(self, task: asyncio.Task[T], finished: Callable[[Work[Any]], None]) -> None:
        finished(self)
        if self.done.done():
            return
        if task.cancelled():
            self.done.cancel()
            return
        error = task.exception()
        if error is None:
            self.done.set_result(task.result())
        else:
            self._raise(error)

    def _fail(self, error: BaseException, finished: Callable[[Work[Any]], None]) -> None:
        finished(self)
        if not self.done.done():
            self._raise(error)

    def _raise(self, error: BaseException) -> None:
        """Give the error to the waiting caller, as one that a future may hold."""
        if isinstance(error, StopIteration | KeyboardInterrupt | SystemExit):
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.done.set_exception(error)


class GraphLoop:
    """One event loop and its thread."""

    def __init__(self, number: int, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()
        self.loop.set_default_executor(executor)
        self.loop.set_task_factory(cast(Any, self._make_task))  # uvloop describes it otherwise
        self.inbox = Inbox(self.loop)
        self.work: set[Work[Any]] = set()
        """Work that was begun or waits here."""
        self.idle_since = monotonic()
        self._graphs: WeakKeyDictionary[asyncio.Future[Any], str] = WeakKeyDictionary()
        self._stopping = False
        _let_threads_start()
        self.thread = threading.Thread(target=self._run, name=f"graphs-{number}", daemon=True)
        self.thread.start()

    @property
    def waited_for(self) -> bool:
        """Whether work waits for this loop to begin it."""
        return any(not work.begun for work in self.work)

    def discard(self, work: Work[Any]) -> None:
        """Forget work that has ended, or that another loop begins."""
        if work in self.work:
            self.work.discard(work)
            if not self.work:
                self.idle_since = monotonic()

    def stop(self) -> None:
        """End at the next iteration of the loop; a blocked thread is abandoned (it is a daemon)."""
        self._stopping = True
        self.inbox.post(self.loop.stop)

    def current_task(self) -> asyncio.Task[Any] | None:
        """Return the task that the loop executes at this moment. Any thread."""
        return asyncio.current_task(self.loop)

    def graphs_of(self, task: asyncio.Task[Any] | None) -> frozenset[str]:
        """Return the graph whose code a task is, or those whose code a callback outside of any task may be."""
        graph_id = None if task is None else self._graphs.get(task)
        if graph_id is not None:
            return frozenset((graph_id,))
        return frozenset(work.graph_id for work in self.work if work.begun)

    def place(self) -> str | None:
        """Return the file and line of the project that the loop's thread is in, or those of the innermost call if none is the
        project's; None if it waits for events."""
        frame = sys._current_frames().get(self.thread.ident or 0)  # noqa: SLF001 - documented
        first: FrameType | None = None
        while frame is not None and frame.f_code is not GraphLoop._run.__code__:
            first = first or frame
            if _is_the_projects(frame):
                return f"{frame.f_code.co_filename}:{frame.f_lineno}"
            frame = frame.f_back
        return None if first is None else f"{first.f_code.co_filename}:{first.f_lineno}"

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        """Make a task that is known by its graph. On the loop's thread."""
        task: asyncio.Task[T] = asyncio.Task(coroutine, loop=loop, **options)
        context = options.get("context")
        graph_id = GRAPH.get() if context is None else context.get(GRAPH)
        if graph_id is not None:
            self._graphs[task] = graph_id
        return task

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except BaseException:
                logger.exception("graph_loop.shaken")
        # closing a loop shuts down its executor, which is shared: give it a replacement
        self.loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(max_workers=1))
        self.loop.set_task_factory(None)  # a graph may have set one that raises
        try:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


def _let_threads_start() -> None:
    """Put back the hook without which Python makes no thread, where a graph has set it to None."""
    hook: Any = threading.excepthook
    if hook is None:
        threading.excepthook = threading.__excepthook__


def _is_the_projects(frame: FrameType) -> bool:
    if frame.f_code.co_filename.startswith((*LIBRARIES, "<")):
        return False
    return not str(frame.f_globals.get("__name__")).startswith("langlog_")
