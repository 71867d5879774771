"""Endpoints as the OpenAPI document tells them: what each takes and answers (API.md 2 to 5, 8, 10, 11, 15)."""

from __future__ import annotations

from typing import Annotated, Any

from langlog_schemas.run_request import RunCreate
from msgspec import Meta, Struct

from ..http import cron_requests as c
from ..http import requests as b
from . import responses as a

Schema = dict[str, Any]

INT: Schema = {"type": "integer"}
BOOL: Schema = {"type": "boolean"}
TEXT: Schema = {"type": "string"}
SSE = "text/event-stream"
KEY = {"Idempotency-Key": "A repetition with the same key is answered as the first time and changes nothing again"}


class Operation(Struct, frozen=True):
    summary: str = ""
    body: Any = None
    answer: Any = None
    errors: tuple[int, ...] = (400, 404, 409)
    query: dict[str, Schema] = {}
    headers: dict[str, str] = {}
    required: tuple[str, ...] = ()
    """Query parameters that must be there."""
    empty: tuple[int, ...] = ()
    """Statuses of success without a body."""
    media: str | None = None
    tag: str | None = None
    names: tuple[str, ...] = ()
    """Path parameters ending in ``_id`` that need not be UUIDs."""
    plain: tuple[int, ...] = ()
    """Errors that may be plain text."""
    keyed: tuple[int, ...] = ()
    """Errors of another form than ``detail``."""

    def types(self) -> list[Any]:
        return [t for t in (self.body, self.answer) if t is not None]


RunBatch = Annotated[list[RunCreate], Meta(min_length=1)]
CANCEL: dict[str, Schema] = {"action": {"type": "string", "enum": ["interrupt", "rollback"]}, "wait": BOOL}
JOIN = {"cancel_on_disconnect": BOOL}
NOT_THERE = (404,)
AUDIT: dict[str, Schema] = {
    "after": TEXT,
    "limit": INT,
    "type": {"type": "array", "items": TEXT},
    "from": TEXT,
    "to": TEXT,
    "include": {"enum": ["frames"]},
}
AUDIT_HEADERS = {
    "Last-Event-ID": "Of the stream that a client gets who accepts text/event-stream: go on after this event",
}

