"""Calls of clients and their outcomes: the history that `tests.history.linearizability` judges.

A call is *answered* (its result is known, a refusal such as 409 is one), *refused* (it took no effect, the server says so with 503, or
no process accepted the connection), or *unknown*: it may have taken effect at any time since it began, may still do so, or never will.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["answered", "refused", "unknown"]


@dataclass(frozen=True)
class Call:
    """One try of one client; times in seconds of the monotonic clock of the process that made it."""

    client: str
    subject: str
    """Object of the call, such as ``store:a/b``. Calls of different subjects are independent of each other."""
    action: str
    argument: Hashable
    began: float
    ended: float
    """Infinity if the outcome is unknown."""
    outcome: Outcome
    result: Hashable = None

    def __str__(self) -> str:
        span = f"{self.began:.3f} to {'?' if self.ended == math.inf else f'{self.ended:.3f}'}"
        return f"{span} {self.client}: {self.action} {self.argument!r} -> {self.result!r} ({self.outcome})"


@dataclass
class History:
    """All calls, in the order in which they ended, and how long each took until it was answered."""

    calls: list[Call] = field(default_factory=list)

    def note(
        self,
        client: str,
        subject: str,
        action: str,
        argument: Hashable,
        began: float,
        outcome: Outcome,
        result: Hashable = None,
    ) -> None:
        """Add a call that ends now."""
        ended = math.inf if outcome == "unknown" else time.monotonic()
        self.calls.append(Call(client, subject, action, argument, began, ended, outcome, result))

    def by_subject(self) -> Iterator[tuple[str, list[Call]]]:
        """The calls of each subject that may have taken effect. A call with the action ``look`` is none that a model judges."""
        parts: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.outcome != "refused" and call.action != "look":
                parts[call.subject].append(call)
        yield from sorted(parts.items())
