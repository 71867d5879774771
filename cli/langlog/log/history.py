"""Records of one run or thread for tools: by the index of positions, or by a scan without an index.

Scanning is for what the read model has let go of: deleted threads, stateless runs. It reads every record of ``run-events`` once
and drops what langlog itself would drop (`langlog_schemas.consumer.Follower`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.history.thread_snapshot import ThreadRows
    from langlog_backbone.log import Log, Record, TopicPartition
    from langlog_schemas.events import AnyEvent


CUT = "Earlier events of it were cut from the log (docs/how-to/retention.md)."
SCANS = "The read model does not know it (any more): scanning the log."
NO_SNAPSHOT = "langlog: earlier events of thread {} were cut from the log, and its snapshot cannot be read"


class Told(NamedTuple):
    """A record and what it says; ``event`` None: sealed, or of a type of a newer release."""

    record: Record
    event: AnyEvent | None
    run_id: str | None


class History(NamedTuple):
    thread_id: str
    entries: list[Told]
    cut: int = 0
    """Earlier events that the log no longer holds, as far as is known; who needs all of them cannot go on."""
    last_cut: int = -1
    """Offset of the last of them."""
    base: ThreadRows | None = None
    """The thread as of the snapshot, which stands in for what was cut; ``entries`` are what follows."""


async def of_run(log: Log, pool: asyncpg.Pool | None, run_id: str, thread_id: str | None) -> History | None:
    """All that happened in a run; None when there is nothing of it. ``pool`` None: by scanning alone."""
    if pool is not None:
        found = await _indexed(log, pool, thread_id or await thread_of(pool, run_id), run_id)
        if found is not None and (found.entries or found.cut):
            _say_cut(found)
            return found if found.entries else None
        click.echo(SCANS, err=True)
    needle = run_id.encode()
    entries: list[Told] = []
    follower = _Follower()
    async for records in scan(log, ["run-events"], thread_id):
        for record in records:
            told = follower.event(record) if needle in record.value else None
            if told is not None and told.run_id == run_id:
                entries.append(told)
    return History(entries[0].record.key, entries) if entries else None


async def of_thread_indexed(log: Log, pool: asyncpg.Pool, thread_id: str) -> list[Record]:
    """The thread's events by the index; empty when the read model does not know it."""
    found = await _indexed(log, pool, thread_id, None)
    _say_cut(found)
    return [] if found is None else [told.record for told in found.entries]


async def whole_thread(log: Log, pool: asyncpg.Pool | None, thread_id: str) -> History | None:
    """All that happened on a thread, where its first events were cut from its snapshot on; None when there is nothing of it.

    ``pool`` None: by scanning alone. ``cut`` is over 0 only if there is no snapshot that can be read, which is said on stderr.
    """
    from langlog_backbone.history.thread_snapshot import thread_rows

    found = None if pool is None else await _indexed(log, pool, thread_id, None)
    known = found is not None and bool(found.entries or found.cut)
    if found is not None and known and not found.cut:
        return found
    if pool is not None and not known:
        click.echo(SCANS, err=True)
    start = (await log.start_offsets("run-events"))[log.partition_of(thread_id)]
    base = await thread_rows(log, thread_id) if start else None
    if found is None or not known:
        found = await _scanned(log, thread_id, base)
    if base is None:
        if found.cut:
            click.echo(NO_SNAPSHOT.format(thread_id), err=True)
        return found if found.entries or found.cut else None
    entries = [told for told in found.entries if told.record.offset >= base.offset]
    passed = [told.record.offset for told in found.entries if told.record.offset < base.offset]
    last = max(found.last_cut, *passed) if passed else found.last_cut
    return History(thread_id, entries, 0, base.offset - 1 if last < 0 else last, base)


async def _scanned(log: Log, thread_id: str, base: ThreadRows | None) -> History:
    """What the log holds of a thread, on top of its snapshot if there is one."""
    follower = _Follower(base)
    entries = [
        told
        async for records in scan(log, ["run-events"], thread_id)
        for record in records
        if record.key == thread_id and (told := follower.event(record)) is not None
    ]
    return History(thread_id, entries, await _cut_off(log, thread_id, entries) if entries and base is None else 0)


