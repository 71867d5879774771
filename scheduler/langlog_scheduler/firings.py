"""Due times of crons that were fired and have not advanced in the read model yet.

The read model is behind the log. A cron that was fired is due in the read model until the decider has advanced it and the projector
has folded that; it is not fired again meanwhile, however long that takes. If the read model shows another due time, even an earlier one
(Postgres lost its last commits, a new projection is folded), the cron's entry is dropped.

Pure except for its clock argument. It holds one entry for each cron that is being advanced, `FIRING_MAX` at most. When the
process dies, its successor fires each of them once more; of the same due time only the first command is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from langlog_backbone.time.sources import monotonic

FIRING_MAX = 10_000
"""Maximum number of crons that are being advanced at once; others wait until some of them have advanced."""
REPEAT_S = 300.0
"""Seconds after which a due time that was appended and is still shown as due is appended once more: its commands may be lost."""
RETRY_S = 1.0
"""The same if the log did not acknowledge the append; doubled each time, up to `LONGEST_RETRY_S`."""
LONGEST_RETRY_S = 60.0


class Firing(NamedTuple):
    """A fired due time. ``again_at``: time from which it may be fired again, monotonic seconds; ``pause``: seconds before that."""

    due: datetime
    again_at: float
    pause: float


class Firings:
    """``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._firing: dict[str, Firing] = {}

    def __len__(self) -> int:
        return len(self._firing)

    @property
    def room(self) -> int:
        """Number of crons that may still be fired."""
        return max(0, FIRING_MAX - len(self._firing))

    @property
    def crons(self) -> list[str]:
        return list(self._firing)

    def see(self, shown: Mapping[str, datetime]) -> None:
        """Compare with the next due times of `crons` in the read model; drop crons that it does not have."""
        self._firing = {id: firing for id, firing in self._firing.items() if shown.get(id) == firing.due}

    def passed_over(self) -> tuple[list[str], list[datetime]]:
        """Return crons and due times that must not be fired now."""
        now = self._clock()
        waiting = [(id, firing.due) for id, firing in self._firing.items() if firing.again_at > now]
        return [id for id, _ in waiting], [due for _, due in waiting]

    def appended(self, fired: Collection[tuple[str, datetime]]) -> None:
        """Record due times whose commands are in the log."""
        again_at = self._clock() + REPEAT_S
        for id, due in fired:
            self._firing[id] = Firing(due, again_at, RETRY_S)

    def failed(self, fired: Collection[tuple[str, datetime]]) -> None:
        """Record due times whose commands may be in the log or not."""
        now = self._clock()
        for id, due in fired:
            before = self._firing.get(id)
            pause = RETRY_S if before is None or before.due != due else min(2 * before.pause, LONGEST_RETRY_S)
            self._firing[id] = Firing(due, now + pause, pause)
