"""Offsets that partitions are known to have reached. A record that gets a lower one shows that its topic was made again, or has lost its end,
before the next look at the ids (`watch`).

Pure. Belongs to one log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...port import NewRecord, Position


class KnownEnds:
    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], int] = {}

    def note(self, topic: str, ends: Iterable[tuple[int, int]]) -> None:
        """Record the ends of partitions: (partition, offset of the next record)."""
        for part, end in ends:
            if end > self._ends.get((topic, part), 0):
                self._ends[topic, part] = end

    def of(self, topic: str, part: int) -> int:
        return self._ends.get((topic, part), 0)

    def forget(self, topic: str) -> None:
        self._ends = {known: end for known, end in self._ends.items() if known[0] != topic}


def went_back(records: Sequence[NewRecord], positions: Sequence[Position], ends: Sequence[int]) -> str | None:
    """Return the error if a record was appended below the end that its partition had before, or None. Pure."""
    for record, (part, offset), end in zip(records, positions, ends, strict=True):
        if offset < end:
            return (
                f"Kafka appended a record to {record.topic}/{part} at offset {offset}, and the partition had reached {end} before: the topic "
                "was made again, or has lost its end"
            )
    return None
