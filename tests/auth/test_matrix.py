"""Each route by the owner, another user, and without credentials: generated from the existing routes.

For another user an object does not exist: the response is that for an unknown id, and the object is unchanged.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from langlog_backbone.credentials.deployment_secret import deployment_secrets
from langlog_backbone.credentials.loopback_proof import PROOF_HEADER, loopback_proofs
from langlog_gateway.app import OPEN
from langlog_schemas import commands as cmd
from langlog_schemas.messages import Answer

from tests.gateway.conftest import MakeStack, Stack

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
OWNER, OTHER = "alice", "bob"
SILENCE_S = 0.4
"""Seconds for which an endless stream is read."""
LIMIT_S = 60.0
"""Seconds for which a stream that ends by itself is read."""

CRON = {"assistant_id": "echo", "schedule": "0 0 1 1 *"}
BODIES: dict[str, Any] = {
    "POST /assistants": {"graph_id": "echo"},
    "POST /assistants/{assistant_id}/latest": {"version": 1},
    "POST /threads/prune": {"thread_ids": ["{thread_id}"]},
    "POST /threads/{thread_id}/state": {"values": {"a": 1}},
    "POST /threads/{thread_id}/state/checkpoint": {"checkpoint": {}},
    "POST /threads/{thread_id}/runs": {"assistant_id": "echo", "input": {}},
    "POST /threads/{thread_id}/runs/wait": {"assistant_id": "echo", "input": {}},
    "POST /threads/{thread_id}/runs/stream": {"assistant_id": "echo", "input": {}},
    "POST /runs": {"assistant_id": "echo", "input": {}},
    "POST /runs/wait": {"assistant_id": "echo", "input": {}},
    "POST /runs/stream": {"assistant_id": "echo", "input": {}},
    "POST /runs/batch": [{"assistant_id": "echo", "input": {}}],
    "POST /runs/cancel": {"thread_id": "{thread_id}", "run_ids": ["{run_id}"]},
    "POST /runs/retry": {"run_ids": ["{run_id}"]},
    "POST /interrupts/respond": {"answers": [{"thread_id": "{thread_id}", "interrupt_id": "a"}]},
    "POST /runs/crons": CRON,
    "POST /threads/{thread_id}/runs/crons": CRON,
    "PATCH /runs/crons/{cron_id}": {"enabled": False},
    "PUT /store/items": {"namespace": ["a"], "key": "k", "value": {}},
    "DELETE /store/items": {"namespace": ["a"], "key": "k"},
    "POST /ui/{assistant_id}": {"name": "card"},
}
OWNERS_STATUS = {
    "POST /threads/{thread_id}/runs/{run_id}/cancel": 404,  # the run is over
    "POST /runs/cancel": 404,
    "POST /threads/{thread_id}/fork": 409,  # it has no checkpoint
    "POST /ui/{assistant_id}": 404,  # the project has no components
    "GET /ui/{name}/{file}": 404,
}
FOREIGN = re.compile(r"thread_id|run_id|assistant_id|cron_id")
ELSEWHERE = (
    *("/mcp", "/a2a", "/.well-known", "/threads/{thread_id}/commands", "/threads/{thread_id}/stream/events"),
    "/operator",
)
"""Protocols and operators' routes, with tests of their own; here only that unauthenticated callers are refused."""
OF_SERVER = {
    "topic": "run-events",
    "partition": "0",
    "offset": "0",
    "service": "gateway",
    "name": "echo",
    "file": "client.js",
}
"""Path parameters that name no object of a caller."""
PAGES = "/console"
"""For people: in no document."""


