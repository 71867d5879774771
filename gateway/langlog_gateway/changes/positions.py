"""Positions of the projector's messages, by partition, and the messages kept for readers that return. Pure.

A partition's messages are contiguous: if one begins after the end of the last one, messages were lost between them.
Messages are kept from ``floor`` on; for a reader with an older cursor the lists are stale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from langlog_schemas import events as ev
from langlog_schemas.messages import ListChanges

from .cursor import TopicPartition
from .gathering import KINDS, Gathering, Kind

KEPT_CHANGES = 20_000
"""Maximum number of changes that are kept for readers that return."""
KINDS_OF: Mapping[str, tuple[Kind, ...]] = {
    ev.RUN_EVENTS: ("threads", "runs"),
    ev.ASSISTANT_EVENTS: ("assistants",),
    ev.CRON_EVENTS: ("crons",),
    ev.DEAD_LETTERS: KINDS,
}
"""Topic -> kinds that its events change."""


class ReceivedPositions:
    def __init__(self, positions: Mapping[TopicPartition, int]) -> None:
        """``positions``: the read model's, from when on no message is missed unnoticed."""
        self.positions: dict[TopicPartition, int] = dict(positions)
        self._floor: dict[TopicPartition, int] = dict(positions)
        self._kept: deque[ListChanges] = deque()
        self._size = 0
        self._awaited: dict[TopicPartition, int] = {}
        """Positions of the read model at the last check: messages up to them must have arrived by the next one."""

    def take(self, message: ListChanges) -> set[Kind]:
        """Record a message; return the kinds of which messages were lost before it."""
        lost: set[Kind] = set()
        for topic, part, before, after in message.steps:
            partition = (topic, part)
            if before > self.positions.get(partition, 0):
                lost.update(KINDS_OF[topic])
                self._floor[partition] = before
            self.positions[partition] = max(after, self.positions.get(partition, 0))
        self._kept.append(message)
        self._size += _size(message)
        while self._size > KEPT_CHANGES and self._kept:
            self._drop(self._kept.popleft())
        return lost

    def _drop(self, message: ListChanges) -> None:
        self._size -= _size(message)
        for topic, part, _, after in message.steps:
            self._floor[topic, part] = max(after, self._floor.get((topic, part), 0))

    def check(self, before: Mapping[TopicPartition, int], saved: Mapping[TopicPartition, int]) -> set[Kind]:
        """Compare with the read model's positions, read after ours were ``before``. Return the kinds of which something was lost of."""
        lost: set[Kind] = set()
        for partition, position in saved.items():
            if position < before.get(partition, 0):
                lost.update(KINDS_OF[partition[0]])  # Postgres lost its last commits: they are folded again
            elif self._awaited.get(partition, 0) > self.positions.get(partition, 0):
                lost.update(KINDS_OF[partition[0]])  # the message of a commit before the last check never came
            else:
                continue
            self.positions[partition] = self._floor[partition] = position
        self._awaited = dict(saved)
        return lost

    def since(self, positions: Mapping[TopicPartition, int]) -> Gathering:
        """Return the changes since a reader's cursor; kinds whose changes are no longer kept are stale."""
        gathering = Gathering()
        for partition, floor in self._floor.items():
            if positions.get(partition, 0) < floor:
                gathering.stale.update(KINDS_OF[partition[0]])
        for message in self._kept:
            if any(after > positions.get((topic, part), 0) for topic, part, _, after in message.steps):
                gathering.add(message)
        return gathering


def _size(message: ListChanges) -> int:
    return (
        1
        + len(message.threads)
        + len(message.runs)
        + len(message.assistants)
        + len(message.crons)
        + len(message.removed_runs)
        + len(message.removed_assistants)
        + len(message.removed_crons)
        + sum(1 + len(metadata or "") // 256 for metadata in message.removed_threads.values())
    )
