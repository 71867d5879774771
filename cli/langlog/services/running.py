"""One process of langlog: its event loop (uvloop) and its exit code.

Concurrency: one loop on the main thread. A process whose start failed ends within `LAST_RESORT_S` of the failure, even
when something that it started (user code in a thread, a task that swallows its cancellation) cannot be ended: it
must never look as if it ran.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, NoReturn

import structlog

LAST_RESORT_S = 5.0
"""Seconds after a failure for the event loop and threads to end by themselves."""

logger = structlog.get_logger(__name__)


def run(main: Coroutine[Any, Any, int]) -> NoReturn:
    """Run to the end and exit with the returned code. Exceptions propagate."""
    if sys.platform == "win32":
        runner = asyncio.Runner()
    else:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        try:
            sys.exit(outlast_exits(runner, main))
        except Exception as error:
            _end_anyway(error)
            raise


def outlast_exits(runner: asyncio.Runner, main: Coroutine[Any, Any, int]) -> int:
    """Run ``main`` to its end and return its result, whatever other tasks of the loop do.

    asyncio lets a SystemExit or KeyboardInterrupt of any task through the loop. One of the project's own (``sys.exit()`` in a handler
    or in a middleware of ``http.app``, or in a task that these start) fails the callers of that task; it does not end the services of
    the process. Raises KeyboardInterrupt for an interrupt of the system before the loop handles that signal.
    """
    task = runner.get_loop().create_task(main)

    async def ended() -> int:
        return await task

    while True:
        try:
            return runner.run(ended())
        except (SystemExit, KeyboardInterrupt) as error:
            # by the signal: once the services handle it on the loop, it raises nothing
            by_signal = (
                isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
            if by_signal and (task.cancelled() or not task.done()):
                raise
            if task.done():  # by its own exit, or in the same turn of the loop as the exit of another task
                return task.result()
            logger.exception(
                "process.exit_refused",
                hint="the project's code must not call sys.exit() or raise KeyboardInterrupt in a server",
            )


def _end_anyway(error: Exception) -> None:
    """Start a daemon thread that ends the process after `LAST_RESORT_S`."""

    def end() -> None:
        print(f"langlog: {error} (ended by force)", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(LAST_RESORT_S, end)
    timer.daemon = True
    timer.start()