@pytest.fixture
async def stack(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack(project=PROJECT, reply_timeout_s=60.0) as made:
        made.answers = {
            "graph": lambda _: answer({"nodes": [], "edges": []}),
            "subgraphs": lambda _: answer({}),
            "schemas": lambda _: answer({"graph_id": "echo"}),
            "state": lambda _: answer({"values": {}}),
            "history": lambda _: answer([]),
            "state_without_run": lambda _: answer({"values": None}),
            "update_state": updated,
        }
        yield made


def answer(body: Any) -> Answer:
    return Answer(id="", status=200, body=msgspec.json.encode(body))


def updated(asked: dict[str, Any]) -> Answer:
    at = {"thread_id": asked["thread_id"], "checkpoint_id": "c"}
    command = cmd.UpdateState(thread_id=asked["thread_id"], checkpoints=[], values=msgspec.Raw(b"{}"))
    return answer({"checkpoint": at, "command": msgspec.Raw(cmd.encode(command))})


async def call(
    stack: Stack,
    who: str | dict[str, str] | None,
    method: str,
    path: str,
    body: Any = None,
    *,
    lines: int = 0,
    limit_s: float = SILENCE_S,
) -> tuple[int, Any]:
    """Return status and body; of a stream, its text up to its end or the limit, or so many ``lines`` of it. ``who``: an identity, or a
    request's headers."""
    headers = {} if who is None else {"authorization": who} if isinstance(who, str) else who
    data = None if body is None else msgspec.json.encode(body)
    async with stack.http.request(
        method, stack.url + path, data=data, headers=headers, allow_redirects=False
    ) as response:
        if response.content_type == "text/event-stream":
            return response.status, await first_events(response, lines, limit_s)
        text = await response.text()
        try:
            return response.status, msgspec.json.decode(text)
        except msgspec.DecodeError:
            return response.status, text


async def first_events(response: aiohttp.ClientResponse, lines: int, limit_s: float) -> list[str]:
    collected: list[str] = []
    try:
        async with asyncio.timeout(limit_s):
            async for line in response.content:
                if not line.startswith((b":", b"id:", b"\n")):
                    collected.append(line.decode().strip())
                if lines and len(collected) >= lines:
                    break
    except TimeoutError:
        collected.append("open")
    return collected


async def routes(stack: Stack) -> list[tuple[str, str]]:
    _, document = await call(stack, None, "GET", "/openapi.json")
    return [(method.upper(), path) for path, item in document["paths"].items() for method in item]


async def objects(stack: Stack, who: str) -> dict[str, str]:
    """A thread with a finished run, an assistant, a cron, all of one owner."""
    _, assistant = await call(stack, who, "POST", "/assistants", {"graph_id": "echo"})
    _, thread = await call(stack, who, "POST", "/threads", {})
    thread_id = thread["thread_id"]
    status, _ = await call(stack, who, "POST", f"/threads/{thread_id}/runs/wait", {"assistant_id": "echo", "input": {}})
    assert status == 200
    _, runs = await call(stack, who, "GET", f"/threads/{thread_id}/runs")
    _, cron = await call(stack, who, "POST", "/runs/crons", CRON)
    return {
        "thread_id": thread_id,
        "run_id": runs[0]["run_id"],
        "assistant_id": assistant["assistant_id"],
        "cron_id": cron["cron_id"],
        "checkpoint_id": "1ef00000-0000-6000-8000-000000000000",
        "namespace": "child",
    }


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: ids.get(match.group(1)) or OF_SERVER[match.group(1)], value)
    if isinstance(value, list):
        return [filled(x, ids) for x in value]
    return {k: filled(v, ids) for k, v in value.items()} if isinstance(value, dict) else value


def without(ids: dict[str, str], value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    for name, id in ids.items():
        text = text.replace(id, f"<{name}>")
    return text


def body_of(method: str, path: str) -> Any:
    return BODIES.get(f"{method} {path}", {} if method in ("POST", "PATCH", "PUT") else None)


def query_of(method: str, path: str) -> str:
    return "?namespace=a&key=k" if (method, path) == ("GET", "/store/items") else ""


async def seen_by_owner(stack: Stack, ids: dict[str, str]) -> list[Any]:
    paths = (
        "/threads/{thread_id}",
        "/threads/{thread_id}/runs",
        "/assistants/{assistant_id}",
        "/runs/crons/{cron_id}",
    )
    return [await call(stack, OWNER, "GET", filled(path, ids)) for path in paths]


async def test_no_route_escapes_the_matrix(stack: Stack) -> None:
    runner = stack.gateway._runner
    assert runner is not None and runner.app is not None
    served = {
        (route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical))
        for route in runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD" and not route.resource.canonical.startswith(PAGES)
    }
    assert served == set(await routes(stack))
    assert len(served) > 60


async def test_every_route_refuses_who_is_not_authenticated(stack: Stack) -> None:
    ids = await objects(stack, OWNER)
    for method, path in await routes(stack):
        status, body = await call(stack, None, method, filled(path, ids), body_of(method, path))
        if path in OPEN:
            assert status == 200, (method, path)
        else:
            assert (status, body) == (401, {"detail": "no credentials"}), (method, path)
    for method, path in (("GET", "/nope"), ("POST", "/threads/"), ("PUT", "/threads"), ("POST", "/threads")):
        assert (await call(stack, None, method, path))[0] == 401, "before routing, methods and bodies"


