"""Data of the authorisation matrix: the permission on a thread that each route needs, and every way to create a run.

`NEEDS` has an entry for each route that names a thread, a run, an assistant or a cron; the matrix fails for one that has none.
"""

from __future__ import annotations

from typing import Any, Literal

Need = Literal[
    "read",
    "update",
    "delete",
    "create_run",
    "assistant",
    "cron",
    "cron on thread",
    "search",
    "none",
    "protocol",
    "operator",
]
"""``read``, ``update``, ``delete``, ``create_run``: of the thread; ``assistant``, ``cron``: of that object's owner; ``protocol``: answers
that carry errors under status 200; ``operator``: only the project's operators (tests/operator)."""

NEEDS: dict[str, Need] = {
    "POST /assistants": "none",
    "POST /assistants/search": "search",
    "POST /assistants/count": "search",
    "GET /assistants/{assistant_id}": "assistant",
    "PATCH /assistants/{assistant_id}": "assistant",
    "DELETE /assistants/{assistant_id}": "assistant",
    "GET /assistants/{assistant_id}/graph": "assistant",
    "GET /assistants/{assistant_id}/subgraphs": "assistant",
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": "assistant",
    "GET /assistants/{assistant_id}/schemas": "assistant",
    "POST /assistants/{assistant_id}/versions": "assistant",
    "POST /assistants/{assistant_id}/latest": "assistant",
    "POST /threads": "none",
    "POST /threads/search": "search",
    "POST /threads/count": "search",
    "POST /threads/prune": "delete",
    "GET /threads/{thread_id}": "read",
    "PATCH /threads/{thread_id}": "update",
    "DELETE /threads/{thread_id}": "delete",
    "POST /threads/{thread_id}/copy": "read",
    "GET /threads/{thread_id}/storage": "read",
    "GET /threads/{thread_id}/state": "read",
    "POST /threads/{thread_id}/state": "update",
    "POST /threads/{thread_id}/state/checkpoint": "read",
    "GET /threads/{thread_id}/state/{checkpoint_id}": "read",
    "GET /threads/{thread_id}/history": "read",
    "POST /threads/{thread_id}/history": "read",
    "GET /threads/{thread_id}/stream": "read",
    "POST /threads/{thread_id}/commands": "protocol",
    "POST /threads/{thread_id}/stream/events": "protocol",
    "GET /threads/{thread_id}/stream/events": "protocol",
    "POST /runs/crons": "none",
    "POST /threads/{thread_id}/runs/crons": "create_run",
    "POST /runs/crons/search": "search",
    "POST /runs/crons/count": "search",
    "GET /runs/crons/{cron_id}": "cron",
    "PATCH /runs/crons/{cron_id}": "cron",
    "DELETE /runs/crons/{cron_id}": "cron",
    "POST /runs/crons/{cron_id}/fire": "cron",
    "GET /runs/crons/{cron_id}/firings": "cron",
    "GET /threads/{thread_id}/runs": "read",
    "POST /threads/{thread_id}/runs": "create_run",
    "POST /threads/{thread_id}/runs/wait": "create_run",
    "POST /threads/{thread_id}/runs/stream": "create_run",
    "POST /runs": "none",
    "POST /runs/wait": "none",
    "POST /runs/stream": "none",
    "POST /runs/batch": "none",
    "POST /runs/cancel": "update",
    "POST /runs/search": "search",
    "POST /runs/count": "search",
    "GET /threads/{thread_id}/runs/{run_id}": "read",
    "DELETE /threads/{thread_id}/runs/{run_id}": "delete",
    "GET /runs/{run_id}/stream": "read",
    "GET /threads/{thread_id}/runs/{run_id}/join": "read",
    "GET /threads/{thread_id}/runs/{run_id}/stream": "read",
    "POST /threads/{thread_id}/runs/{run_id}/cancel": "update",
    "GET /threads/{thread_id}/runs/{run_id}/webhooks": "read",
    "GET /threads/{thread_id}/runs/{run_id}/why": "read",
    "POST /threads/{thread_id}/runs/{run_id}/replay": "create_run",
    "POST /threads/{thread_id}/fork": "read",
    "POST /runs/retry": "protocol",
    "POST /interrupts/search": "search",
    "POST /interrupts/count": "search",
    "POST /interrupts/respond": "protocol",
    "GET /changes": "search",
    "GET /console": "none",
    "GET /console/{path}": "none",
    "GET /operator/health": "operator",
    "GET /operator/services/{service}/why": "operator",
    "GET /operator/log/records": "operator",
    "GET /operator/log/records/{topic}/{partition}/{offset}": "operator",
    "GET /operator/log/stream": "operator",
    "GET /operator/dead-letters": "operator",
    "GET /operator/dead-letters/records": "operator",
    "POST /operator/dead-letters/retry": "operator",
    "POST /operator/dead-letters/drop": "operator",
    "GET /operator/webhooks": "operator",
    "POST /operator/webhooks/retry": "operator",
    "POST /operator/import": "operator",
    "POST /operator/import/held": "operator",
    "GET /threads/{thread_id}/events": "read",
    "GET /threads/{thread_id}/runs/{run_id}/events": "read",
    "PUT /store/items": "none",
    "GET /store/items": "none",
    "DELETE /store/items": "none",
    "POST /store/items/search": "search",
    "POST /store/namespaces": "search",
    "POST /mcp": "protocol",
    "GET /mcp": "none",
    "DELETE /mcp": "none",
    "GET /.well-known/agent-card.json": "protocol",
    "GET /a2a/{assistant_id}": "protocol",
    "POST /a2a/{assistant_id}": "protocol",
    "POST /ui/{assistant_id}": "assistant",
    "GET /ui/{name}/{file}": "none",
}


