"""Searches the log's records for people: in pages from the newest back, or live. Reads only, joins no group.

    ends of all partitions ──► a window of each ──► merged by time, the newest first ──► filter ──► a page and a cursor

Bounds: a page scans at most `SCAN_RECORDS` records or `SCAN_S` seconds, then it returns the records so far and a cursor to
continue from; a body over `record_view.SHOWN_BYTES` is left out of pages and read by itself (`read_record`). A record of a
partition comes after all later ones of that partition; between partitions the clocks of the appenders decide.
"""

from __future__ import annotations

import base64
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import NamedTuple

import msgspec
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev

from ..log.port import Log, Positions, Record, TopicPartition
from ..time.sources import monotonic
from .record_view import RecordFilter, RecordView, view_of

TOPICS = (cmd.TOPIC, *ev.EVENT_TOPICS, ev.DEAD_LETTERS)
SCAN_RECORDS = 20_000
SCAN_S = 2.0
CLOCKS_APART = timedelta(minutes=1)
"""The search begins this long before the requested time: appenders' clocks differ, and may be set back."""
WINDOW_RECORDS = 2_000
"""Approximate number of records read at once over all partitions."""


class BadCursor(ValueError):
    """A cursor that no page has returned."""


class RecordPage(msgspec.Struct, frozen=True):
    """A page of records. ``cursor``: start of the next page; None: no older records. ``scanned``: records that were looked at."""

    records: list[RecordView]
    """The records, the newest first."""
    cursor: str | None
    """Start of the next page; null: no older records."""
    scanned: int
    """Number of records examined for this page."""


async def read_record(log: Log, topic: str, partition: int, offset: int) -> RecordView | None:
    """Return one complete record, or None if the log does not hold it. Raises LogUnavailable."""
    records = await log.fetch(topic, partition, [offset])
    return view_of(records[0], None) if records and envelope.GAP not in records[0].headers else None


async def newest(log: Log, wanted: RecordFilter, cursor: str | None, limit: int) -> RecordPage:
    """Return a page before ``cursor``, the newest record first. Raises BadCursor, LogUnavailable."""
    begins, ends = await _span(log, wanted)
    if cursor is not None:
        ends = _moved_back(ends, begins, cursor)
    merge = _NewestFirst(log, wanted, begins, ends)
    until = monotonic() + SCAN_S
    views: list[RecordView] = []
    while len(views) < limit and merge.scanned < SCAN_RECORDS and monotonic() < until:
        if not await merge.refill():
            break
        views += merge.take(limit - len(views), SCAN_RECORDS - merge.scanned)
    rest = merge.rest()
    return RecordPage(views, encoded_cursor(rest) if any(rest[p] > begins[p] for p in rest) else None, merge.scanned)


async def following(log: Log, wanted: RecordFilter) -> AsyncGenerator[list[RecordView], None]:
    """Yield records as they are appended, from those of ``wanted.since`` on, or from now. Ends with its consumer."""
    topics = list(wanted.topics or TOPICS)
    start = {(topic, n): end for topic in topics for n, end in enumerate(await log.end_offsets(topic))}
    if wanted.since is not None:
        begins, _ = await _span(log, wanted)
        start |= begins
    reader = log.reader(topics, start)
    try:
        while True:
            # one that was empty at the start begins at 0 by the port's rule
            views = [view_of(record) for record in await reader.read(500) if wanted.has(record)]
            if views:
                yield views
    finally:
        await reader.stop()


async def _span(log: Log, wanted: RecordFilter) -> tuple[Positions, Positions]:
    """Return the range of offsets that can match: first and end, of each partition."""
    begins: Positions = {}
    ends: Positions = {}
    partitions = {log.partition_of(key) for key in wanted.keys} or None
    for topic in wanted.topics or TOPICS:
        starts, stops = await log.start_offsets(topic), await log.end_offsets(topic)
        if wanted.since is not None:
            starts = list(map(max, starts, await log.offsets_at(topic, wanted.since - CLOCKS_APART)))
        for n, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            if partitions is None or n in partitions:
                begins[topic, n], ends[topic, n] = min(start, stop), stop
    return begins, ends


class _Seen(NamedTuple):
    """A record that was read. ``order``: its sort key, never below that of an earlier record of its partition."""

    order: str
    offset: int
    view: RecordView | None
    """View of the record, or None if it does not match."""