async def test_every_route_serves_the_owner(stack: Stack) -> None:
    for method, path in await routes(stack):
        if path.startswith(ELSEWHERE):
            continue
        ids = await objects(stack, OWNER)
        body = filled(body_of(method, path), ids)
        status, body_seen = await call(stack, OWNER, method, filled(path, ids) + query_of(method, path), body)
        expected = OWNERS_STATUS.get(f"{method} {path}")
        assert status == expected if expected else status < 300, (method, path, status, body_seen)


async def test_every_route_but_the_operators_serves_the_projects_own_code(stack: Stack) -> None:
    secrets = await deployment_secrets(stack.backbone.pool, stack.backbone.settings)
    project = {PROOF_HEADER: loopback_proofs(secrets)[0]}
    for method, path in await routes(stack):
        ids = await objects(stack, OWNER)
        body = filled(body_of(method, path), ids)
        status, body_seen = await call(stack, project, method, filled(path, ids) + query_of(method, path), body)
        if path.startswith("/operator"):
            assert status == 403, (method, path)
        elif path.startswith(ELSEWHERE):
            assert status not in (401, 403), (method, path, status, body_seen)
        else:
            expected = OWNERS_STATUS.get(f"{method} {path}")
            assert status == expected if expected else status < 300, (method, path, status, body_seen)


async def test_to_another_user_an_object_is_as_if_it_were_not_there(stack: Stack) -> None:
    ids = await objects(stack, OWNER)
    before = await seen_by_owner(stack, ids)
    nobodys = {name: str(uuid.uuid4()) if FOREIGN.fullmatch(name) else id for name, id in ids.items()}
    for method, path in await routes(stack):
        if path.startswith(ELSEWHERE):
            continue
        template = body_of(method, path)
        if not FOREIGN.search(path) and not FOREIGN.search(str(template).replace("'assistant_id'", "")):
            continue
        collected = []
        for names in (ids, nobodys):
            reply = await call(stack, OTHER, method, filled(path, names), filled(template, names), limit_s=LIMIT_S)
            status, body = reply
            collected.append((status, without(names, body)))
        assert collected[0] == collected[1], (method, path)
        replied_so = "404: Thread not found" in collected[0][1] or '"status":"refused","code":404' in collected[0][1]
        assert collected[0][0] >= 400 or replied_so, (method, path, collected[0])
    assert await seen_by_owner(stack, ids) == before


async def test_searches_and_counts_leave_out_what_others_own(stack: Stack) -> None:
    ids = await objects(stack, OWNER)
    for what in ("threads", "assistants", "runs/crons"):
        assert (await call(stack, OTHER, "POST", f"/{what}/search", {}))[1] == []
        assert (await call(stack, OTHER, "POST", f"/{what}/count", {}))[1] == 0
        assert (await call(stack, OWNER, "POST", f"/{what}/count", {}))[1] == 1
    assert (await call(stack, OTHER, "POST", "/threads/search", {"ids": [ids["thread_id"]]}))[1] == []
    assert (await call(stack, OTHER, "POST", "/threads/search", {"metadata": {"owner": OWNER}}))[1] == []
    await call(stack, OWNER, "PUT", "/store/items", {"namespace": ["a"], "key": "k", "value": {"x": 1}})
    assert (await call(stack, OTHER, "POST", "/store/items/search", {"namespace_prefix": []}))[1] == {"items": []}
    assert (await call(stack, OTHER, "POST", "/store/namespaces", {}))[1] == {"namespaces": []}
    assert (await call(stack, OTHER, "GET", "/store/items?namespace=a&key=k"))[1] is None


async def test_an_id_that_somebody_else_has_cannot_be_taken(stack: Stack) -> None:
    ids = await objects(stack, OWNER)
    for if_exists in ("raise", "do_nothing"):
        again = {"thread_id": ids["thread_id"], "if_exists": if_exists}
        assert (await call(stack, OTHER, "POST", "/threads", again))[0] == 409
        again = {"assistant_id": ids["assistant_id"], "graph_id": "echo", "if_exists": if_exists}
        assert (await call(stack, OTHER, "POST", "/assistants", again))[0] == 409
    run = {"assistant_id": "echo", "if_not_exists": "create"}
    for kind in ("", "/wait", "/stream"):
        status, body = await call(stack, OTHER, "POST", f"/threads/{ids['thread_id']}/runs{kind}", run)
        assert (status, body["detail"]) == (404, "Thread or assistant not found.")
    own = str(uuid.uuid4())
    assert (await call(stack, OTHER, "POST", f"/threads/{own}/runs/wait", run))[0] == 200
    assert (await call(stack, OTHER, "GET", f"/threads/{own}"))[1]["metadata"]["owner"] == OTHER


