"""Recently appended commands, so that a poll with the same result does not append them again at once.

A poll reads an older state than the log's. A scheduler that appends all results of each poll would add to the very backlog that
keeps the read model from showing what it has appended. So a command that is still due is repeated after a pause that doubles.

Concurrency: belongs to one loop. It holds at most `REMEMBERED_MAX` ids and forgets the oldest; a forgotten command may be
appended once more, which has no effect. When the process dies, all are appended once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands as cmd

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
REMEMBERED_MAX = 100_000
"""Maximum number of remembered ids: some 20 MB."""


class Repeat(NamedTuple):
    """Time from which the command may be appended again, and the pause before that; seconds."""

    at: float
    pause: float


class Repeats:
    """``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = REMEMBERED_MAX) -> None:
        self._clock = clock
        self._most = most
        self._appended: dict[str, Repeat] = {}

    def due(self, commands: Sequence[tuple[str, cmd.Body]]) -> list[tuple[str, cmd.Body]]:
        """Return those that were not appended, or long enough ago."""
        now = self._clock()
        return [pair for pair in commands if pair[0] not in self._appended or self._appended[pair[0]].at <= now]

    def note(self, commands: Sequence[tuple[str, cmd.Body]]) -> None:
        """Record commands that were appended, or may have been."""
        now = self._clock()
        for id, _ in commands:
            before = self._appended.pop(id, None)
            pause = FIRST_PAUSE_S if before is None else min(2 * before.pause, LONGEST_PAUSE_S)
            self._appended[id] = Repeat(now + pause, pause)
        while len(self._appended) > self._most:
            del self._appended[next(iter(self._appended))]
