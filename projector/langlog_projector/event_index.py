"""The index of positions: which offsets of its partition a thread's events have, gathered per batch (`langlog_schemas.event_index`).

A thread that goes takes its entries along, so that stateless runs leave none. Events that may concern a thread that is not
there (a refused command, a webhook's try …) are kept only if it is. Not safe for concurrent use: one per batch.
"""

from __future__ import annotations

from datetime import datetime

from langlog_schemas import event_index as ix
from langlog_schemas import events as ev

SURE = (ev.ThreadCreated, ev.RunCreated, ev.RunDispatched, *ev.FINAL_RUN_EVENTS, *ev.WORKER_EVENTS)
"""Events of a thread that is there without asking."""


class _Bucket:
    __slots__ = ("entries", "first_at", "last_at")

    def __init__(self, at: datetime) -> None:
        self.entries = bytearray()
        self.first_at = self.last_at = at


class EventIndex:
    def __init__(self) -> None:
        self._threads: dict[str, dict[tuple[int, str], _Bucket]] = {}
        self._sure: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._threads)

    def note(self, event: ev.AnyEvent, offset: int, at: datetime) -> None:
        """An event that counts. Those of other topics, and a thread's removal, have no place here."""
        match event:
            case ev.CommandRejected() | ev.CommandRepeated():
                thread_id, run_id = event.aggregate_id, ""
            case ev.ThreadDeleted():
                return
            case ev.ThreadEvent():
                thread_id, run_id = event.thread_id, getattr(event, "run_id", None) or ""
            case _:
                return
        buckets = self._threads.get(thread_id)
        if buckets is None:
            buckets = self._threads[thread_id] = {}
        key = offset // ix.SPAN, run_id
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = _Bucket(at)
        bucket.entries += ix.pack(offset, event.TYPE)
        if at > bucket.last_at:
            bucket.last_at = at
        elif at < bucket.first_at:
            bucket.first_at = at
        if thread_id not in self._sure and isinstance(event, SURE):
            self._sure.add(thread_id)

    def forget(self, thread_id: str) -> None:
        """The thread goes, or begins anew."""
        if self._threads.pop(thread_id, None) is not None:
            self._sure.discard(thread_id)

    def rows(self) -> list[tuple[str, int, str, bytes, datetime, datetime, bool]]:
        """(thread id, bucket, run id, entries, first and last time, whether the thread is there for sure)."""
        return [
            (thread_id, n, run_id, bytes(b.entries), b.first_at, b.last_at, thread_id in self._sure)
            for thread_id, buckets in self._threads.items()
            for (n, run_id), b in buckets.items()
        ]
