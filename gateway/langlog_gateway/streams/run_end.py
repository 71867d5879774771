"""The outcome of a run, as waiters receive it (wire contract §5.2): from its last event, or from the rows when that went by."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from langlog_schemas import events as ev
from langlog_schemas.commands import RunError
from langlog_schemas.runs.ends import FINAL_STATUSES, LIFECYCLE_OF, end_of

from ..responses.failures import RUN_NOT_FOUND, failed_output


class Ended(NamedTuple):
    attempt: int
    frame_count: int
    last_frame_ms: int
    answer: bytes | None
    """Response of ``/wait``; None: the thread's values."""
    error: RunError | None = None
    """Error of a run that failed without its worker, so that no frame reports it."""


def ended(event: ev.AnyEvent, run_id: str) -> Ended | None:
    """Return the end of the run if the event is one, else None."""
    match event:
        case ev.RunSucceeded() | ev.RunCancelled() | ev.RunRolledBack() | ev.RunFailed() | ev.RunTimedOut():
            if event.run_id != run_id:
                return None
            if not end_of(event).failed:
                return _ended(event, bytes(event.output or event.values) or None)
            error = event.error
            name, message = ("Error", "") if error is None else (error.error, error.message)
            unsaid = RunError(name, message) if event.frame_count == 0 else None
            return _ended(event, failed_output(name, message))._replace(error=unsaid)
        case ev.RunDeleted():
            return Ended(0, 0, 0, RUN_NOT_FOUND) if event.run_id == run_id else None
        case ev.ThreadDeleted():
            return Ended(0, 0, 0, RUN_NOT_FOUND)
        case _:
            return None


def _ended(event: ev.RunEnded, answer: bytes | None) -> Ended:
    return Ended(event.attempt, event.frame_count, event.last_frame_ms, answer)


def answer_of(row: Any) -> bytes | None:
    """Return the response of a join for the row of `answer` in runs.sql; None while the run is in flight."""
    if row is None:
        return RUN_NOT_FOUND
    if row["status"] not in FINAL_STATUSES:
        return None
    if LIFECYCLE_OF[row["status"]] == "failed":
        error = msgspec.json.decode(row["error"] or "{}")
        return failed_output(error.get("error", "Error"), error.get("message", ""))
    return values(row["output"] or row["state_values"])


def values(text: str | None) -> bytes:
    """Return state values as a response."""
    return b"null" if text is None else text.encode()
