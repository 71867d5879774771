"""The examples of the OpenAPI document: requests to a running server, in order, and its responses.

``python -m tests.openapi.examples`` sends them to a server of its own and writes ``examples.json`` of the gateway; a test sends them
again and compares. A request to an operation that comes first is its example. Ids, times and addresses of a response are replaced
by fixed ones.
"""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import requests
from langlog_schemas.ids import default_assistant_id

from tests.stack.server import LiveServer

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.json"
FILE = Path(__file__).parents[2] / "gateway" / "langlog_gateway" / "openapi" / "examples.json"
ANSWER_S = 120.0
WITHOUT = {
    "GET /threads/{thread_id}/stream/events": "an upgrade to a WebSocket",
    "GET /openapi.json": "the document itself",
    "GET /docs": "a page",
    "POST /ui/{assistant_id}": "elements of a page",
    "GET /ui/{name}/{file}": "a script",
    "GET /operator/health": "figures of the moment",
    "GET /operator/log/stream": "an endless stream",
    "GET /operator/services/{service}/why": "figures of the moment",
}
"""Operation without an example -> why."""
THREAD, PROTOCOL_THREAD = "0198c3f2-7a40-7c11-8d5e-5f2a61c0b7e4", "0198c3f2-7a40-7c11-8d5e-5f2a61c0b7e5"
ASKING_THREAD = "0198c3f2-7a40-7c11-8d5e-5f2a61c0b7e6"
FAILING_THREAD = "0198c3f2-7a40-7c11-8d5e-5f2a61c0b7e7"
ASSISTANT = "3b9e1d5c-64f0-4f0c-9a57-0d8f6c2be1a9"
IMPORTED_THREAD = "0198c3f2-7a40-7c11-8d5e-5f2a61c0b7e8"
FIXED = {
    "run": "0198c3f2-8b10-7d42-a1c6-3e90d47f8812",
    "late_run": "0198c3f2-8b10-7d42-a1c6-3e90d47f8813",
    "later_run": "0198c3f2-8b10-7d42-a1c6-3e90d47f8814",
    "hooked_run": "0198c3f2-8b10-7d42-a1c6-3e90d47f8815",
    "failed_run": "0198c3f2-8b10-7d42-a1c6-3e90d47f8816",
    "copied": "7d0f5f0e-2c58-4e0b-8a3b-91f6f0b2c3d4",
    "cron": "0198c3f2-9c20-7e73-b2d7-4fa1e58a9923",
    "interrupt": "4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f",
    "checkpoint": "1f0a6c3e-5b7d-6e21-8001-2c9d4f7a6b30",
}
"""Name of an object whose id the server creates -> the id that the example shows."""
LOCAL = "http://localhost:2024"
HOOK = "https://hooks.example.com/runs"
TIME = "2026-01-15T09:30:00.000000+00:00"
MILLISECONDS = 1768469400000
PATHS = {"thread_id": THREAD, "assistant_id": ASSISTANT, "run_id": "<run>", "cron_id": "<cron>"}
"""Path parameters, unless a request sets others. ``<name>`` is replaced by an id of an earlier response."""


class Send(NamedTuple):
    operation: str
    body: Any = None
    path: Mapping[str, str] = {}
    query: Mapping[str, Any] = {}
    header: Mapping[str, str] = {}
    status: int = 200
    keep: Mapping[str, str] = {}
    """Name -> pattern with one group that finds the id in headers and body."""
    until: str | None = None
    """Text that a stream is read to; a request without a stream is repeated until its response holds it."""


