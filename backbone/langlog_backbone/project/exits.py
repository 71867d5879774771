"""Exits of a project's own code that a server process survives.

``sys.exit()`` in a handler raises SystemExit, which asyncio lets through its event loop: one request would end the process, with all
requests, runs and services that share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class ProjectExit(RuntimeError):
    """Code of the project tried to end the process that called it."""


@contextmanager
def contained() -> Iterator[None]:
    """Raise ProjectExit in place of SystemExit, KeyboardInterrupt and what else is no Exception.

    Cancelling the calling task passes as it is; a CancelledError that the code raises by itself does not: the client would be left
    without a response. For calls of the project's code in a process that others share. Signals of the system do not arrive as
    KeyboardInterrupt here, as services handle them on the event loop.
    """
    try:
        yield
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        raise ProjectExit(
            f"the project's code raised {type(error).__name__}, which would end what called it"
        ) from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
