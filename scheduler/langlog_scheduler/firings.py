"""Which due times of crons have been fired and are not seen moved on in the read model yet.

The read model is behind the log. A cron that was fired is due in the read model until the decider has moved it on and the projector
has folded that; it is not fired again meanwhile, however long that takes. Where the read model shows another due time, an earlier one
too (Postgres lost its last commits, a new projection is folded), what is remembered of the cron no longer counts.

Pure but for the clock that it is given. It holds one entry for each cron that is being moved on, `FIRING_MAX` at most. When the
process dies, its successor fires each of them once more; of the same due time only the first command is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from langlog_backbone.time.sources import monotonic

FIRING_MAX = 10_000
"""Crons that are being moved on at once; others wait until some of them are seen moved on."""
REPEAT_S = 300.0
"""A due time that was appended and is still shown as due after this is appended once more: its commands may be lost."""
RETRY_S = 1.0
"""The same where the log did not acknowledge the append; doubled each time, up to `LONGEST_RETRY_S`."""
LONGEST_RETRY_S = 60.0


class Firing(NamedTuple):
    """``again_at``: when it may be fired again, monotonic seconds; ``pause``: before that."""

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
        """How many more may be fired."""
        return max(0, FIRING_MAX - len(self._firing))

    @property
    def crons(self) -> list[str]:
        return list(self._firing)

    def see(self, shown: Mapping[str, datetime]) -> None:
        """What the read model shows as next due times of `crons`; those that it does not have are gone."""
        self._firing = {id: firing for id, firing in self._firing.items() if shown.get(id) == firing.due}

    def passed_over(self) -> tuple[list[str], list[datetime]]:
        """Crons and due times that are not to be fired now."""
        now = self._clock()
        waiting = [(id, firing.due) for id, firing in self._firing.items() if firing.again_at > now]
        return [id for id, _ in waiting], [due for _, due in waiting]

    def appended(self, fired: Collection[tuple[str, datetime]]) -> None:
        """Their commands are in the log."""
        again_at = self._clock() + REPEAT_S
        for id, due in fired:
            self._firing[id] = Firing(due, again_at, RETRY_S)

    def failed(self, fired: Collection[tuple[str, datetime]]) -> None:
        """Their commands may be in the log or not."""
        now = self._clock()
        for id, due in fired:
            before = self._firing.get(id)
            pause = RETRY_S if before is None or before.due != due else min(2 * before.pause, LONGEST_RETRY_S)
            self._firing[id] = Firing(due, now + pause, pause)
