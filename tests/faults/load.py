"""How long clients wait while a fault is there: measured by each test of a fault, and kept where LANGLOG_TEST_FIGURES names a file.

One JSON object a line; `make faults` makes docs/explanation/proof/faults.json of them (`tests.faults.page`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.history.clients import Wait
from tests.history.workload import Workload

VARIABLE = "LANGLOG_TEST_FIGURES"


@dataclass
class Load:
    """A load, and when which fault was there."""

    log: str
    clients: Workload
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """(fault, began, ended)."""

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.spans.append((name, began, time.monotonic()))

    async def lasting(self, seconds: float, *, rounds: int = 0) -> None:
        """Let a fault be there for so long, and until so many rounds have ended in spite of it."""
        await asyncio.sleep(seconds)
        if rounds:
            await self.clients.more(rounds)

    def record(self) -> None:
        """Add a line for each fault to the file, if there is to be one."""
        path = os.environ.get(VARIABLE)
        if path:
            with open(path, "a") as file:
                file.writelines(json.dumps(self._figure(*span)) + "\n" for span in self.spans)

    def _figure(self, fault: str, began: float, ended: float) -> dict[str, Any]:
        known = {"log": self.log, "fault": fault, "seconds": round(ended - began, 1)}
        return known | pauses(self.clients.waits, began, ended)


def pauses(waits: Sequence[Wait], began: float, ended: float) -> dict[str, Any]:
    """How long clients waited for answers to calls, and for ends of runs, that they waited for between two times of the monotonic
    clock. Milliseconds."""
    found: dict[str, Any] = {}
    for kind, of_ends in (("calls", False), ("ends", True)):
        own = sorted(
            wait.ended - wait.began
            for wait in waits
            if wait.ended >= began and wait.began <= ended and (wait.action == "end") == of_ends
        )
        found[kind] = len(own)
        if own:
            found[f"{kind}_p50_ms"] = round(statistics.median(own) * 1000, 1)
            found[f"{kind}_max_ms"] = round(own[-1] * 1000)
    return found