class _NewestFirst:
    """Merges the partitions from their ends back. Holds at most one window of each."""

    def __init__(self, log: Log, wanted: RecordFilter, begins: Positions, ends: Positions) -> None:
        self._log, self._wanted, self._begins = log, wanted, begins
        self._unread = dict(ends)
        """Partition -> offset up to which it is still to be read."""
        self._windows: dict[TopicPartition, deque[_Seen]] = {partition: deque() for partition in ends}
        self._taken = dict(ends)
        """Partition -> the lowest offset that was examined."""
        self.scanned = 0

    def rest(self) -> Positions:
        """Return, per partition, the offset below which records were not examined."""
        return self._taken

    async def refill(self) -> bool:
        """Read a window of each partition whose window is used up. False: no partition has more."""
        empty = [p for p, window in self._windows.items() if not window and self._unread[p] > self._begins[p]]
        if empty:
            size = max(16, WINDOW_RECORDS // len(empty))
            spans = {p: (max(self._begins[p], self._unread[p] - size), self._unread[p]) for p in empty}
            windows = await self._read(spans)
            for partition, window in windows.items():
                self._unread[partition] = spans[partition][0]
                self._windows[partition] = window
        return any(self._windows.values()) or any(self._unread[p] > self._begins[p] for p in self._unread)

    async def _read(self, spans: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, deque[_Seen]]:
        """Return the records in these ranges of offsets, in offset order. Holds views: records may be as large as the log allows."""
        topics = sorted({topic for topic, _ in spans})
        starts = {(topic, n): end for topic in topics for n, end in enumerate(await self._log.end_offsets(topic))}
        starts |= {partition: begin for partition, (begin, _) in spans.items()}
        windows: dict[TopicPartition, deque[_Seen]] = {partition: deque() for partition in spans}
        missing = set(spans)
        reader = self._log.reader(topics, starts)
        try:
            while missing:
                for record in await reader.read(1_000):
                    partition = (record.topic, record.partition)
                    if partition not in missing:
                        continue
                    if record.offset < spans[partition][1]:
                        window = windows[partition]
                        window.append(self._seen(record, window[-1].order if window else ""))
                    if record.offset + 1 >= spans[partition][1]:
                        missing.discard(partition)
        finally:
            await reader.stop()
        return windows

    def _seen(self, record: Record, latest: str) -> _Seen:
        """Return the entry of a record. ``latest``: sort key of the record before it in its partition."""
        view = view_of(record) if self._wanted.has(record) else None
        return _Seen(max(latest, record.headers.get("ce_time", "")), record.offset, view)

    def take(self, limit: int, scan: int) -> list[RecordView]:
        """Return the next matching records, until a partition's window is used up and earlier records remain."""
        heap = [(_Backwards(window[-1].order), p) for p, window in self._windows.items() if window]
        heapq.heapify(heap)
        views: list[RecordView] = []
        while heap and len(views) < limit and scan > 0:
            _, partition = heap[0]
            window = self._windows[partition]
            seen = window.pop()
            self._taken[partition] = seen.offset
            self.scanned += 1
            scan -= 1
            if seen.view is not None:
                views.append(seen.view)
            if window:
                heapq.heapreplace(heap, (_Backwards(window[-1].order), partition))
                continue
            heapq.heappop(heap)
            # records were cut, or the window's first ones are not there: nothing is before the window then
            self._taken[partition] = self._unread[partition]
            if self._unread[partition] > self._begins[partition]:
                break  # earlier records may be newer than those of the other partitions
        return views


class _Backwards(str):
    """Text that sorts in reverse order."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def encoded_cursor(ends: Positions) -> str:
    """Return the position where a page ended as opaque text for a URL."""
    topics: dict[str, dict[str, int]] = {}
    for (topic, partition), end in ends.items():
        topics.setdefault(topic, {})[str(partition)] = end
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(topics)).decode().rstrip("=")


_CURSOR = msgspec.msgpack.Decoder(dict[str, dict[str, int]])


def _moved_back(ends: Positions, begins: Positions, cursor: str) -> Positions:
    """Return the ends of a page before the cursor. Raises BadCursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        topics = _CURSOR.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, msgspec.MsgspecError):
        raise BadCursor("cursor is not one that a page of records has given") from None
    moved = dict(ends)
    for partition in ends:
        before = topics.get(partition[0], {}).get(str(partition[1]), begins[partition])
        moved[partition] = max(begins[partition], min(ends[partition], before))
    return moved