RUN_ID = r'(?:runs/|"run_id":")([0-9a-f-]{36})'
INTERRUPT_ID = r'"interrupt_id":"([0-9a-f]{32})"'
CHECKPOINT_ID = r'"checkpoint_id":"([0-9a-f-]{36})"'
RUNS = "/threads/{thread_id}/runs"
ONE = RUNS + "/{run_id}"
SSE = {"Accept": "text/event-stream"}
REPLAY = {**SSE, "Last-Event-ID": "-1"}
QUESTION = {"messages": [{"role": "user", "content": "add 2 3"}]}
LATE = {"assistant_id": "echo", "input": {"text": "Hello"}, "after_seconds": 3600}
IMPORTED = {
    "source": "https://old.example.com",
    "read_at": TIME,
    "threads": [
        {
            "thread_id": IMPORTED_THREAD,
            "graph_id": "counter",
            "metadata": {"graph_id": "counter"},
            "created_at": TIME,
            "updated_at": TIME,
            "history": [
                {
                    "checkpoint": {"checkpoint_id": "1f0a6c3e-5b7d-6e21-8000-2c9d4f7a6b31", "checkpoint_ns": ""},
                    "values": {"total": 3, "log": ["add:3"]},
                    "next": [],
                    "tasks": [],
                    "metadata": {"source": "loop", "step": 1},
                    "created_at": TIME,
                    "leaf": True,
                }
            ],
            "complete": True,
        }
    ],
}
NESTED = {"assistant_id": default_assistant_id("nested")}
DRAWN = {"assistant_id": "agent"}
FIRST_GRAPH = {"topic": "graph-events", "partition": "27", "offset": "0"}
"""The record of graph `echo`, whose key alone decides on its partition."""
RPC = {"jsonrpc": "2.0", "id": 1}
SAID = {"role": "user", "messageId": "m-1", "parts": [{"kind": "text", "text": "add 2 3"}]}
ITEM = {"namespace": ["users", "c-17"], "key": "language"}

