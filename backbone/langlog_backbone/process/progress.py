"""The steps of a start, for the terminal that shows them (`langlog.services.progress`), if there is one."""

from __future__ import annotations

import contextlib
from typing import Protocol


class Progress(Protocol):
    def step(self, doing: str, done: str) -> contextlib.AbstractContextManager[None]:
        """For the length of a step, which may run beside others: ``doing`` says what it is ("starting Redis"), ``done`` what has
        happened once it has ended without an exception ("Redis started"). An empty ``done`` says nothing."""
        ...


class Silent:
    """Nobody waits."""

    def step(self, doing: str, done: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


SILENT = Silent()
