"""The steps of a start, for the terminal that shows them (`langlog.services.progress`), if there is one."""

from __future__ import annotations

import contextlib
from typing import Protocol


class Progress(Protocol):
    def step(self, doing: str, done: str) -> contextlib.AbstractContextManager[None]:
        """Show a step while the block runs; steps may overlap. ``doing``: the step ("starting Redis"). ``done``: its result,
        shown if the block ends without an exception ("Redis started"); empty: not shown."""
        ...


class Silent:
    """Shows nothing."""

    def step(self, doing: str, done: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


SILENT = Silent()