REQUESTS = [
    Send("GET /"),
    Send("GET /ok", query={"check_db": 1}),
    Send("GET /info"),
    # assistants
    Send(
        "POST /assistants",
        {
            "graph_id": "agent",
            "assistant_id": ASSISTANT,
            "name": "Calculator",
            "description": "Adds numbers.",
            "metadata": {"team": "support"},
            "config": {"recursion_limit": 25},
        },
    ),
    Send("POST /assistants/search", {"metadata": {"team": "support"}, "limit": 10}),
    Send("POST /assistants/count", {"graph_id": "agent"}),
    Send("GET /assistants/{assistant_id}"),
    Send("PATCH /assistants/{assistant_id}", {"metadata": {"reviewed": True}}),
    Send("GET /assistants/{assistant_id}/graph", path=DRAWN, query={"xray": True}),
    Send("GET /assistants/{assistant_id}/subgraphs", path=NESTED, query={"recurse": True}),
    Send("GET /assistants/{assistant_id}/subgraphs/{namespace}", path={**NESTED, "namespace": "child"}),
    Send("GET /assistants/{assistant_id}/schemas", path={"assistant_id": default_assistant_id("echo")}),
    Send("POST /assistants/{assistant_id}/versions", {"limit": 2}),
    Send("POST /assistants/{assistant_id}/latest", {"version": 1}),
    # threads and runs
    Send("POST /threads", {"thread_id": THREAD, "metadata": {"customer": "c-17"}}),
    Send(f"POST {RUNS}/wait", {"assistant_id": ASSISTANT, "input": QUESTION}),
    Send(
        f"POST {RUNS}/stream",
        {"assistant_id": "echo", "input": {"text": "Hello"}, "stream_mode": ["updates"], "stream_resumable": True},
        header=SSE,
        keep={"run": RUN_ID},
    ),
    Send(f"GET {ONE}/stream", header=REPLAY),
    Send("GET /runs/{run_id}/stream", header=REPLAY),
    Send(
        "GET /threads/{thread_id}/stream",
        query={"stream_modes": "run_modes"},
        header={**SSE, "Last-Event-ID": "-"},
        until="run_done",
    ),
    Send(f"GET {ONE}"),
    Send(f"GET {ONE}/join"),
    Send(f"GET {RUNS}", query={"limit": 1, "status": "success"}),
    Send(f"POST {RUNS}", LATE, keep={"late_run": RUN_ID}),
    Send(f"POST {ONE}/cancel", path={"run_id": "<late_run>"}, query={"wait": True, "action": "interrupt"}),
    Send(f"POST {RUNS}", LATE, keep={"later_run": RUN_ID}),
    Send("POST /runs/cancel", {"thread_id": THREAD, "run_ids": ["<later_run>"]}, status=204),
    Send("POST /runs", {**LATE, "after_seconds": 0}),
    Send("POST /runs/wait", {"assistant_id": "agent", "input": QUESTION}),
    Send(
        "POST /runs/stream", {"assistant_id": "echo", "input": {"text": "Hello"}, "stream_mode": "updates"}, header=SSE
    ),
    Send("POST /runs/batch", [{"assistant_id": "echo", "input": {"text": "Hello"}}]),
    Send(
        "POST /threads/search", {"metadata": {"customer": "c-17"}, "status": "idle", "select": ["thread_id", "status"]}
    ),
    Send("POST /threads/count", {"metadata": {"customer": "c-17"}}),
    Send("GET /threads/{thread_id}", query={"include": "ttl"}),
    Send("PATCH /threads/{thread_id}", {"metadata": {"topic": "sums"}}),
    Send("GET /threads/{thread_id}/state", keep={"checkpoint": CHECKPOINT_ID}),
    Send("GET /threads/{thread_id}/state/{checkpoint_id}", path={"checkpoint_id": "<checkpoint>"}),
    Send("POST /threads/{thread_id}/state/checkpoint", {"checkpoint": {"checkpoint_id": "<checkpoint>"}}),
    Send("GET /threads/{thread_id}/history", query={"limit": 1}),
    Send("POST /threads/{thread_id}/history", {"limit": 1, "before": {"checkpoint_id": "<checkpoint>"}}),
    Send("POST /threads/{thread_id}/state", {"values": {"text": "Good morning"}, "as_node": "echo"}),
    Send("GET /threads/{thread_id}/storage"),
    Send("POST /threads/{thread_id}/copy", keep={"copied": r'"thread_id":"([0-9a-f-]{36})"'}),
    Send("POST /threads/prune", {"thread_ids": ["<copied>"]}),
    Send("POST /threads/{thread_id}/fork", {"checkpoint_id": "<checkpoint>", "metadata": {"branch": "shorter"}}),
    Send("GET /threads/{thread_id}/events", query={"limit": 2, "type": ["run."]}),
    Send(f"GET {ONE}/events", query={"limit": 2}),
    Send(
        f"POST {RUNS}",
        {"assistant_id": "echo", "input": {"text": "Hello"}, "webhook": "/assistants/count"},
        keep={"hooked_run": RUN_ID},
    ),
    Send(f"GET {ONE}/webhooks", path={"run_id": "<hooked_run>"}, until='"state":"delivered"'),
    # the streaming protocol
    Send(
        "POST /threads/{thread_id}/commands",
        {"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": {"text": "Hello"}}},
        path={"thread_id": PROTOCOL_THREAD},
    ),
    Send(
        "POST /threads/{thread_id}/stream/events",
        {"channels": ["lifecycle", "values"]},
        path={"thread_id": PROTOCOL_THREAD},
        header=SSE,
        until='"event":"completed"',
    ),
    # crons
    Send(
        "POST /runs/crons",
        {
            "assistant_id": "echo",
            "schedule": "0 9 * * 1-5",
            "timezone": "Europe/Berlin",
            "input": {"text": "Good morning"},
            "metadata": {"team": "support"},
        },
        keep={"cron": r'"cron_id":"([0-9a-f-]{36})"'},
    ),
    Send(
        "POST /threads/{thread_id}/runs/crons",
        {"assistant_id": "echo", "schedule": "@daily", "input": {"text": "Good morning"}, "enabled": False},
    ),
    Send("GET /runs/crons/{cron_id}"),
    Send("POST /runs/crons/{cron_id}/fire"),
    Send("GET /runs/crons/{cron_id}/firings"),
    Send("PATCH /runs/crons/{cron_id}", {"enabled": False}),
    Send("POST /runs/crons/search", {"metadata": {"team": "support"}, "limit": 10}),
    Send("POST /runs/crons/count", {"thread_id": THREAD}),
    Send("DELETE /runs/crons/{cron_id}", status=204),
    # lists
    Send(
        f"POST {RUNS}/wait",
        {"assistant_id": "interrupting", "input": {"draft": "a reply"}, "if_not_exists": "create"},
        path={"thread_id": ASKING_THREAD},
    ),
    Send("POST /interrupts/search", {"thread_id": ASKING_THREAD, "limit": 10}, keep={"interrupt": INTERRUPT_ID}),
    Send("POST /interrupts/count", {"graph_id": "interrupting"}),
    Send(
        "POST /interrupts/respond",
        {"answers": [{"thread_id": ASKING_THREAD, "interrupt_id": "<interrupt>", "response": {"approved": True}}]},
    ),
    Send(
        f"POST {RUNS}/wait",
        {"assistant_id": "failing", "input": {}, "if_not_exists": "create"},
        path={"thread_id": FAILING_THREAD},
        keep={"failed_run": RUN_ID},
    ),
    Send("POST /runs/retry", {"run_ids": ["<failed_run>"]}),
    Send("POST /runs/search", {"graph_id": "echo", "status": ["success"], "limit": 1}),
    Send("POST /runs/count", {"graph_id": "failing", "created_after": "2026-01-15T00:00:00Z"}),
    Send("GET /changes", query={"kinds": "threads,runs"}, header={**SSE, "Last-Event-ID": "0"}, until="id: "),
    # operators
    Send("GET /operator/log/records", query={"key": [THREAD], "type": ["thread.created"], "limit": 1}),
    Send("GET /operator/log/records/{topic}/{partition}/{offset}", path=FIRST_GRAPH),
    Send("GET /operator/dead-letters"),
    Send("GET /operator/dead-letters/records", query={"key": THREAD}),
    Send("GET /operator/webhooks", query={"state": "given-up", "limit": 1}),
    Send("POST /operator/webhooks/retry", {"run_ids": ["<failed_run>"]}),
    Send("POST /operator/import/held", {"threads": [THREAD, IMPORTED_THREAD], "assistants": [ASSISTANT]}),
    Send("POST /operator/import", IMPORTED),
    Send("POST /operator/dead-letters/retry", {"key": THREAD}, status=404),
    Send("POST /operator/dead-letters/drop", {"key": THREAD, "origin": "commands-3-17"}, status=404),
    Send(f"GET {ONE}/why"),
    Send(f"POST {ONE}/replay", {"strict": False}, header=SSE, until="event: end"),
    # the store
    Send("PUT /store/items", {**ITEM, "value": {"text": "speaks French"}}, status=204),
    Send("GET /store/items", query={"namespace": "users.c-17", "key": "language"}),
    Send("POST /store/items/search", {"namespace_prefix": ["users"], "query": "French", "limit": 5}),
    Send("POST /store/namespaces", {"prefix": ["users"]}),
    Send("DELETE /store/items", ITEM, status=204),
    # other protocols
    Send("POST /mcp", {**RPC, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "Hello"}}}),
    Send("GET /mcp", status=405),
    Send("DELETE /mcp", status=404),
    Send("POST /a2a/{assistant_id}", {**RPC, "method": "message/send", "params": {"message": SAID}}),
    Send("GET /a2a/{assistant_id}"),
    Send("GET /.well-known/agent-card.json", query={"assistant_id": ASSISTANT}),
    # the end
    Send(f"DELETE {ONE}", status=204),
    Send("DELETE /threads/{thread_id}", status=204),
    Send("DELETE /assistants/{assistant_id}", query={"delete_threads": False}, status=204),
    Send("GET /metrics", query={"format": "prometheus"}),
]


