"""Parameters of operations: headers, path and query parameters with their descriptions."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

KEY = {
    "Idempotency-Key": "Key that makes retries safe: a repeated request with the same key returns the first response and changes nothing"
}
PATH = {
    "assistant_id": "Id of the assistant",
    "thread_id": "Id of the thread",
    "run_id": "Id of the run",
    "cron_id": "Id of the cron",
    "checkpoint_id": "Id of the checkpoint",
    "service": "Name of the service or server: gateway, decider, projector, scheduler, workers, executor, log, postgres or redis",
    "topic": "Topic of the log",
    "partition": "Partition of the topic",
    "offset": "Offset within the partition",
    "name": "Name in `ui` of langgraph.json",
    "file": "Name of the file",
    "namespace": "Name of the subgraph's node; `|` separates the names of nested ones",
}
"""Path parameter -> its description."""


def flag(about: str) -> Schema:
    return {"type": "boolean", "description": about}


def number(about: str, default: int | None = None) -> Schema:
    return {"type": "integer", "description": about} | ({} if default is None else {"default": default})


def text(about: str) -> Schema:
    return {"type": "string", "description": about}


def texts(about: str) -> Schema:
    """Return a parameter that may be repeated."""
    return {"type": "array", "items": {"type": "string"}, "description": about}


def choice(about: str, *values: str) -> Schema:
    return {"type": "string", "enum": [*values], "description": about}


ACTION = choice(
    "`interrupt` keeps the checkpoints of the run, `rollback` deletes run and checkpoints", "interrupt", "rollback"
)
CANCEL: dict[str, Schema] = {
    "action": ACTION,
    "wait": flag("Respond when the run has stopped"),
    "reason": choice("Reason to record with the run: `taken` if somebody else takes over", "taken"),
}
JOIN = {"cancel_on_disconnect": flag("Cancel the run when this client disconnects")}
NAMESPACES = texts(
    "Namespaces whose events to stream: the names of nested nodes, joined by `|`. Empty means the graph itself"
)
JOIN_STREAM: dict[str, Schema] = {
    **JOIN,
    "stream_mode": text("Modes whose events to stream, joined by commas; absent means all that the run streams"),
    "namespace": NAMESPACES,
    "checkpoint_id": text("Id of a checkpoint: stream the events after it"),
}
SUBGRAPHS = {"subgraphs": flag("Include the states of subgraphs in `tasks`")}
SELECT = {
    "select": texts("Members to return, and `values.<key>` for one key of the values; absent returns all"),
}
CHECK = {"check_db": number("1 reports on Postgres, Redis, log and read model too")}
AUDIT: dict[str, Schema] = {
    "after": text("`next` of the page before"),
    "limit": number("Maximum number of events, at most 1,000", 100),
    "type": texts("Type of the events, such as `run.created`; a prefix ends in a period (`run.`)"),
    "from": text("Time in ISO 8601 of the first event"),
    "to": text("Time in ISO 8601 of the last event"),
    "include": choice("`frames` includes the data of recorded stream events", "frames"),
}
AUDIT_HEADERS = {
    "Last-Event-ID": "With Accept: text/event-stream, resume the stream after this event",
}

FILTERS: dict[str, Schema] = {
    "topic": texts("Topics, such as `run-events`; absent means all"),
    "key": texts("Keys: ids of threads, assistants or crons, or namespaces"),
    "type": texts("Types, such as `run.created`; a prefix ends in a period (`run.`), and `*` matches any text"),
    "from": text("Time in ISO 8601 of the oldest record"),
    "to": text("Time in ISO 8601 of the newest record"),
}
RECORDS: dict[str, Schema] = {
    **FILTERS,
    "limit": number("Maximum number of records, at most 500", 100),
    "cursor": text("`cursor` of the page before"),
}
