"""Operations of the OpenAPI document: request bodies and responses of each endpoint (wire contract §2 to §5,
§8, §10, §11, §15)."""

from __future__ import annotations

from typing import Annotated, Any

from langlog_backbone.operation.health import SystemHealth
from langlog_backbone.operation.log_search import RecordPage
from langlog_backbone.operation.parked_keys import ParkedKey, ParkedRecord
from langlog_backbone.operation.record_view import RecordView
from langlog_backbone.operation.webhooks import Undelivered
from langlog_schemas.runs.request import RunCreate
from langlog_schemas.states import State
from msgspec import Meta, Struct

from ..requests.agents import EventStream, JsonRpc, ProtocolCommand
from ..requests.assistants import (
    AssistantCount,
    AssistantCreate,
    AssistantLatest,
    AssistantPatch,
    AssistantSearch,
    AssistantVersions,
    ComponentQuery,
)
from ..requests.crons import CronCount, CronCreate, CronPatch, CronSearch
from ..requests.imports import HeldQuery, Import
from ..requests.interrupts import InterruptCount, InterruptSearch, InterruptsRespond
from ..requests.operator import DropRecord, Replay, RetryKey, RetryWebhooks
from ..requests.runs import CancelMany, RunsCount, RunsRetry, RunsSearch
from ..requests.states import HistorySearch, StateAtCheckpoint, StateUpdate
from ..requests.store import StoreDelete, StoreNamespaces, StorePut, StoreSearch
from ..requests.threads import ThreadCount, ThreadCreate, ThreadFork, ThreadPatch, ThreadPrune, ThreadSearch
from ..responses import (
    agents,
    assistants,
    crons,
    events,
    graphs,
    interrupts,
    runs,
    states,
    store,
    system,
    threads,
    webhooks,
)
from ..responses.members import Time
from .parameters import (
    ACTION,
    AUDIT,
    AUDIT_HEADERS,
    CANCEL,
    CHECK,
    FILTERS,
    JOIN,
    JOIN_STREAM,
    KEY,
    NAMESPACES,
    RECORDS,
    SELECT,
    SUBGRAPHS,
    Schema,
    choice,
    flag,
    number,
    text,
)

SSE = "text/event-stream"
NOT_THERE = (404,)
RunBatch = Annotated[list[RunCreate], Meta(min_length=1)]


class Operation(Struct, frozen=True):
    """The document's description of an endpoint, beyond its route. Its description is the docstring of its handler, its example is in
    ``examples.json``."""

    summary: str = ""
    body: Any = None
    answer: Any = None
    errors: tuple[int, ...] = (400, 404, 409)
    query: dict[str, Schema] = {}
    headers: dict[str, str] = {}
    required: tuple[str, ...] = ()
    """Required query parameters."""
    empty: tuple[int, ...] = ()
    """Statuses without a body."""
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


