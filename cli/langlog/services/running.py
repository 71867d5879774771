"""One process of langlog: its event loop (uvloop) and its exit code.

Concurrency: one loop on the main thread. A process whose start failed ends within `LAST_RESORT_S` of the failure, even
when something that it started (user code in a thread, a task that swallows its cancellation) cannot be ended: it
must never look as if it ran.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, NoReturn

LAST_RESORT_S = 5.0
"""Seconds after a failure for the event loop and threads to end by themselves."""


def run(main: Coroutine[Any, Any, int]) -> NoReturn:
    """Run to the end and exit with the returned code. Exceptions propagate."""
    if sys.platform == "win32":
        runner = asyncio.Runner()
    else:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        try:
            sys.exit(runner.run(main))
        except Exception as error:
            _end_anyway(error)
            raise


def _end_anyway(error: Exception) -> None:
    """Start a daemon thread that ends the process after `LAST_RESORT_S`."""

    def end() -> None:
        print(f"langlog: {error} (ended by force)", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(LAST_RESORT_S, end)
    timer.daemon = True
    timer.start()
