"""Builds the request for a replay from the history of a thread. Pure."""

from __future__ import annotations

import msgspec
from langlog_backbone.history.thread_history import History, RecordedEvent
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.messages import Task

from .request import ReplayRequest


def dispatches(event: ev.AnyEvent | None) -> bool:
    """Whether a worker may take the run from this event on."""
    return isinstance(event, ev.RunDispatched) or (isinstance(event, ev.RunCreated) and event.dispatched is not None)


def request_for(history: History, run_id: str, project: str) -> ReplayRequest | None:
    """Return the recorded request of a run, as its worker received it; None without the run's beginning."""
    created: RecordedEvent | None = None
    store_until = ""
    events: list[tuple[str, bytes]] = []
    for entry in history.entries:
        own = entry.run_id == run_id
        if own and isinstance(entry.event, ev.RunCreated):
            created = entry
        if own and dispatches(entry.event) and not store_until:
            store_until = entry.record.headers["ce_time"]
        if entry.event is not None:
            events.append((envelope.type_of(entry.record.headers), entry.record.value))
        if own and isinstance(entry.event, ev.RunEnded):
            break
    if created is None or not isinstance(created.event, ev.RunCreated):
        return None
    event = created.event
    task = Task(
        run_id=run_id,
        thread_id=history.thread_id,
        attempt=1,
        assistant_id=event.assistant_id,
        graph_id=event.graph_id,
        kwargs=bytes(event.kwargs),
        metadata=msgspec.json.encode(event.metadata),
        created_at=created.record.headers["ce_time"],
        temporary=event.temporary,
        actor=created.record.headers.get("ce_actor"),
    )
    return ReplayRequest(
        project=project,
        task=task,
        events=events,
        snapshot=[] if history.base is None else [r for r in history.base.rows if r.table.startswith("checkpoint")],
        store_until=store_until or task.created_at,
    )
