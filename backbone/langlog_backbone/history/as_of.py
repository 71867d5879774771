"""A thread's past state: its lifecycle folded up to a time or a position, and the checkpoint that was its head then.

Reads the records that the index of positions names (`Audit`): the thread's decided events, and the last checkpoints before
the moment. Costs one look-up a decided event of the thread up to then. Where its first events were cut it begins with the
thread's snapshot (`thread_snapshot`); earlier states cannot be shown. Holds nothing between calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from langlog_schemas import checkpoints as cp
from langlog_schemas import envelope
from langlog_schemas import event_index as ix
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState, evolve
from langlog_schemas.commands import Metadata
from langlog_schemas.event_index import IndexEntry

from ..log import LogUnavailable, Record
from .audit import Audit, EventQuery
from .thread_snapshot import ThreadRows

_FROM_WORKERS = frozenset(ix.CODES[ix.unversioned(e.TYPE)] for e in ev.WORKER_EVENTS)
_WRITTEN, _STEPS, _PART, _UPDATED = (
    ix.CODES[ix.unversioned(e.TYPE)]
    for e in (ev.CheckpointWritten, ev.CheckpointSteps, ev.CheckpointPart, ev.StateUpdated)
)
_TABLES = ("threads", "runs", "checkpoints", "checkpoint_parts", "thread_events")
"""Tables of a snapshot that are read."""
LOOK_BACK = 8
"""Number of checkpoints that one step reads, from the last one backwards."""
BlobParts = Mapping[str, Mapping[int, bytes]]
"""Blob id -> index -> bytes."""


class NotInLog(Exception):
    """The log was cut past what this would have to read."""


class RunAtPosition(msgspec.Struct, frozen=True):
    """A run that was in flight. ``attempt`` 0: not dispatched yet."""

    run_id: str
    attempt: int


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """``position`` and ``time``: of the last event that counts; ``exists``: whether there was a thread."""

    position: int
    time: str | None
    exists: bool
    status: str
    metadata: Metadata
    runs: list[RunAtPosition]
    checkpoint_id: str | None
    """Id of the root namespace's checkpoint, or None if there was none."""


async def thread_as_of(audit: Audit, thread_id: str, at: int | datetime) -> AsOf:
    """Return the thread at a position of its partition, or at a time. Raises NotInLog, LogUnavailable."""
    entries = [entry async for batch in audit.entries(EventQuery(thread_id)) for entry in batch]
    start = await audit.cut_below(thread_id)
    state, time = ThreadState(thread_id=thread_id), None
    base = await _base(audit, thread_id, entries, start)
    last = -1
    if base is not None:
        last = max(entry.offset for entry in entries if entry.offset < base.offset)
        entries = [entry for entry in entries if entry.offset >= base.offset]
        state, time = base.state(), base.last_at().isoformat()
        if at < last if isinstance(at, int) else at < base.last_at():
            raise NotInLog(too_early(thread_id, last, base.last_at()))
    position = at if isinstance(at, int) else await _position(audit, thread_id, entries, at)
    entries = [entry for entry in entries if entry.offset <= position]
    gone: set[str] = set()
    cleared = -1
    decided = [entry for entry in entries if entry.code not in _FROM_WORKERS]
    async for entry, record in audit.records(thread_id, decided):
        event = _event(record)
        if event is None:
            continue
        time = record.headers["ce_time"]
        with contextlib.suppress(KeyError):  # of a run whose beginning is no longer in the log
            state = evolve(state, event, time)
        if isinstance(event, ev.RunRolledBack | ev.RunDeleted):
            gone.add(event.run_id)
        elif isinstance(event, ev.CheckpointsDeleted):
            if event.run_ids is not None:
                gone.update(event.run_ids)
            elif not event.keep_latest:
                cleared = entry.offset
    kept = [p for p in entries if p.run_id not in gone and p.offset > cleared]
    moment = at if isinstance(at, datetime) else None
    checkpoint_id = await _head(audit, thread_id, kept, {} if base is None else base.pieces(), moment)
    if checkpoint_id is None and base is not None and cleared < 0:
        checkpoint_id = base.head(gone)
    if entries and await audit.cut_below(thread_id) > entries[0].offset:
        raise LogUnavailable("the log is being cut")
    return AsOf(
        position=entries[-1].offset if entries else last,
        time=time,
        exists=state.exists,
        status=state.status,
        metadata=state.metadata,
        runs=[RunAtPosition(run.run_id, run.attempt) for run in state.runs.values()],
        checkpoint_id=checkpoint_id,
    )