class Sent(NamedTuple):
    send: Send
    example: dict[str, Any]
    """The example as in ``examples.json``."""


def send_all(url: str) -> list[Sent]:
    """Send every request. Raises AssertionError if a status differs from the expected one."""
    known: dict[str, str] = {}
    return [Sent(send, _example(send, *_answer(url, send, known), url, known)) for send in REQUESTS]


def first_of_each(sent: list[Sent]) -> dict[str, dict[str, Any]]:
    """Operation -> its example."""
    return {one.send.operation: one.example for one in reversed(sent)}


def _answer(url: str, send: Send, known: dict[str, str]) -> tuple[requests.Response, str]:
    method, _, path = send.operation.partition(" ")
    for name in re.findall(r"\{(\w+)\}", path):
        path = path.replace(f"{{{name}}}", _filled({**PATHS, **send.path}[name], known))
    body = None if send.body is None else _filled(json.dumps(send.body), known).encode()
    query = {name: json.dumps(value) if isinstance(value, bool) else value for name, value in send.query.items()}
    headers = {"Accept": "application/json", "Content-Type": "application/json", **send.header}
    while True:
        answer = requests.request(
            method, url + path, params=query, data=body, headers=headers, timeout=ANSWER_S, stream=True
        )
        text = ""
        for line in answer.iter_lines(chunk_size=None, decode_unicode=True):
            text += f"{line}\n"
            if send.until is not None and send.until in text:
                answer.close()
                break
        assert answer.status_code == send.status, f"{send.operation}: {answer.status_code} {text}"
        if send.until is None or send.until in text:
            break
    for name, pattern in send.keep.items():
        match = re.search(pattern, f"{answer.headers.get('content-location', '')}\n{text}")
        assert match is not None, f"{send.operation}: no {name} in {text}"
        known[name] = match[1]
    return answer, text


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda match: known[match[1]], text)