OPERATIONS: dict[str, Operation] = {
    # assistants
    "POST /assistants": Operation(
        "Create assistant", AssistantCreate, assistants.Assistant, (400, 404, 409), headers=KEY
    ),
    "POST /assistants/search": Operation("Search assistants", AssistantSearch, list[assistants.Assistant], NOT_THERE),
    "POST /assistants/count": Operation("Count assistants", AssistantCount, int, NOT_THERE),
    "GET /assistants/{assistant_id}": Operation("Get assistant", None, assistants.Assistant, NOT_THERE),
    "PATCH /assistants/{assistant_id}": Operation(
        "Update assistant (creates a version)", AssistantPatch, assistants.Assistant, (400, 404)
    ),
    "DELETE /assistants/{assistant_id}": Operation(
        "Delete assistant",
        errors=NOT_THERE,
        query={"delete_threads": flag("Delete the threads whose metadata names the assistant too")},
        empty=(204,),
    ),
    "GET /assistants/{assistant_id}/graph": Operation(
        "Get the assistant's graph",
        None,
        graphs.Drawing,
        (404, 500),
        query={
            "xray": {
                "anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1}],
                "description": "Show the inside of subgraphs: true for all levels, a number for that many",
            }
        },
        names=("assistant_id",),
    ),
    "GET /assistants/{assistant_id}/subgraphs": Operation(
        "Get subgraph schemas of an assistant",
        None,
        dict[str, graphs.GraphSchemas],
        (404, 500),
        query={"recurse": flag("Include subgraphs of subgraphs")},
    ),
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": Operation(
        "Get schemas of one subgraph",
        None,
        dict[str, graphs.GraphSchemas],
        (404, 500),
        query={"recurse": flag("Include subgraphs of subgraphs")},
    ),
    "GET /assistants/{assistant_id}/schemas": Operation(
        "Get graph schemas of an assistant", None, graphs.GraphSchemas, (404, 500)
    ),
    "POST /assistants/{assistant_id}/versions": Operation(
        "List versions of an assistant", AssistantVersions, list[assistants.AssistantVersion], NOT_THERE
    ),
    "POST /assistants/{assistant_id}/latest": Operation(
        "Set the latest version of an assistant", AssistantLatest, assistants.Assistant, NOT_THERE
    ),
    # threads
    "POST /threads": Operation("Create thread", ThreadCreate, threads.Thread, (201, 400, 404, 409, 500), headers=KEY),
    "POST /threads/search": Operation("Search threads", ThreadSearch, list[threads.Thread], (400,)),
    "POST /threads/count": Operation("Count threads", ThreadCount, int, (400,)),
    "POST /threads/prune": Operation("Prune threads", ThreadPrune, threads.Pruned, NOT_THERE),
    "GET /threads/{thread_id}": Operation(
        "Get thread", None, threads.Thread, NOT_THERE, query={"include": text("`ttl` includes the time to live")}
    ),
    "PATCH /threads/{thread_id}": Operation(
        "Update thread",
        ThreadPatch,
        threads.Thread,
        NOT_THERE,
        headers={"Prefer": "`return=minimal` returns no body"},
        empty=(204,),
    ),
    "DELETE /threads/{thread_id}": Operation("Delete thread", errors=NOT_THERE, empty=(204,)),
    "POST /threads/{thread_id}/copy": Operation("Copy thread", None, threads.Thread, (400, 409)),
    "POST /threads/{thread_id}/fork": Operation(
        "Fork thread at a checkpoint", ThreadFork, threads.Thread, (400, 404, 409), headers=KEY
    ),
    "GET /threads/{thread_id}/storage": Operation("Get thread storage usage", None, threads.Storage, NOT_THERE),
    "GET /threads/{thread_id}/state": Operation(
        "Get thread state",
        None,
        State,
        (400, 404, 410, 500),
        query={
            **SUBGRAPHS,
            "as_of": text("Time in ISO 8601, or a position in the log: return the state as it was then"),
            **SELECT,
        },
    ),
    "POST /threads/{thread_id}/state": Operation(
        "Update thread state", StateUpdate, states.StateUpdated, (400, 404, 409, 500)
    ),
    "POST /threads/{thread_id}/state/checkpoint": Operation(
        "Get thread state at a checkpoint", StateAtCheckpoint, State, (400, 404, 500)
    ),
    "GET /threads/{thread_id}/state/{checkpoint_id}": Operation(
        "Get thread state at a checkpoint", None, State, (400, 404, 500), query={**SUBGRAPHS, **SELECT}
    ),
    "GET /threads/{thread_id}/history": Operation(
        "Get thread history",
        None,
        list[State],
        (400, 404, 500),
        query={
            "limit": number("Maximum number of states", 1),
            "before": text("Id of the checkpoint that the states must be older than"),
            **SELECT,
        },
    ),
    "POST /threads/{thread_id}/history": Operation("Get thread history", HistorySearch, list[State], (400, 404, 500)),
    "GET /threads/{thread_id}/stream": Operation(
        "Stream all runs of a thread",
        errors=NOT_THERE,
        media=SSE,
        query={
            "stream_modes": text(
                "`run_modes` (all events of runs, default), `lifecycle` (begin and end of runs), `state_update` (changes of the state by clients); several joined by commas"
            )
        },
        headers={"Last-Event-ID": "Resume after this event; `-` streams from the start"},
    ),
    "POST /threads/{thread_id}/commands": Operation(
        "Send a streaming-protocol command",
        ProtocolCommand,
        agents.ProtocolAnswer,
        errors=(400,),
        headers=KEY,
        keyed=(400,),
    ),
    "POST /threads/{thread_id}/stream/events": Operation(
        "Subscribe to streaming-protocol events",
        EventStream,
        errors=(400,),
        media=SSE,
        headers={"Last-Event-ID": "Resume after this event, unless the body sets `since`"},
    ),
    "GET /threads/{thread_id}/stream/events": Operation(
        "Open a streaming-protocol WebSocket", errors=(403, 405), empty=(101,)
    ),
    "GET /threads/{thread_id}/events": Operation(
        "List log events of a thread", None, events.EventPage, (400, 404, 503), query=AUDIT, headers=AUDIT_HEADERS
    ),
    # runs
    "GET /threads/{thread_id}/runs/{run_id}/events": Operation(
        "List log events of a run", None, events.EventPage, (400, 404, 503), query=AUDIT, headers=AUDIT_HEADERS
    ),
    "GET /threads/{thread_id}/runs": Operation(
        "List runs of a thread",
        None,
        list[runs.Run],
        (400, 404),
        query={
            "limit": number("Maximum number of runs", 10),
            "offset": number("Number of runs to skip", 0),
            "status": text("Status of the runs"),
            "select": {
                "type": "array",
                "items": {"enum": list(runs.Run.__struct_fields__)},
                "description": "Members to return; absent returns all",
            },
        },
    ),
    "GET /threads/{thread_id}/runs/{run_id}": Operation("Get run", None, runs.Run, NOT_THERE),
    "DELETE /threads/{thread_id}/runs/{run_id}": Operation("Delete run", errors=NOT_THERE, empty=(204,)),
    "GET /threads/{thread_id}/runs/{run_id}/join": Operation("Wait for a run to end", errors=NOT_THERE, query=JOIN),
    "GET /threads/{thread_id}/runs/{run_id}/stream": Operation(
        "Stream events of a run",
        errors=NOT_THERE,
        media=SSE,
        query=JOIN_STREAM,
        headers={"Last-Event-ID": "Resume after this event; `-1` streams from the start"},
    ),
    "GET /runs/{run_id}/stream": Operation(
        "Stream events of a run, given its id alone",
        errors=NOT_THERE,
        media=SSE,
        query=JOIN_STREAM,
        headers={"Last-Event-ID": "Resume after this event; `-1` streams from the start"},
    ),
    "POST /threads/{thread_id}/runs/{run_id}/cancel": Operation(
        "Cancel run", errors=NOT_THERE, query=CANCEL, answer=dict[str, Any], empty=(202,)
    ),
    "POST /runs/batch": Operation("Create several runs", RunBatch, list[runs.Run], (400, 404, 409), headers=KEY),
    "POST /runs/cancel": Operation(
        "Cancel several runs", CancelMany, errors=NOT_THERE, query={"action": ACTION}, empty=(204,)
    ),
    "GET /threads/{thread_id}/runs/{run_id}/webhooks": Operation(
        "List webhook deliveries of a run", None, list[webhooks.WebhookDelivery], NOT_THERE
    ),
    # other protocols
    "POST /mcp": Operation(
        "MCP: send a JSON-RPC request (assistants as tools)",
        JsonRpc,
        agents.JsonRpcAnswer,
        errors=(400, 404, 406),
        empty=(202,),
        keyed=(400, 406),
    ),
    "GET /mcp": Operation("MCP: server-initiated streams (not supported)", errors=(), empty=(405,)),
    "DELETE /mcp": Operation("MCP: end a session (not supported)", errors=(), empty=(404,)),
    "POST /a2a/{assistant_id}": Operation(
        "A2A: send a JSON-RPC request to an assistant", JsonRpc, agents.JsonRpcAnswer, errors=(400, 404), keyed=(400,)
    ),
    "GET /a2a/{assistant_id}": Operation(
        "A2A: get an assistant's agent card", None, agents.AgentCard, errors=(400, 404), keyed=(400,)
    ),
    "GET /.well-known/agent-card.json": Operation(
        "A2A: get an assistant's agent card",
        None,
        agents.AgentCard,
        errors=(400, 404),
        query={"assistant_id": text("Id of the assistant; required")},
        tag="a2a",
        keyed=(400,),
    ),
    # ui
    "POST /ui/{assistant_id}": Operation(
        "Get the HTML that renders a component",
        ComponentQuery,
        None,
        NOT_THERE,
        media="text/html",
        names=("assistant_id",),
        tag="assistants",
    ),
    "GET /ui/{name}/{file}": Operation(
        "Get a file of components",
        errors=NOT_THERE,
        media="text/javascript",
        tag="assistants",
        query={"key": text("Key in the file's address, instead of other credentials")},
    ),
    # crons
    "POST /runs/crons": Operation("Create cron", CronCreate, crons.Cron, (400, 404)),
    "POST /threads/{thread_id}/runs/crons": Operation("Create cron on a thread", CronCreate, crons.Cron, (400, 404)),
    "GET /runs/crons/{cron_id}": Operation("Get cron", None, crons.Cron, NOT_THERE),
    "PATCH /runs/crons/{cron_id}": Operation("Update cron", CronPatch, crons.Cron, (400, 404)),
    "DELETE /runs/crons/{cron_id}": Operation("Delete cron", errors=NOT_THERE, empty=(204,)),
    "POST /runs/crons/search": Operation("Search crons", CronSearch, list[crons.Cron], (400, 404)),
    "POST /runs/crons/count": Operation("Count crons", CronCount, int, (400, 404)),
    # store
    "PUT /store/items": Operation("Put store item", StorePut, errors=(400,), empty=(204,), plain=(422,)),
    "GET /store/items": Operation(
        "Get store item",
        None,
        store.Item | None,
        (400,),
        query={
            "key": text("Key of the item"),
            "namespace": text("Labels of the namespace, joined by periods"),
            "refresh_ttl": flag("Restart the time to live of the item; absent takes the setting of `store.ttl`"),
        },
        required=("key",),
        plain=(422,),
        keyed=(400,),
    ),
    "DELETE /store/items": Operation("Delete store item", StoreDelete, errors=(400,), empty=(204,), plain=(422,)),
    "POST /store/items/search": Operation("Search store items", StoreSearch, store.Items, (400,), plain=(422,)),
    "POST /store/namespaces": Operation("List namespaces", StoreNamespaces, store.Namespaces, (400,), plain=(422,)),
    # lists
    "POST /interrupts/search": Operation("Search open interrupts", InterruptSearch, list[interrupts.Interrupt], (400,)),
    "POST /interrupts/respond": Operation(
        "Answer open interrupts", InterruptsRespond, list[interrupts.Answered], (400,), headers=KEY
    ),
    "POST /runs/search": Operation("Search runs of all threads", RunsSearch, list[runs.Run], (400,)),
    "POST /runs/count": Operation("Count runs of all threads", RunsCount, int, (400,)),
    "POST /runs/crons/{cron_id}/fire": Operation("Run cron now", None, runs.Run, (400, 404, 409), headers=KEY),
    "GET /runs/crons/{cron_id}/firings": Operation(
        "List next times of a cron",
        None,
        list[Time],
        NOT_THERE,
        query={"limit": number("Maximum number of times, at most 100", 10)},
    ),
    "POST /runs/retry": Operation("Retry runs", RunsRetry, list[runs.Retried], (400,), headers=KEY),
    "POST /interrupts/count": Operation("Count open interrupts", InterruptCount, int, (400,)),
    "GET /changes": Operation(
        "Stream changes of lists",
        errors=(400,),
        media=SSE,
        query={"kinds": text("Kinds of objects, joined by commas: threads, runs, assistants, crons; absent means all")},
        headers={"Last-Event-ID": "Id of the last message received: send what has changed since"},
    ),
    # operators
    "GET /operator/health": Operation("Get the state of the whole system", None, SystemHealth, (403,), tag="operator"),
    "GET /operator/services/{service}/why": Operation(
        "Explain why a service is behind or not ready", None, system.ServiceState, (403, 404), tag="operator"
    ),
    "GET /operator/log/records": Operation(
        "List records of the log, the newest first", None, RecordPage, (400, 403), query=RECORDS, tag="operator"
    ),
    "GET /operator/log/records/{topic}/{partition}/{offset}": Operation(
        "Get a record of the log", None, RecordView, (403, 404), tag="operator"
    ),
    "GET /operator/log/stream": Operation(
        "Stream records of the log", None, errors=(403,), media=SSE, query=FILTERS, tag="operator"
    ),
    "GET /operator/dead-letters": Operation("List parked keys", None, list[ParkedKey], (403,), tag="operator"),
    "GET /operator/dead-letters/records": Operation(
        "List the waiting records of a parked key",
        None,
        list[ParkedRecord],
        (403,),
        query={"key": text("Key of the records")},
        required=("key",),
        tag="operator",
    ),
    "POST /operator/dead-letters/retry": Operation(
        "Handle the records of a parked key again", RetryKey, system.Released, (403, 404, 409), tag="operator"
    ),
    "POST /operator/dead-letters/drop": Operation(
        "Discard the first record of a parked key", DropRecord, system.Released, (403, 404, 409), tag="operator"
    ),
    "GET /operator/webhooks": Operation(
        "List webhooks that are not delivered",
        None,
        list[Undelivered],
        (400, 403),
        query={
            "state": choice("Those in this state alone", *("given-up", "waiting")),
            "thread_id": text("Those of this thread alone"),
            "limit": number("Maximum number of deliveries, at most 1,000", 100),
        },
        tag="operator",
    ),
    "POST /operator/webhooks/retry": Operation(
        "Send webhooks again that were given up", RetryWebhooks, webhooks.SentAgain, (403,), tag="operator"
    ),
    "POST /operator/import": Operation(
        "Import objects from another server", Import, system.ImportOutcomes, (403, 413), tag="operator"
    ),
    "POST /operator/import/held": Operation(
        "List which objects of an import are here", HeldQuery, system.Held, (403,), tag="operator"
    ),
    "GET /threads/{thread_id}/runs/{run_id}/why": Operation(
        "Explain why a run is not moving", None, runs.Explanation, NOT_THERE
    ),
    "POST /threads/{thread_id}/runs/{run_id}/replay": Operation(
        "Replay a run in a sandbox and stream where it diverges", Replay, errors=NOT_THERE, media=SSE
    ),
    # system
    "GET /": Operation("Health check at the root", None, system.Health, (400,), query=CHECK, tag="system"),
    "GET /ok": Operation("Health check", None, system.Health, (400,), query=CHECK, tag="system"),
    "GET /info": Operation("Get server version and feature flags", None, system.Info, (), tag="system"),
    "GET /docs": Operation("API reference page", media="text/html", errors=(), tag="system"),
    "GET /openapi.json": Operation("OpenAPI document", None, dict[str, Any], (), tag="system"),
    "GET /metrics": Operation(
        "Prometheus metrics",
        media="text/plain",
        errors=(),
        query={"format": choice("`prometheus` (default)", "prometheus")},
        tag="system",
    ),
}

for _prefix, _of in (("/threads/{thread_id}/runs", "on a thread"), ("/runs", "without a thread")):
    _errors = (400, 404, 409)
    OPERATIONS[f"POST {_prefix}"] = Operation(f"Create run {_of}", RunCreate, runs.Run, _errors, headers=KEY)
    OPERATIONS[f"POST {_prefix}/wait"] = Operation(
        f"Create run {_of} and wait for its output", RunCreate, errors=_errors, headers=KEY
    )
    OPERATIONS[f"POST {_prefix}/stream"] = Operation(
        f"Create run {_of} and stream its events",
        RunCreate,
        errors=_errors,
        media=SSE,
        query={"namespace": NAMESPACES},
        headers=KEY,
    )
