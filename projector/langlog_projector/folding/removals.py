"""Removals of threads: events that are folded although their key is parked. Pure."""

from __future__ import annotations

import msgspec
from langlog_backbone.log import Record
from langlog_schemas import envelope
from langlog_schemas import events as ev

ENDS = frozenset(event.TYPE for event in ev.FINAL_RUN_EVENTS)


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