def _example(send: Send, answer: requests.Response, text: str, url: str, known: Mapping[str, str]) -> dict[str, Any]:
    example: dict[str, Any] = {"status": send.status}
    names = re.findall(r"\{(\w+)\}", send.operation)
    given = {name: value for name, value in {**PATHS, **send.path}.items() if name in names}
    shown_headers = {name: value for name, value in send.header.items() if name != "Accept"}
    for member, value in (("path", given), ("query", send.query), ("header", shown_headers), ("body", send.body)):
        if value:
            example[member] = json.loads(_filled(json.dumps(value), FIXED))
    if text.strip() and send.status == 200:
        shown = _fixed(text, url, known)
        example["answer"] = json.loads(shown) if answer.headers["content-type"] == "application/json" else shown.strip()
        if send.operation == "GET /metrics":
            example["answer"] = "\n".join(example["answer"].splitlines()[:3])
    return example


def _fixed(text: str, url: str, known: Mapping[str, str]) -> str:
    text = text.replace(url, LOCAL).replace(f"{LOCAL}/assistants/count", HOOK)
    for name, id in known.items():
        text = text.replace(id, FIXED[name])
    shown = {*FIXED.values(), THREAD, PROTOCOL_THREAD, ASKING_THREAD, FAILING_THREAD, ASSISTANT}
    others: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        id = match[0]
        if id in shown or id[14] == "5":  # those of version 5 are made of names
            return id
        if id not in others:
            made = str(uuid.uuid5(uuid.NAMESPACE_URL, f"example-{len(others)}"))
            others[id] = made[:14] + id[14] + made[15:]  # of the same version
        return others[id]

    text = re.sub(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", other, text)
    text = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)", TIME, text)
    return re.sub(r"\b1[789]\d{11}\b", str(MILLISECONDS), text)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = LiveServer(PROJECT, Path(folder))
        with server.up():
            examples = first_of_each(send_all(server.url))
    FILE.write_text(json.dumps(dict(sorted(examples.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