async def _cut_off(log: Log, thread_id: str, entries: Sequence[Told]) -> int:
    """1 if what was found by scanning does not begin with what made the thread, because the log was cut; else 0."""
    from langlog_schemas import events as ev

    first = entries[0].event
    made = isinstance(first, ev.ThreadCreated) or (isinstance(first, ev.RunCreated) and first.creates_thread)
    return 0 if made or not (await log.start_offsets(ev.RUN_EVENTS))[log.partition_of(thread_id)] else 1


async def thread_of(pool: asyncpg.Pool, run_id: str) -> str | None:
    """The thread of a run that is, or was, in the read model."""
    from langlog_backbone.history.audit import SQL

    found = await pool.fetchval(SQL["thread_of_run"], run_id) or await pool.fetchval(SQL["thread_of_events"], run_id)
    return None if found is None else str(found)


async def _indexed(log: Log, pool: asyncpg.Pool, thread_id: str | None, run_id: str | None) -> History | None:
    from langlog_backbone.history.audit import Asked, Audit

    if thread_id is None:
        return None
    audit = Audit(log, pool.fetch, 0)
    places = [place async for found in audit.places(Asked(thread_id, run_id)) for place in found]
    entries = [
        Told(record, decoded(record), place.run_id or None) async for place, record in audit.records(thread_id, places)
    ]
    held = {told.record.offset for told in entries}
    gone = [place.offset for place in places if place.offset not in held]
    return History(thread_id, entries, len(gone), max(gone, default=-1))


def _say_cut(found: History | None) -> None:
    if found is not None and found.cut:
        click.echo(CUT, err=True)


def decoded(record: Record) -> AnyEvent | None:
    import msgspec
    from langlog_schemas.consumer import Sealed, UnknownType, event_of

    try:
        return event_of(record.headers, record.value)
    except (Sealed, UnknownType, msgspec.MsgspecError):
        return None


class _Follower:
    """What counts of the records of one thread; of runs that were in flight then, what comes after the snapshot."""

    def __init__(self, base: ThreadRows | None = None) -> None:
        from langlog_schemas.consumer import Follower

        in_flight = {} if base is None else base.state().runs
        self._follower = Follower(attempts={id: run.attempt for id, run in in_flight.items() if run.attempt})

    def event(self, record: Record) -> Told | None:
        import msgspec
        from langlog_schemas.consumer import Sealed, UnknownType

        try:
            event = self._follower.event(record.topic, record.partition, record.headers, record.value)
        except (Sealed, UnknownType, msgspec.MsgspecError):
            return Told(record, None, None)
        return None if event is None else Told(record, event, getattr(event, "run_id", None))


async def scan(
    log: Log, topics: Sequence[str], key: str | None = None, start: dict[TopicPartition, int] | None = None
) -> AsyncIterator[list[Record]]:
    """All records that the topics hold now, past ``start``, with progress on stderr. ``key``: only of its partition."""
    from ..progress import shown_progress

    start = dict(start or {})
    wanted = None if key is None else log.partition_of(key)
    ends = {(topic, n): end for topic in topics for n, end in enumerate(await log.end_offsets(topic))}
    for lane, end in ends.items():
        if wanted is not None and lane[1] != wanted:
            start[lane] = end
    begins = {(topic, n): begin for topic in topics for n, begin in enumerate(await log.start_offsets(topic))}
    start = {lane: max(start.get(lane, 0), begins[lane]) for lane in ends}
    missing = {lane for lane, end in ends.items() if end > start[lane]}
    total = sum(ends[lane] - start[lane] for lane in missing)
    if not missing:
        return
    reader = log.reader(list(topics), start)
    try:
        with shown_progress("reading") as progress:
            done = 0
            while missing:
                records = []
                for record in await reader.read(2_000):
                    lane = (record.topic, record.partition)
                    if record.offset < ends[lane]:
                        records.append(record)
                    if record.offset + 1 >= ends[lane]:
                        missing.discard(lane)
                done += len(records)
                progress(done, total)
                yield records
    finally:
        await reader.stop()
