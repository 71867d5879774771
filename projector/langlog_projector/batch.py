"""One batch of records, folded in memory before it is written: its changes, and the threads that it erases.

A record that cannot be folded, or that Postgres refused before, parks its key (`parking`): the batch holds it as a dead letter, and all
later records of the key after it. `fold` stops where the next record has to be in a batch of its own.

Belongs to one `Projection`, and is dropped with what it holds if it cannot be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from langlog_backbone.log import Record, TopicPartition
from langlog_backbone.log.dead_letters import error_text
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause

from .apply import Step
from .folding.fold import Fences, Fold
from .listener import Listener
from .parking import Parked, origin_of, releases_events

ENDS = frozenset(event.TYPE for event in ev.FINAL_RUN_EVENTS)


class Unfoldable(Exception):
    """Folding a record failed midway: the changes collected so far must not be written."""


class Batch:
    """The changes of some records. ``outcomes_kept``: how long the first event of a repeatable command is stored. ``erases``: whether
    what is removed is erased as well, so that nothing else may be stored of it."""

    def __init__(
        self, fences: Fences, parked: Parked, listener: Listener, outcomes_kept: timedelta, *, erases: bool
    ) -> None:
        self._fences = fences
        self._parked = parked
        self._listener = listener
        self._outcomes_kept = outcomes_kept
        self._erases = erases
        self._fold = Fold(fences)
        self.changes = self._fold.changes
        self.records: Sequence[Record] = ()
        """The records that are folded."""
        self.steps: dict[TopicPartition, Step] = {}
        """The positions before and after the records."""
        self.bad: list[tuple[Record, str]] = []
        """Those of the records that cannot be folded, each with its error."""
        self.erased: list[str] = []
        """Threads that the records erase."""
        self.ended = False
        """Whether the last record deletes a thread whose key was parked."""

    def fold(self, records: Sequence[Record]) -> None:
        """Fold as many records as may be written together.

        Raises Unfoldable when the changes are spoilt; `Parked.refused` has the record from then on.
        """
        self.records = records[: self._fold_first(records)]
        begins: dict[TopicPartition, int] = {}
        ends: dict[TopicPartition, int] = {}
        for record in self.records:
            partition = (record.topic, record.partition)
            begins.setdefault(partition, record.offset)
            ends[partition] = record.offset + 1
        self.steps = {
            partition: Step(begins[partition], after, self._fences.causes.get(partition))
            for partition, after in ends.items()
        }

    def fold_parked(self, record: Record) -> tuple[Record, ev.AnyEvent] | None:
        """Fold a record that was parked, and whose cause was passed then. Return it as the listener receives it, or None if it is
        dropped. Raises whatever is wrong with it."""
        event = ev.decode(envelope.type_of(record.headers), record.value)
        if not self._fold.event(event, record.headers["ce_time"], record.offset, record.partition):
            return None
        self._note_erased(event)
        self.changes.outcomes.note(record, event, self._outcomes_kept)
        return self._whole(record, event)

    def _fold_first(self, records: Sequence[Record]) -> int:
        """Fold the first records, and return their number."""
        for n, record in enumerate(records):
            if record.topic == ev.DEAD_LETTERS:
                if releases_events(record):
                    return n
                if envelope.ERASED not in record.headers and envelope.GAP not in record.headers:
                    self.changes.dead_letters.add(record)
                continue
            read = self._read(record)
            if read is None:
                continue
            cause, event = read
            if event is not None:
                if n and self._fold.must_wait(event):
                    return n
                if not self._fold_event(event, record):
                    continue
                record, event = self._whole(record, event)
            if cause is not None:
                self._fences.causes[record.topic, record.partition] = cause
            if event is not None and self._folded(record, event, cause):
                return n + 1
        return len(records)

    def _read(self, record: Record) -> tuple[Cause | None, ev.AnyEvent | None] | None:
        """Return a record's cause, and the event to fold, if any; None if it repeats what is folded. Park the record if something is
        wrong with it."""
        cause = None
        try:
            cause = _own_cause(record)
            if cause is not None and self._fences.duplicate(record.topic, cause):
                return None
            event = self._event_of(record) or deletion_in(record)
        except Exception as error:
            event = error_text(error)  # its cause is passed: what is written again of it is no other record
        if isinstance(event, str):
            self._park(record, event)
            event = deletion_in(record)
        return cause, event

    def _fold_event(self, event: ev.AnyEvent, record: Record) -> bool:
        """Fold an event; return False if it was dropped. Raises Unfoldable, and remembers the record as refused."""
        try:
            return self._fold.event(event, record.headers["ce_time"], record.offset, record.partition)
        except Exception as error:
            self._parked.refused[origin_of(record)] = error_text(error)
            raise Unfoldable from error

    def _event_of(self, record: Record) -> ev.AnyEvent | str | None:
        """Return the event to fold, or the earlier error of the record; None: it is erased, a gap, dropped, or waits behind its key.

        Raises whatever is wrong with the record.
        """
        parked, type_name = self._parked, envelope.type_of(record.headers)
        if envelope.ERASED in record.headers or envelope.GAP in record.headers:
            return None
        if parked.dropped and origin_of(record) in parked.dropped:
            return None
        if parked.keys and (record.topic, record.key) in parked.keys and type_name != ev.ThreadDeleted.TYPE:
            self.changes.dead_letters.park(origin_of(record), record, None)
            return None
        if (known := parked.refused.get(origin_of(record))) is not None:
            return known
        if "ce_time" not in record.headers:
            raise KeyError("ce_time")
        return ev.decode(type_name, record.value)

    def _park(self, record: Record, why: str) -> None:
        """Park a record that cannot be folded: it and all later ones of its key wait."""
        self.bad.append((record, why))
        self.changes.dead_letters.park(origin_of(record), record, why)
        self._parked.keys.add((record.topic, record.key))
        self._listener.parked(record.key)

    def _folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> bool:
        """Notify the listener; return whether the event ends the batch, because it removed a thread with parked events."""
        if cause is not None:
            self._note_erased(event)
            self.changes.outcomes.note(record, event, self._outcomes_kept)
        self._listener.folded(record, event, cause)
        parked = (record.topic, record.key)
        if not removes_thread(event) or parked not in self._parked.keys:
            return False
        self.changes.dead_letters.forget(*parked)
        self._parked.keys.discard(parked)
        self.ended = True
        return True

    def _note_erased(self, event: ev.AnyEvent) -> None:
        if self._erases and removes_thread(event):
            self.erased.append(event.key)
            self.changes.outcomes.forget(event.key)

    def _whole(self, record: Record, event: ev.AnyEvent) -> tuple[Record, ev.AnyEvent]:
        """Return a run's end as it would have been in one record; any other event unchanged."""
        whole = self._fold.whole_ends.pop(event.run_id, None) if isinstance(event, ev.RunEnded) else None
        if whole is None:
            return record, event
        return msgspec.structs.replace(record, value=ev.encode(whole)), whole


def _own_cause(record: Record) -> Cause | None:
    """Return the cause of an event. Raises ValueError for one that no decider has written: the causes that follow would count as past."""
    cause = envelope.cause_of(record.headers)
    if cause is not None and cause.partition != record.partition:
        raise ValueError("the cause is of another partition")
    return cause


def removes_thread(event: ev.AnyEvent) -> bool:
    """Return whether the event removes its thread."""
    return isinstance(event, ev.ThreadDeleted) or (isinstance(event, ev.RunEnded) and event.deletes_thread)


def deletion_in(record: Record) -> ev.ThreadDeleted | None:
    """Return the removal of a thread that a run's end brings with it: it happens also where the end itself waits, is bad, or is dropped."""
    if envelope.type_of(record.headers) not in ENDS or b'"deletes_thread":true' not in record.value:
        return None
    try:
        event = ev.decode(envelope.type_of(record.headers), record.value)
    except msgspec.MsgspecError:
        return None
    removed = ev.parts(event)[-1]
    return removed if isinstance(removed, ev.ThreadDeleted) else None
