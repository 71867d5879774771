"""Each route, and each way to create a run, by the owner, a reader of the thread, a stranger and without credentials.

Generated from the router: a route without an entry in `ways.NEEDS` fails. `test_matrix` tests the same routes for objects that are not
shared.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from langlog_gateway.app import OPEN

from tests.auth import test_matrix as matrix
from tests.auth.ways import NEEDS, NOTHING_ASKED, stateless_ways, ways
from tests.gateway.conftest import MakeStack, Stack

PROJECT = Path(__file__).parent / "sharing" / "langgraph.json"
OWNER, READER, STRANGER = "alice", "bob", "carol"
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
async def stack(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack(project=PROJECT, reply_timeout_s=60.0) as made:
        made.answers = {
            "graph": lambda _: matrix.answer({"nodes": [], "edges": []}),
            "subgraphs": lambda _: matrix.answer({}),
            "schemas": lambda _: matrix.answer({"graph_id": "echo"}),
            "state": lambda _: matrix.answer({"values": {}}),
            "history": lambda _: matrix.answer([]),
            "state_without_run": lambda _: matrix.answer({"values": None}),
            "update_state": matrix.updated,
        }
        yield made


async def shared_objects(stack: Stack) -> dict[str, str]:
    """The owner's thread that the reader may read, with a run, an assistant and a cron."""
    ids = await matrix.objects(stack, OWNER)
    given = {"metadata": {"readers": [OWNER, READER]}}
    assert (await matrix.call(stack, OWNER, "PATCH", f"/threads/{ids['thread_id']}", given))[0] == 200
    return ids


async def go(stack: Stack, who: str | None, way: tuple[str, str, Any]) -> tuple[int, Any]:
    """Return the response of a way to create a run."""
    method, path, body = way
    headers = {**ACCEPT, **({} if who is None else {"authorization": who})}
    if method != "SOCKET":
        return await stack.call(method, path, body, headers=headers)
    try:
        async with stack.http.ws_connect(stack.url + path, headers=headers) as socket:
            await socket.send_json(body)
            message = await socket.receive(60)
            return (200, msgspec.json.decode(message.data)) if isinstance(message.data, str) else (403, "closed")
    except aiohttp.WSServerHandshakeError as error:
        return error.status, error.message


def refused(outcome: tuple[int, Any]) -> bool:
    """Return whether a response creates no run: an error status, or an error of JSON-RPC or the streaming protocol."""
    status, body = outcome
    text = msgspec.json.encode(body).decode()
    return (
        status >= 400
        or '"type":"error"' in text
        or '"status":"refused"' in text
        or '"error":{' in text
        or '\\"error\\":{' in text
    )


async def runs_of(stack: Stack, thread_id: str) -> list[str]:
    _, body = await matrix.call(stack, OWNER, "GET", f"/threads/{thread_id}/runs?limit=1000")
    return sorted(run["run_id"] for run in body)


def test_every_route_has_its_entry(stack_routes: set[str]) -> None:
    known = {route for route in stack_routes if route.split(" ")[1] not in OPEN}
    assert known == set(NEEDS), "a new route needs an entry in NEEDS, and a way in ways() if it makes runs"


@pytest.fixture
async def stack_routes(stack: Stack) -> set[str]:
    runner = stack.gateway._runner
    assert runner is not None and runner.app is not None
    return {
        f"{route.method} " + re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical)
        for route in runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


