"""Events of one decision that share a record: joined when they are written, taken apart where each counts by itself. Pure.

    RunCreated (dispatched)        = RunCreated, RunDispatched of the first attempt
    a run's end (deletes_thread)   = the end, ThreadDeleted

A stateless run has six records instead of eight by this. The record's ``ce_cause`` and ``ce_id`` have the place of the last event in
it, so that the same events in records of their own, before or after, are duplicates as they are of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .runs import RunCreated, RunDispatched, RunEnded
from .threads import ThreadDeleted

if TYPE_CHECKING:
    from . import AnyEvent


def joined(events: Sequence[AnyEvent], *, deletions: bool = True) -> list[AnyEvent]:
    """The events of one command as they are written. ``deletions`` False: a thread's removal keeps its own record."""
    written: list[AnyEvent] = []
    for event in events:
        last: Any = written[-1] if written else None
        if _begins(last, event):
            assert isinstance(event, RunDispatched)
            written[-1] = replace(last, dispatched=event.reason)
        elif deletions and _ends_with(last, event):
            written[-1] = replace(last, deletes_thread=True)
        else:
            written.append(event)
    return written


def parts(event: AnyEvent) -> tuple[AnyEvent, ...]:
    """The events that an event of a record holds: mostly itself."""
    if isinstance(event, RunCreated) and event.dispatched is not None:
        dispatched = RunDispatched(thread_id=event.thread_id, run_id=event.run_id, attempt=1, reason=event.dispatched)
        return replace(event, dispatched=None), dispatched
    if isinstance(event, RunEnded) and event.deletes_thread:
        return replace(event, deletes_thread=False), ThreadDeleted(thread_id=event.thread_id)
    return (event,)


def count(event: AnyEvent) -> int:
    """How many events `parts` gives."""
    both = (isinstance(event, RunCreated) and event.dispatched is not None) or (
        isinstance(event, RunEnded) and event.deletes_thread
    )
    return 2 if both else 1


def _begins(created: Any, event: AnyEvent) -> bool:
    return (
        isinstance(created, RunCreated)
        and isinstance(event, RunDispatched)
        and event.run_id == created.run_id
        and event.attempt == 1
        and not event.crashes
        and event.reason in ("ready", "due")
    )


def _ends_with(ended: Any, event: AnyEvent) -> bool:
    return (
        isinstance(ended, RunEnded)
        and isinstance(event, ThreadDeleted)
        and event.thread_id == ended.thread_id
        and not event.active
    )