async def test_ownership_is_stamped_and_cannot_be_changed_by_the_client(stack: Stack) -> None:
    ids = await objects(stack, OWNER)
    path = f"/threads/{ids['thread_id']}"
    _, thread = await call(stack, OWNER, "PATCH", path, {"metadata": {"owner": OTHER, "a": 1}})
    assert (thread["metadata"]["owner"], thread["metadata"]["a"]) == (OWNER, 1)
    _, made = await call(stack, OTHER, "POST", "/threads", {"metadata": {"owner": OWNER}})
    assert made["metadata"] == {"owner": OTHER}
    _, copied = await call(stack, OWNER, "POST", f"{path}/copy")
    assert copied["metadata"]["owner"] == OWNER


async def test_cancelling_all_runs_reaches_only_ones_own(stack: Stack) -> None:
    stack.play = lambda _: asyncio.sleep(0)  # type: ignore[assignment,return-value]
    _, thread = await call(stack, OWNER, "POST", "/threads", {})
    path = f"/threads/{thread['thread_id']}/runs"
    _, run = await call(stack, OWNER, "POST", path, {"assistant_id": "echo", "after_seconds": 3600})
    assert (await call(stack, OTHER, "POST", "/runs/cancel", {"status": "all"}))[0] == 404
    assert (await call(stack, OWNER, "GET", f"{path}/{run['run_id']}"))[1]["status"] == "pending"
    assert (await call(stack, OWNER, "POST", "/runs/cancel", {"status": "all"}))[0] == 204
    assert (await call(stack, OWNER, "GET", f"{path}/{run['run_id']}"))[1]["status"] == "interrupted"


async def test_a_run_knows_its_user_and_the_log_the_actor(stack: Stack) -> None:
    _, thread = await call(stack, OWNER, "POST", "/threads", {})
    _, run = await call(stack, OWNER, "POST", f"/threads/{thread['thread_id']}/runs", {"assistant_id": "echo"})
    given = run["kwargs"]["config"]["configurable"]
    # what else `authenticate` returns, the graph alone sees: tests/auth/test_credentials.py
    assert given["langgraph_auth_user"] == {
        "identity": OWNER,
        "permissions": ["user"],
        "is_authenticated": True,
        "display_name": OWNER,
    }
    assert given["langgraph_auth_user_id"] == given["user_id"] == OWNER
    assert given["langgraph_auth_permissions"] == ["user"]


@pytest.mark.parametrize("who", ["broken", "leaves", "interrupts", "cancels", "leaves later"])
async def test_a_broken_authenticator_lets_nobody_in_and_says_nothing(stack: Stack, who: str) -> None:
    """Also one that would end the server's process."""
    for _ in range(2):
        assert await call(stack, who, "GET", f"/threads/{uuid.uuid4()}") == (500, "Internal Server Error")
    assert (await call(stack, OWNER, "POST", "/threads/count", {}))[0] == 200


async def test_the_document_says_what_the_project_says_of_security(stack: Stack) -> None:
    _, document = await call(stack, None, "GET", "/openapi.json")
    assert document["security"] == [{"key": []}]
    assert "401" in document["paths"]["/threads"]["post"]["responses"]


async def test_by_the_streaming_protocol_others_reach_nothing_either(stack: Stack) -> None:
    ids = await objects(stack, OWNER)
    before = await seen_by_owner(stack, ids)
    path = f"/threads/{ids['thread_id']}"
    start = {"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": {}}}
    respond = {"id": 2, "method": "input.respond", "params": {"interrupt_id": "x", "namespace": [], "response": 1}}
    for command in (start, respond):
        status, answer = await call(stack, OTHER, "POST", f"{path}/commands", command)
        assert (status, answer["type"]) == (200, "error"), command
    assert (
        "404: Thread or assistant not found."
        in (await call(stack, OTHER, "POST", f"{path}/commands", start))[1]["message"]
    )
    status, silence = await call(stack, OTHER, "POST", f"{path}/stream/events", {"channels": ["values", "lifecycle"]})
    assert (status, [line for line in silence if line.startswith(("event:", "data:"))]) == (200, [])
    assert await seen_by_owner(stack, ids) == before
    assert (await call(stack, OWNER, "POST", f"{path}/commands", start))[1]["type"] == "success"
    wanted = {"channels": ["lifecycle"]}
    _, reply = await call(stack, OWNER, "POST", f"{path}/stream/events", wanted, lines=2, limit_s=LIMIT_S)
    assert len(reply) == 2 and "open" not in reply