OPERATIONS: dict[str, Operation] = {
    # assistants
    "POST /assistants": Operation("Make an assistant", b.AssistantCreate, a.Assistant, (400, 404, 409), headers=KEY),
    "POST /assistants/search": Operation("Find assistants", b.AssistantSearch, list[a.Assistant], NOT_THERE),
    "POST /assistants/count": Operation("Count assistants", b.AssistantCount, int, NOT_THERE),
    "GET /assistants/{assistant_id}": Operation("An assistant", None, a.Assistant, NOT_THERE),
    "PATCH /assistants/{assistant_id}": Operation(
        "Make a new version of an assistant", b.AssistantPatch, a.Assistant, (400, 404)
    ),
    "DELETE /assistants/{assistant_id}": Operation(
        "Remove an assistant", errors=NOT_THERE, query={"delete_threads": BOOL}, empty=(204,)
    ),
    "GET /assistants/{assistant_id}/graph": Operation(
        "The drawing of its graph",
        None,
        a.Drawing,
        (404, 500),
        query={"xray": {"anyOf": [BOOL, {"type": "integer", "minimum": 1}]}},
        names=("assistant_id",),
    ),
    "GET /assistants/{assistant_id}/subgraphs": Operation(
        "Schemas of its subgraphs", None, dict[str, a.GraphSchemas], (404, 500), query={"recurse": BOOL}
    ),
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": Operation(
        "Schemas of one subgraph", None, dict[str, a.GraphSchemas], (404, 500), query={"recurse": BOOL}
    ),
    "GET /assistants/{assistant_id}/schemas": Operation("Schemas of its graph", None, a.GraphSchemas, (404, 500)),
    "POST /assistants/{assistant_id}/versions": Operation(
        "Its versions", b.AssistantVersions, list[a.Assistant], NOT_THERE
    ),
    "POST /assistants/{assistant_id}/latest": Operation(
        "Go to one of its versions", b.AssistantLatest, a.Assistant, NOT_THERE
    ),
    # threads
    "POST /threads": Operation("Make a thread", b.ThreadCreate, a.Thread, (201, 400, 404, 409, 500), headers=KEY),
    "POST /threads/search": Operation("Find threads", b.ThreadSearch, list[a.Thread], (400,)),
    "POST /threads/count": Operation("Count threads", b.ThreadCount, int, (400,)),
    "POST /threads/prune": Operation("Remove threads, or their past", b.ThreadPrune, a.Pruned, NOT_THERE),
    "GET /threads/{thread_id}": Operation("A thread", None, a.Thread, NOT_THERE, query={"include": TEXT}),
    "PATCH /threads/{thread_id}": Operation(
        "Change a thread",
        b.ThreadPatch,
        a.Thread,
        NOT_THERE,
        headers={"Prefer": "return=minimal: no body in the answer"},
        empty=(204,),
    ),
    "DELETE /threads/{thread_id}": Operation("Remove a thread", errors=NOT_THERE, empty=(204,)),
    "POST /threads/{thread_id}/copy": Operation("Copy a thread", None, a.Thread, (400, 409)),
    "GET /threads/{thread_id}/storage": Operation("What a thread takes up", None, a.Storage, NOT_THERE),
    "GET /threads/{thread_id}/state": Operation(
        "Its state", None, a.State, (400, 404, 410, 500), query={"subgraphs": BOOL, "as_of": TEXT}
    ),
    "POST /threads/{thread_id}/state": Operation(
        "Change its state", b.StateUpdate, a.StateUpdated, (400, 404, 409, 500)
    ),
    "POST /threads/{thread_id}/state/checkpoint": Operation(
        "Its state at a checkpoint", b.StateAtCheckpoint, a.State, (400, 404, 500)
    ),
    "GET /threads/{thread_id}/state/{checkpoint_id}": Operation(
        "Its state at a checkpoint", None, a.State, (400, 404, 500), query={"subgraphs": BOOL}
    ),
    "GET /threads/{thread_id}/history": Operation(
        "Its past states", None, list[a.State], (400, 404, 500), query={"limit": INT, "before": TEXT}
    ),
    "POST /threads/{thread_id}/history": Operation("Its past states", b.HistorySearch, list[a.State], (400, 404, 500)),
    "GET /threads/{thread_id}/stream": Operation(
        "All its runs as one stream",
        errors=NOT_THERE,
        media=SSE,
        query={"stream_modes": TEXT},
        headers={"Last-Event-ID": "Go on after this event; -: from the start"},
    ),
    "POST /threads/{thread_id}/commands": Operation(
        "A command of the streaming protocol",
        b.ProtocolCommand,
        a.ProtocolAnswer,
        errors=(400,),
        headers=KEY,
        keyed=(400,),
    ),
    "POST /threads/{thread_id}/stream/events": Operation(
        "Its events by the streaming protocol",
        b.EventStream,
        errors=(400,),
        media=SSE,
        headers={"Last-Event-ID": "Go on after this event, when the body has no since"},
    ),
    "GET /threads/{thread_id}/stream/events": Operation(
        "The streaming protocol over a WebSocket", errors=(403, 405), empty=(101,)
    ),
    "GET /threads/{thread_id}/events": Operation(
        "What happened on it, from the log", None, a.EventPage, (400, 404, 503), query=AUDIT, headers=AUDIT_HEADERS
    ),
    # runs
    "GET /threads/{thread_id}/runs/{run_id}/events": Operation(
        "What happened in a run, from the log", None, a.EventPage, (400, 404, 503), query=AUDIT, headers=AUDIT_HEADERS
    ),
    "GET /threads/{thread_id}/runs": Operation(
        "Its runs",
        None,
        list[a.Run],
        (400, 404),
        query={
            "limit": INT,
            "offset": INT,
            "status": TEXT,
            "select": {"type": "array", "items": {"enum": list(a.Run.__struct_fields__)}},
        },
    ),
    "GET /threads/{thread_id}/runs/{run_id}": Operation("A run", None, a.Run, NOT_THERE),
    "DELETE /threads/{thread_id}/runs/{run_id}": Operation("Remove a run", errors=NOT_THERE, empty=(204,)),
    "GET /threads/{thread_id}/runs/{run_id}/join": Operation("Wait for its end", errors=NOT_THERE, query=JOIN),
    "GET /threads/{thread_id}/runs/{run_id}/stream": Operation(
        "Its events",
        errors=NOT_THERE,
        media=SSE,
        query={**JOIN, "stream_mode": TEXT},
        headers={"Last-Event-ID": "Go on after this event; -1: from the start"},
    ),
    "POST /threads/{thread_id}/runs/{run_id}/cancel": Operation(
        "Stop a run", errors=NOT_THERE, query=CANCEL, answer=dict[str, Any], empty=(202,)
    ),
    "POST /runs/batch": Operation("Make several runs", RunBatch, list[a.Run], (400, 404, 409), headers=KEY),
    "POST /runs/cancel": Operation(
        "Stop several runs", b.CancelMany, errors=NOT_THERE, query={"action": CANCEL["action"]}, empty=(204,)
    ),
    "GET /threads/{thread_id}/runs/{run_id}/webhooks": Operation("What was sent to its webhook", errors=NOT_THERE),
    # other protocols
    "POST /mcp": Operation("MCP: assistants as tools", errors=(400, 404, 406), empty=(202,), keyed=(400, 406)),
    "GET /mcp": Operation("MCP: no stream is offered", errors=(405,)),
    "DELETE /mcp": Operation("MCP: there are no sessions", errors=NOT_THERE),
    "POST /a2a/{assistant_id}": Operation("A2A: JSON-RPC to an assistant", errors=(400, 404), keyed=(400,)),
    "GET /a2a/{assistant_id}": Operation("A2A: the card of an assistant", errors=(400, 404), keyed=(400,)),
    "GET /.well-known/agent-card.json": Operation(
        "A2A: the card of an assistant", errors=(400, 404), query={"assistant_id": TEXT}, tag="a2a", keyed=(400,)
    ),
    # crons
    "POST /runs/crons": Operation("Make a cron", c.CronCreate, a.Cron, (400, 404)),
    "POST /threads/{thread_id}/runs/crons": Operation("Make a cron on a thread", c.CronCreate, a.Cron, (400, 404)),
    "GET /runs/crons/{cron_id}": Operation("A cron", None, a.Cron, NOT_THERE),
    "PATCH /runs/crons/{cron_id}": Operation("Change a cron", c.CronPatch, a.Cron, (400, 404)),
    "DELETE /runs/crons/{cron_id}": Operation("Remove a cron", errors=NOT_THERE, empty=(204,)),
    "POST /runs/crons/search": Operation("Find crons", c.CronSearch, list[a.Cron], (400, 404)),
    "POST /runs/crons/count": Operation("Count crons", c.CronCount, int, (400, 404)),
    # store
    "PUT /store/items": Operation("Write an item", b.StorePut, errors=(400,), empty=(204,), plain=(422,)),
    "GET /store/items": Operation(
        "An item, or null",
        None,
        a.Item | None,
        (400,),
        query={"key": TEXT, "namespace": TEXT, "refresh_ttl": BOOL},
        required=("key",),
        plain=(422,),
        keyed=(400,),
    ),
    "DELETE /store/items": Operation("Remove an item", b.StoreDelete, errors=(400,), empty=(204,), plain=(422,)),
    "POST /store/items/search": Operation("Find items", b.StoreSearch, a.Items, (400,), plain=(422,)),
    "POST /store/namespaces": Operation("List namespaces", b.StoreNamespaces, a.Namespaces, (400,), plain=(422,)),
    # system
    "GET /": Operation("Whether it answers", None, a.Okay, (400,), query={"check_db": INT}, tag="system"),
    "GET /ok": Operation("Whether it answers", None, a.Okay, (400,), query={"check_db": INT}, tag="system"),
    "GET /info": Operation("Versions and flags", None, a.Info, (), tag="system"),
    "GET /docs": Operation("This document, to read", media="text/html", errors=(), tag="system"),
    "GET /openapi.json": Operation("This document", None, dict[str, Any], (), tag="system"),
    "GET /metrics": Operation(
        "Figures", media="text/plain", errors=(), query={"format": {"enum": ["prometheus"]}}, tag="system"
    ),
}

for _prefix, _of in (("/threads/{thread_id}/runs", "on a thread"), ("/runs", "without a thread")):
    _errors = (400, 404, 409)
    OPERATIONS[f"POST {_prefix}"] = Operation(f"Make a run {_of}", RunCreate, a.Run, _errors, headers=KEY)
    OPERATIONS[f"POST {_prefix}/wait"] = Operation(
        f"Make a run {_of} and wait for its output", RunCreate, errors=_errors, headers=KEY
    )
    OPERATIONS[f"POST {_prefix}/stream"] = Operation(
        f"Make a run {_of} and get its events", RunCreate, errors=_errors, media=SSE, headers=KEY
    )
