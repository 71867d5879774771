"""Imports a project's modules as LangGraph's server does: with no running event loop, so that they may call ``asyncio.run``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from .ending import signals_held

Loaded = TypeVar("Loaded")
NEEDS_LOOP = "no running event loop"
"""Text of the error of code that only works while a loop runs."""


def outside_loop(load: Callable[[], Loaded]) -> Loaded:
    """Return what ``load`` returns, called as if no event loop ran in this thread; once more with it if the code needs one, or beside
    one of asyncio's own if it makes loops reentrant, which uvloop's cannot be.

    The loop stands still meanwhile, as it does for any import.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return load()
    try:
        with _suspended(loop):
            return load()
    except Exception as error:
        if refused_patch(error):
            with _suspended(loop), _plain_loop():
                return load()
        if not _needs_loop(error):
            raise
    return load()


def refused_patch(error: BaseException) -> bool:
    """Return whether the exception is that of ``nest_asyncio.apply()`` about a loop that it cannot patch."""
    return isinstance(error, ValueError) and any(
        frame.f_globals.get("__name__") == "nest_asyncio" and frame.f_code.co_name == "apply"
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


@contextlib.contextmanager
def _plain_loop() -> Iterator[None]:
    """Context in which `asyncio.get_event_loop` returns a loop of asyncio's own, which does not run."""
    plain = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(plain)
    try:
        yield
    finally:
        plain.close()


def _needs_loop(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, RuntimeError) and NEEDS_LOOP in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _suspended(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Context in which this thread has no running loop. Another loop that ran in it leaves no trace."""
    task = asyncio.current_task()
    main = threading.current_thread() is threading.main_thread()
    wakeup = signal.set_wakeup_fd(-1) if main else -1
    if wakeup != -1:
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    if task is not None:
        asyncio.tasks._leave_task(loop, task)  # noqa: SLF001 - asyncio documents it for extenders
    asyncio._set_running_loop(None)  # noqa: SLF001 - for event loops, as its text says
    held = contextlib.ExitStack()
    if main:
        held.enter_context(signals_held())
    try:
        yield
    finally:
        asyncio.set_event_loop(loop)  # asyncio.run leaves none
        asyncio._set_running_loop(loop)  # noqa: SLF001 - as above
        if task is not None:
            asyncio.tasks._enter_task(loop, task)  # noqa: SLF001 - as above
        if wakeup != -1:
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        held.close()
