"""Records of one run or thread for tools and replays: by the index of positions, or by a scan without an index.

Scanning is for what the read model no longer has: deleted threads, stateless runs. It reads every record of ``run-events`` once
and drops what langlog itself would drop (`langlog_schemas.consumer.Follower`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
import msgspec
from langlog_schemas import events as ev
from langlog_schemas.consumer import Follower, Sealed, UnknownType, event_of
from langlog_schemas.events import AnyEvent

from ..log.port import Log, Record, TopicPartition
from .audit import SQL, Audit, EventQuery
from .thread_snapshot import ThreadRows, thread_rows

CUT = "Earlier events of it were cut from the log (docs/how-to/retention.md)."
SCANS = "The read model does not know it (any more): scanning the log."
NO_SNAPSHOT = "langlog: earlier events of thread {} were cut from the log, and its snapshot cannot be read"

Progress = Callable[[int, int], None]
"""``(done, total)``: records so far, and records in all, which may grow."""
ShowProgress = Callable[[str], contextlib.AbstractContextManager[Progress]]
"""Shows how far work with this label is."""


class RecordedEvent(NamedTuple):
    """A record and its event; ``event`` None: sealed, or of a type of a newer release."""

    record: Record
    event: AnyEvent | None
    run_id: str | None


class History(NamedTuple):
    thread_id: str
    entries: list[RecordedEvent]
    cut: int = 0
    """Number of earlier events that the log no longer holds, as far as known; a reader that needs all of them cannot go on."""
    last_cut: int = -1
    """Offset of the last cut event."""
    base: ThreadRows | None = None
    """The thread as of the snapshot, which replaces the cut events; ``entries`` follow it."""


@contextlib.contextmanager
def _not_shown(label: str) -> Iterator[Progress]:
    yield lambda done, total: None


class HistoryReader:
    """Reads histories. ``pool`` None: by scanning alone. ``note`` is called with what a person should know: a cut, or that the log is
    scanned."""

    def __init__(
        self,
        log: Log,
        pool: asyncpg.Pool | None,
        *,
        note: Callable[[str], None] = lambda text: None,
        progress: ShowProgress = _not_shown,
    ) -> None:
        self._log, self._pool, self._note, self._progress = log, pool, note, progress

    async def of_run(self, run_id: str, thread_id: str | None = None) -> History | None:
        """Return the history of a run, or None if the log holds none of its events. Raises LogUnavailable."""
        if self._pool is not None:
            indexed = await self._indexed(thread_id or await self.thread_of(run_id), run_id)
            if indexed is not None and (indexed.entries or indexed.cut):
                self._note_cut(indexed)
                return indexed if indexed.entries else None
            self._note(SCANS)
        needle = run_id.encode()
        entries: list[RecordedEvent] = []
        follower = _Follower()
        async for records in scan(self._log, [ev.RUN_EVENTS], thread_id, progress=self._progress):
            for record in records:
                entry = follower.event(record) if needle in record.value else None
                if entry is not None and entry.run_id == run_id:
                    entries.append(entry)
        return History(entries[0].record.key, entries) if entries else None

    async def of_thread_indexed(self, thread_id: str) -> list[Record]:
        """Return the thread's events by the index; empty if the read model does not know the thread."""
        indexed = await self._indexed(thread_id, None)
        self._note_cut(indexed)
        return [] if indexed is None else [entry.record for entry in indexed.entries]

    async def whole_thread(self, thread_id: str, *, scanned: bool = False) -> History | None:
        """Return the history of a thread, from its snapshot on if its first events were cut; None when there is nothing of it.

        ``scanned``: without the index. ``cut`` is over 0 only if there is no snapshot that can be read, which is noted.
        """
        indexed = None if scanned else await self._indexed(thread_id, None)
        known = indexed is not None and bool(indexed.entries or indexed.cut)
        if indexed is not None and known and not indexed.cut:
            return indexed
        if self._pool is not None and not scanned and not known:
            self._note(SCANS)
        start = (await self._log.start_offsets(ev.RUN_EVENTS))[self._log.partition_of(thread_id)]
        base = await thread_rows(self._log, thread_id) if start else None
        history = indexed if indexed is not None and known else await self._scanned(thread_id, base)
        if base is None:
            if history.cut:
                self._note(NO_SNAPSHOT.format(thread_id))
            return history if history.entries or history.cut else None
        entries = [entry for entry in history.entries if entry.record.offset >= base.offset]
        in_snapshot = [entry.record.offset for entry in history.entries if entry.record.offset < base.offset]
        last = max(history.last_cut, *in_snapshot) if in_snapshot else history.last_cut
        return History(thread_id, entries, 0, base.offset - 1 if last < 0 else last, base)

    async def of_runs_thread(self, run_id: str, thread_id: str | None = None) -> History | None:
        """Return the history of a run's thread, as `whole_thread`; None if the log holds no event of the run."""
        thread_id = thread_id or (None if self._pool is None else await self.thread_of(run_id))
        if thread_id is not None:
            return await self.whole_thread(thread_id)
        run = await self.of_run(run_id)
        return None if run is None else await self.whole_thread(run.thread_id, scanned=True)

    async def thread_of(self, run_id: str) -> str | None:
        """Return the thread id of a run that is, or was, in the read model."""
        assert self._pool is not None, "only the read model knows the threads of runs"
        thread = await self._pool.fetchval(SQL["thread_of_run"], run_id)
        thread = thread or await self._pool.fetchval(SQL["thread_of_events"], run_id)
        return None if thread is None else str(thread)

    async def _indexed(self, thread_id: str | None, run_id: str | None) -> History | None:
        if thread_id is None or self._pool is None:
            return None
        audit = Audit(self._log, self._pool.fetch, 0)
        index = [entry async for entries in audit.entries(EventQuery(thread_id, run_id)) for entry in entries]
        recorded = [
            RecordedEvent(record, decoded(record), entry.run_id or None)
            async for entry, record in audit.records(thread_id, index)
        ]
        held = {entry.record.offset for entry in recorded}
        cut = [entry.offset for entry in index if entry.offset not in held]
        return History(thread_id, recorded, len(cut), max(cut, default=-1))

    async def _scanned(self, thread_id: str, base: ThreadRows | None) -> History:
        """Return the history of a thread by scanning the log, on top of its snapshot if there is one."""
        follower = _Follower(base)
        entries = [
            entry
            async for records in scan(self._log, [ev.RUN_EVENTS], thread_id, progress=self._progress)
            for record in records
            if record.key == thread_id and (entry := follower.event(record)) is not None
        ]
        cut = await _cut_off(self._log, thread_id, entries) if entries and base is None else 0
        return History(thread_id, entries, cut)

    def _note_cut(self, history: History | None) -> None:
        if history is not None and history.cut:
            self._note(CUT)