def ways(thread_id: str, assistant_id: str) -> dict[str, tuple[str, str, Any]]:
    """Return every way to create a run on a thread: name -> (method, path, body). Firing of crons has tests of its own."""
    run = {"assistant_id": assistant_id, "input": {"a": 1}}
    on_thread = f"/threads/{thread_id}"
    said = {"message": {"messageId": "m", "contextId": thread_id, "parts": [{"kind": "data", "data": {"a": 1}}]}}
    return {
        "run": ("POST", f"{on_thread}/runs", run),
        "run that waits": ("POST", f"{on_thread}/runs/wait", run),
        "run that streams": ("POST", f"{on_thread}/runs/stream", run),
        "run that makes its thread": ("POST", f"{on_thread}/runs", {**run, "if_not_exists": "create"}),
        "run that rolls back": ("POST", f"{on_thread}/runs", {**run, "multitask_strategy": "rollback"}),
        "resume": ("POST", f"{on_thread}/runs", {"assistant_id": assistant_id, "command": {"resume": "yes"}}),
        "run with a webhook": ("POST", f"{on_thread}/runs", {**run, "webhook": "https://example.com/threads"}),
        "delayed run": ("POST", f"{on_thread}/runs", {**run, "after_seconds": 3600}),
        "cron": ("POST", f"{on_thread}/runs/crons", {**run, "schedule": "0 0 1 1 *"}),
        "protocol": ("POST", f"{on_thread}/commands", {"id": 1, "method": "run.start", "params": run}),
        "protocol's resume": (
            "POST",
            f"{on_thread}/commands",
            {"id": 1, "method": "input.respond", "params": {"interrupt_id": "i", "response": "yes"}},
        ),
        "answers of many threads": (
            "POST",
            "/interrupts/respond",
            {"answers": [{"thread_id": thread_id, "interrupt_id": "i", "response": "yes"}]},
        ),
        "socket": ("SOCKET", f"{on_thread}/stream/events", {"id": 1, "method": "run.start", "params": run}),
        "A2A": (
            "POST",
            f"/a2a/{assistant_id}",
            {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": said},
        ),
        "A2A stream": (
            "POST",
            f"/a2a/{assistant_id}",
            {"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": said},
        ),
    }


NOTHING_ASKED = ("protocol's resume", "answers of many threads")
"""Ways that are refused, once all steps are passed, on a thread that waits for no answer."""


def stateless_ways(assistant_id: str, name: str) -> dict[str, tuple[str, str, Any]]:
    """Return the ways to create runs without a thread; ``name``: the assistant's, by which MCP calls it."""
    run = {"assistant_id": assistant_id, "input": {"a": 1}}
    call = {"name": name, "arguments": {"a": 1}}
    return {
        "stateless run": ("POST", "/runs", run),
        "stateless run that waits": ("POST", "/runs/wait", run),
        "stateless run that streams": ("POST", "/runs/stream", run),
        "batch": ("POST", "/runs/batch", [run]),
        "stateless cron": ("POST", "/runs/crons", {**run, "schedule": "0 0 1 1 *"}),
        "MCP": ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}),
    }
