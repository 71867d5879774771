"""Webhooks, folded: the delivery that a run's end asks for, and each attempt at it. Pure."""

from __future__ import annotations

from datetime import datetime

from langlog_schemas import events as ev
from langlog_schemas.commands import RunError
from langlog_schemas.runs.ends import end_of

from .changes import Changes, ThreadRow, WebhookRow, WebhookTry
from .json_text import json_text


def webhook_due(
    changes: Changes,
    event: ev.FinalRunEvent,
    url: str,
    thread: ThreadRow,
    at: datetime,
    partition: int,
) -> None:
    """Add the delivery of a run's webhook, which a run has once."""
    if event.run_id in changes.webhooks:
        return
    run = changes.run(event.run_id, event.thread_id, at)
    new = run.new or {}
    gone = isinstance(event, ev.RunRolledBack)
    error = webhook_error(event)
    changes.webhooks[event.run_id] = WebhookRow(
        part=partition,
        thread_id=event.thread_id,
        url=url,
        status=end_of(event).webhook,
        ended_at=at,
        attempt=event.attempt,
        started_at=run.started_at if event.started_at is None else datetime.fromisoformat(event.started_at),
        error=None if error is None else json_text(error),
        state_values=None if gone else thread.state_values,
        look_up_values=not gone and thread.state_values is None and thread.created_at is None,
        assistant_id=new.get("assistant_id"),
        metadata=new.get("metadata"),
        kwargs=new.get("kwargs"),
        multitask_strategy=new.get("multitask_strategy"),
        created_at=new.get("created_at"),
        temporary=new.get("temporary"),
        user_id=new.get("user_id"),
    )


def webhook_attempted(changes: Changes, event: ev.WebhookAttempted, partition: int) -> None:
    """Add the outcome of an attempt to deliver a webhook."""
    at = datetime.fromisoformat(event.attempted_at)
    again = None if event.next_attempt_at is None else datetime.fromisoformat(event.next_attempt_at)
    entry = {
        "attempt": event.attempt,
        "attempted_at": event.attempted_at,
        "duration_ms": event.duration_ms,
        "status_code": event.status_code,
        "error": event.error,
    }
    settled = at if again is None else None
    changes.webhook_tries.append(
        WebhookTry(event.run_id, event.attempt, json_text([entry]), again, settled, event.delivered, partition, at)
    )


def webhook_error(event: ev.RunEnded) -> RunError | None:
    """Return the error text of a webhook (wire contract §12)."""
    if not isinstance(event, ev.RunCancelled | ev.RunRolledBack):
        return event.error
    name, action = (
        ("UserInterrupt", "interrupt") if isinstance(event, ev.RunCancelled) else ("UserRollback", "rollback")
    )
    if event.superseded_by is not None:
        return RunError(name, f"{action} requested by run {event.superseded_by}")
    if event.error is not None:
        return event.error
    return RunError(name, f"{action} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel")