async def _cut_off(log: Log, thread_id: str, entries: Sequence[RecordedEvent]) -> int:
    """Return 1 if the scanned events do not begin with the thread's creation, because the log was cut; else 0."""
    first = entries[0].event
    made = isinstance(first, ev.ThreadCreated) or (isinstance(first, ev.RunCreated) and first.creates_thread)
    return 0 if made or not (await log.start_offsets(ev.RUN_EVENTS))[log.partition_of(thread_id)] else 1


def each_step(entries: Sequence[RecordedEvent]) -> list[RecordedEvent]:
    """Events of runs that share a record, one by one: checkpoints and writes, and a run's dispatch with its creation."""
    separate: list[RecordedEvent] = []
    for recorded in entries:
        event, record = recorded.event, recorded.record
        if isinstance(event, ev.RunCreated):
            separate += [recorded._replace(event=part) for part in ev.parts(event)]
            continue
        if not isinstance(event, ev.CheckpointSteps):
            separate.append(recorded)
            continue
        begun = datetime.fromisoformat(record.headers["ce_time"])
        for step, one in zip(event.steps, event.events(), strict=True):
            time = (begun + timedelta(microseconds=step.after_us)).isoformat(timespec="microseconds")
            own = msgspec.structs.replace(record, headers={**record.headers, "ce_time": time})
            separate.append(recorded._replace(record=own, event=one))
    return separate


def decoded(record: Record) -> AnyEvent | None:
    """Return the record's event, or None if it is sealed, of a newer release, or broken."""
    try:
        return event_of(record.headers, record.value)
    except (Sealed, UnknownType, msgspec.MsgspecError):
        return None


class _Follower:
    """Filters the records of one thread: drops duplicates and stale ones. Runs in flight at the snapshot continue after it."""

    def __init__(self, base: ThreadRows | None = None) -> None:
        in_flight = {} if base is None else base.state().runs
        self._follower = Follower(attempts={id: run.attempt for id, run in in_flight.items() if run.attempt})

    def event(self, record: Record) -> RecordedEvent | None:
        try:
            event = self._follower.event(record.topic, record.partition, record.headers, record.value)
        except (Sealed, UnknownType, msgspec.MsgspecError):
            return RecordedEvent(record, None, None)
        return None if event is None else RecordedEvent(record, event, getattr(event, "run_id", None))


async def scan(
    log: Log,
    topics: Sequence[str],
    key: str | None = None,
    start: dict[TopicPartition, int] | None = None,
    *,
    progress: ShowProgress = _not_shown,
) -> AsyncIterator[list[Record]]:
    """Yield all records that the topics hold now, past ``start``. ``key``: only those of its partition."""
    start = dict(start or {})
    wanted = None if key is None else log.partition_of(key)
    ends = {(topic, n): end for topic in topics for n, end in enumerate(await log.end_offsets(topic))}
    for partition, end in ends.items():
        if wanted is not None and partition[1] != wanted:
            start[partition] = end
    begins = {(topic, n): begin for topic in topics for n, begin in enumerate(await log.start_offsets(topic))}
    start = {partition: max(start.get(partition, 0), begins[partition]) for partition in ends}
    missing = {partition for partition, end in ends.items() if end > start[partition]}
    total = sum(ends[partition] - start[partition] for partition in missing)
    if not missing:
        return
    reader = log.reader(list(topics), start)
    try:
        with progress("reading") as show:
            done = 0
            while missing:
                records = []
                for record in await reader.read(2_000):
                    partition = (record.topic, record.partition)
                    if record.offset < ends[partition]:
                        records.append(record)
                    if record.offset + 1 >= ends[partition]:
                        missing.discard(partition)
                done += len(records)
                show(done, total)
                yield records
    finally:
        await reader.stop()