async def _base(audit: Audit, thread_id: str, entries: Sequence[IndexEntry], start: int) -> ThreadRows | None:
    """Return the snapshot that replaces the first events, or None if they were not cut. Raises NotInLog if it cannot be read."""
    if not entries or entries[0].offset >= start:
        return None
    snapshot = await audit.snapshot(thread_id, _TABLES)
    if snapshot is None:
        raise NotInLog(f"events of thread {thread_id} below offset {start} were cut from the log")
    return snapshot


def too_early(thread_id: str, position: int, time: datetime) -> str:
    """Return the error text for a time before the thread's snapshot, with the first time that can be shown."""
    return (
        f"earlier events of thread {thread_id} were cut from the log: "
        f"it can be shown as of position {position} ({time.isoformat()}) and later"
    )


async def _position(audit: Audit, thread_id: str, entries: Sequence[IndexEntry], moment: datetime) -> int:
    """Return the offset of the last event at or before the moment; -1 without one."""
    for end in range(len(entries), 0, -LOOK_BACK * 4):
        chunk = entries[max(0, end - LOOK_BACK * 4) : end]
        offsets = [
            entry.offset
            async for entry, record in audit.records(thread_id, chunk)
            if datetime.fromisoformat(record.headers["ce_time"]) <= moment
        ]
        if offsets:
            return offsets[-1]
    return -1


async def _head(
    audit: Audit, thread_id: str, entries: Sequence[IndexEntry], begun: BlobParts, moment: datetime | None
) -> str | None:
    """Return the last checkpoint of the root namespace among these; ``begun``: parts from before them. Raises NotInLog."""
    written = [entry for entry in entries if entry.code in (_WRITTEN, _STEPS, _PART, _UPDATED)]
    for end in range(len(written), 0, -LOOK_BACK):
        chunk = written[max(0, end - LOOK_BACK) : end]
        records = {entry.offset: record async for entry, record in audit.records(thread_id, chunk)}
        for n, entry in reversed(list(enumerate(chunk, max(0, end - LOOK_BACK)))):
            record = records.get(entry.offset)
            if record is None:
                raise NotInLog(f"the log no longer holds offset {entry.offset} of thread {thread_id}")
            checkpoint_id = await _checkpoint_of(
                audit, thread_id, _event(record), written[:n], begun, _since(record, moment)
            )
            if checkpoint_id is not None:
                return checkpoint_id
    return None


async def _checkpoint_of(
    audit: Audit,
    thread_id: str,
    event: ev.AnyEvent | None,
    before: Sequence[IndexEntry],
    begun: BlobParts,
    within: timedelta | None,
) -> str | None:
    """Return the id of the last root checkpoint in an event, or None. ``within``: what was made so long after its time counts."""
    match event:
        case ev.CheckpointWritten():
            return _root(cp.decode_checkpoint(event.body))
        case ev.CheckpointSteps():
            counted = [s for s in event.steps if within is None or timedelta(microseconds=s.after_us) <= within]
            written = [cp.decode_checkpoint(step.body) for step in reversed(counted) if not step.writes]
            return next((id for body in written if (id := _root(body)) is not None), None)
        case ev.StateUpdated():
            bodies = [cp.decode_bundle(body).checkpoint for body in reversed(event.checkpoints)]
            return next((id for body in bodies if body is not None and (id := _root(body)) is not None), None)
        case ev.CheckpointPart() if event.index == event.count - 1 and event.whole == ev.CheckpointWritten.TYPE:
            pieces = {**begun.get(event.blob_id, {}), event.index: event.body}
            async for _, record in audit.records(thread_id, [p for p in before if p.code == _PART][-event.count * 4 :]):
                piece = _event(record)
                if isinstance(piece, ev.CheckpointPart) and piece.blob_id == event.blob_id:
                    pieces[piece.index] = piece.body
            if len(pieces) < event.count:
                raise NotInLog(f"the log no longer holds all parts of a checkpoint of thread {thread_id}")
            return _root(cp.decode_checkpoint(b"".join(pieces[n] for n in range(event.count))))
        case _:
            return None


def _since(record: Record, moment: datetime | None) -> timedelta | None:
    return None if moment is None else moment - datetime.fromisoformat(record.headers["ce_time"])


def _root(body: cp.CheckpointBody) -> str | None:
    return body.checkpoint_id if body.namespace == "" else None


def _event(record: Record) -> ev.AnyEvent | None:
    """Return the event of a record, or None if it is sealed or of a type of a newer release."""
    if envelope.SEALED in record.headers:
        return None
    try:
        return ev.decode(envelope.type_of(record.headers), record.value)
    except (KeyError, msgspec.MsgspecError):
        return None