async def test_a_reader_reads_and_does_nothing_else(stack: Stack) -> None:
    ids = await shared_objects(stack)
    before, runs = await matrix.seen_by_owner(stack, ids), await runs_of(stack, ids["thread_id"])
    nobodys = {name: str(uuid.uuid4()) if matrix.FOREIGN.fullmatch(name) else id for name, id in ids.items()}
    for route, need in NEEDS.items():
        method, path = route.split(" ")
        if need in ("none", "search", "protocol", "operator") or "{namespace}" in path:
            continue
        template = matrix.body_of(method, path)
        for who in (READER, STRANGER):
            outcome = []
            for names in (ids, nobodys):
                given = matrix.filled(template, names)
                status, body = await matrix.call(stack, who, method, matrix.filled(path, names), given)
                outcome.append((status, matrix.without(names, body)))
            mine, not_there = outcome
            if who == READER and need == "read":
                expected = matrix.OWNERS_STATUS.get(route)
                assert mine[0] == expected if expected else mine[0] < 300, (who, route, mine)
            else:
                assert mine == not_there, (who, route)
                assert mine[0] >= 400 or "404: Thread not found" in mine[1], (who, route, mine)
    assert await matrix.seen_by_owner(stack, ids) == before
    assert await runs_of(stack, ids["thread_id"]) == runs


async def test_only_the_owner_of_a_thread_makes_runs_on_it_in_any_way(stack: Stack) -> None:
    for name in ways("", ""):
        ids = await shared_objects(stack)
        thread_id, runs = ids["thread_id"], await runs_of(stack, ids["thread_id"])
        for who in (READER, STRANGER, None):
            # a graph's own assistant, so that the thread alone decides; A2A knows assistants by id
            _, own = await matrix.call(stack, who, "POST", "/assistants", {"graph_id": "echo"})
            assistant_id = own["assistant_id"] if "A2A" in name and who is not None else "echo"
            way = ways(thread_id, assistant_id)[name]
            outcome = await go(stack, who, way)
            assert outcome[0] == 401 if who is None else refused(outcome), (name, who, outcome)
            assert await runs_of(stack, thread_id) == runs, (name, who)
        assert (await matrix.call(stack, OWNER, "POST", "/runs/crons/count", {"thread_id": thread_id}))[1] == 0
        if name not in NOTHING_ASKED:
            outcome = await go(stack, OWNER, ways(thread_id, ids["assistant_id"])[name])
            assert not refused(outcome), (name, outcome)


async def test_nobody_runs_another_users_assistant_in_any_way(stack: Stack) -> None:
    ids = await shared_objects(stack)
    _, thread = await matrix.call(stack, READER, "POST", "/threads", {})
    nobodys = str(uuid.uuid4())
    alices = {**ways(thread["thread_id"], ids["assistant_id"]), **stateless_ways(ids["assistant_id"], "Untitled")}
    unknown = {**ways(thread["thread_id"], nobodys), **stateless_ways(nobodys, "Untitled")}
    for name, way in alices.items():
        outcome, same = await go(stack, READER, way), await go(stack, READER, unknown[name])
        assert refused(outcome), (name, outcome)
        assert matrix.without({"a": ids["assistant_id"]}, outcome) == matrix.without({"a": nobodys}, same), name
        assert (await go(stack, None, way))[0] == 401, name
    assert (await matrix.call(stack, READER, "GET", f"/threads/{thread['thread_id']}/runs"))[1] == []
    for name, way in stateless_ways(ids["assistant_id"], "Untitled").items():
        if name != "MCP":  # its tools need schemas, which the graphs of this stack do not have
            assert not refused(await go(stack, OWNER, way)), name


async def test_no_webhook_goes_to_a_route_of_the_server_itself(stack: Stack) -> None:
    """It would come from within, past whatever stands before the server."""
    port = stack.url.rpartition(":")[2]
    for webhook in ("/runs", f"{stack.url}/runs", f"http://localhost:{port}/runs", f"http://[::1]:{port}/threads"):
        for name, (method, path, body) in stateless_ways("echo", "echo").items():
            if name == "MCP":
                continue
            given = (
                [{**one, "webhook": webhook} for one in body]
                if isinstance(body, list)
                else {**body, "webhook": webhook}
            )
            status, outcome = await matrix.call(stack, OWNER, method, path, given)
            assert status == 422, (name, webhook, outcome)
