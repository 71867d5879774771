"""One process of langlog: its event loop (uvloop) and its exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn


def run(main: Coroutine[Any, Any, int]) -> NoReturn:
    """Run to the end and exit with the code it gives. What it raises goes up."""
    if sys.platform == "win32":
        with asyncio.Runner() as runner:
            sys.exit(runner.run(main))
    else:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sys.exit(runner.run(main))
