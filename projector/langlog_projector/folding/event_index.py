"""The index of positions: the offsets of a thread's events in its partition, collected per batch (`langlog_schemas.event_index`).

Entries are removed with their thread, so that stateless runs leave none. Events of a thread that does not exist (a refused
command, a webhook's attempt, events after one that an operator has dropped) are not indexed. Not safe for concurrent use: one per batch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from langlog_schemas import event_index as ix
from langlog_schemas import events as ev


class _Kind(NamedTuple):
    """Properties of a type of event, computed once: they are needed for every folded event."""

    code: int
    of_command: bool
    of_run: bool
    may_make: bool
    """Whether the event may create a thread."""


def _kind(event: type[ev.Event]) -> _Kind | None:
    """Return the properties, or None for types that are not indexed: those of other topics, and a thread's removal."""
    of_command = issubclass(event, ev.CommandRejected | ev.CommandRepeated)
    if event is ev.ThreadDeleted or not (of_command or issubclass(event, ev.ThreadEvent)):
        return None
    return _Kind(
        ix.pack(0, event.TYPE)[1],
        of_command,
        "run_id" in event.__struct_fields__,
        event in (ev.ThreadCreated, ev.RunCreated),
    )


_KINDS = {event: kind for event in ev.EVENTS.values() if (kind := _kind(event)) is not None}


class _Bucket:
    __slots__ = ("entries", "first_at", "last_at")

    def __init__(self, at: datetime) -> None:
        self.entries = bytearray()
        self.first_at = self.last_at = at


class EventIndex:
    def __init__(self) -> None:
        self._threads: dict[str, dict[tuple[int, str], _Bucket]] = {}
        self._made: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._threads)

    def note(self, event: Any, offset: int, at: datetime) -> None:
        """Index an event that is no duplicate."""
        kind = _KINDS.get(type(event))
        if kind is None or event.topic != ev.RUN_EVENTS:
            return
        code, of_command, of_run, may_make = kind
        thread_id: str = event.aggregate_id if of_command else event.thread_id
        buckets = self._threads.get(thread_id)
        if buckets is None:
            buckets = self._threads[thread_id] = {}
        key = offset // ix.SPAN, (event.run_id or "") if of_run else ""
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = _Bucket(at)
        bucket.entries += bytes((offset % ix.SPAN, code))
        if at > bucket.last_at:
            bucket.last_at = at
        elif at < bucket.first_at:
            bucket.first_at = at
        if may_make and _makes(event):
            self._made.add(thread_id)

    def forget(self, thread_id: str) -> None:
        """Drop the entries of a thread that is removed, or created again."""
        if self._threads.pop(thread_id, None) is not None:
            self._made.discard(thread_id)

    def rows(self) -> list[tuple[str, int, str, bytes, datetime, datetime, bool]]:
        """Return (thread id, bucket, run id, entries, first and last time, whether the batch has made the thread)."""
        return [
            (thread_id, n, run_id, bytes(b.entries), b.first_at, b.last_at, thread_id in self._made)
            for thread_id, buckets in self._threads.items()
            for (n, run_id), b in buckets.items()
        ]


def _makes(event: Any) -> bool:
    return event.creates_thread if isinstance(event, ev.RunCreated) else not event.existed
