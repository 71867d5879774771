"""A client without an address is the deployment itself: no handler of the project judges it, unless it brings credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from langlog_backbone.credentials.deployment_secret import deployment_secrets
from langlog_backbone.credentials.loopback_proof import PROOF_HEADER, loopback_proofs

from tests.auth.ways import NOTHING_ASKED, stateless_ways, ways
from tests.gateway.conftest import MakeStack, Stack
from tests.stack.server import LiveServer

OWN_CLIENT = Path(__file__).parent / "own_client" / "langgraph.json"
MATRIX = Path(__file__).parent / "project" / "langgraph.json"
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(OWN_CLIENT, tmp_path_factory.mktemp("own_client")).up() as live:
        yield live


@pytest.fixture
async def http(server: LiveServer) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(server.url, timeout=timeout) as opened:
        yield opened


async def call(
    http: aiohttp.ClientSession, method: str, path: str, body: Any = None, who: str = "alice", **headers: str
) -> tuple[int, Any]:
    given = {"authorization": who, **headers} if who else headers
    async with http.request(method, path, json=body, headers=given) as answer:
        return answer.status, await answer.json()


async def test_a_node_calls_its_server_without_credentials(server: LiveServer, http: aiohttp.ClientSession) -> None:
    status, values = await call(http, "POST", "/runs/wait", {"assistant_id": "asker", "input": {}})
    assert status == 200, values
    report = values["report"]
    assert report["leaf"] == {"headers": [], "user": None}
    assert report["owners"] >= 1
    assert report["instrumented"] >= 1, "headers of tracing are no credentials"
    assert report["item"] == {"x": 1}
    assert report["streamed"]
    assert report["alice"] == "NotFoundError", "credentials are authenticated, and filters apply"
    assert PROOF_HEADER not in report["route"]["headers"]
    assert not report["route"]["user"]
    thread = f"/threads/{report['thread']}"
    assert (await call(http, "GET", thread, who="bob"))[0] == 200, "a user sees it as the filter admits"
    _, runs = await call(http, "GET", f"{thread}/runs", who="bob")
    assert len(runs) == 2
    assert made_for_nobody(runs)
    assert (await call(http, "GET", thread, who="alice"))[0] == 404
    assert (await call(http, "GET", f"/runs/crons/{report['cron']}", who="alice"))[0] == 404
    _, events = await call(http, "GET", f"{thread}/events", who="bob")
    actors = {event["actor"] for event in events["events"] if event.get("actor")}
    assert actors == {"langlog:project"}
    assert PROOF_HEADER not in server.output.read_text(), "no log has the header"


async def test_a_route_of_the_project_calls_its_server_without_credentials(http: aiohttp.ClientSession) -> None:
    status, report = await call(http, "GET", "/ask")
    assert status == 200, report
    assert report["bob"] >= 1
    assert report["alice"] == 0
    assert PROOF_HEADER not in report["seen"]["headers"]
    assert not report["seen"]["user"]
    assert (await call(http, "GET", "/ask", who=""))[0] == 401


async def test_a_handler_looks_up_what_it_decides_on(http: aiohttp.ClientSession) -> None:
    _, thread = await call(http, "POST", "/threads", {"metadata": {"readers": ["carol"]}})
    path = f"/threads/{thread['thread_id']}"
    assert (await call(http, "GET", path, who="carol"))[0] == 200
    assert (await call(http, "GET", path, who="dora"))[0] == 404


async def test_a_forged_header_is_as_if_it_were_not_there(http: aiohttp.ClientSession) -> None:
    for forged in ("", "1", "0" * 64, "ü"):
        status, body = await call(http, "POST", "/threads/count", {}, who="", **{"X-Langlog-Loopback": forged})
        assert status == 401
        assert body["detail"].startswith("no credentials")
        assert "loopback" not in body["detail"]
        _, seen = await call(http, "GET", "/seen", who="alice", **{PROOF_HEADER: forged})
        assert PROOF_HEADER not in seen["headers"] and seen["user"]


# the gateway


async def proof_of(stack: Stack) -> str:
    return loopback_proofs(await deployment_secrets(stack.backbone.pool, stack.backbone.settings))[0]


async def test_any_secret_proves_while_secrets_are_replaced(make_stack: MakeStack) -> None:
    both = "the newer secret, the former secret"
    async with make_stack(project=MATRIX, secret=both) as stack:
        for secret, status in ((b"the newer secret", 200), (b"the former secret", 200), (b"another secret 1", 401)):
            headers = {PROOF_HEADER: loopback_proofs([secret])[0]}
            assert (await stack.call("POST", "/threads/count", {}, headers=headers))[0] == status


async def test_the_proof_makes_nobody_an_operator_and_opens_no_socket(make_stack: MakeStack) -> None:
    async with make_stack(project=MATRIX) as stack:
        headers = {PROOF_HEADER: await proof_of(stack)}
        for path in ("/operator/health", "/operator/log/records", "/operator/dead-letters"):
            assert (await stack.call("GET", path, headers=headers))[0] in (401, 403), path
        for path in ("/operator/import", "/operator/dead-letters/retry"):
            assert (await stack.call("POST", path, {}, headers=headers))[0] in (401, 403), path
        _, thread = await stack.call("POST", "/threads", {}, headers=headers)
        socket = f"{stack.url}/threads/{thread['thread_id']}/stream/events"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stack.http.ws_connect(socket, headers=headers)
        assert refused.value.status == 401


def made_for_nobody(runs: list[dict[str, Any]]) -> bool:
    given = [run["kwargs"]["config"]["configurable"] for run in runs]
    return all(not one["langgraph_auth_user"] and not one["user_id"] for one in given)


async def test_every_way_to_make_a_run_makes_it_for_nobody(make_stack: MakeStack) -> None:
    async with make_stack(project=MATRIX, reply_timeout_s=60.0) as stack:
        headers = {PROOF_HEADER: await proof_of(stack)}
        foreign = {"authorization": "alice"}
        _, assistant = await stack.call("POST", "/assistants", {"graph_id": "echo", "name": "mine"}, headers=foreign)
        _, thread = await stack.call("POST", "/threads", {}, headers=foreign)
        id = thread["thread_id"]
        all_ways = ways(id, assistant["assistant_id"]) | stateless_ways(assistant["assistant_id"], "mine")
        accepts = {"accept": "application/json, text/event-stream"}
        for name, (method, path, body) in all_ways.items():
            if method == "SOCKET":
                continue
            status, reply = await stack.call(method, path, body, headers={**headers, **accepts})
            assert status in (200, 202), (name, reply)
            if name not in NOTHING_ASKED:
                assert not isinstance(reply, dict) or (reply.get("type") != "error" and "error" not in reply), (
                    name,
                    reply,
                )
        _, runs = await stack.call("GET", f"/threads/{id}/runs?limit=100", headers=foreign)
        assert len(runs) > 5, "their owner sees them"
        assert made_for_nobody(runs)


async def test_a_cron_of_the_deployment_runs_for_nobody_and_a_users_stays_the_users(make_stack: MakeStack) -> None:
    async with make_stack(project=MATRIX) as stack:
        headers = {PROOF_HEADER: await proof_of(stack)}
        body = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "metadata": {"owner": "alice"}}
        _, made = await stack.call("POST", "/runs/crons", body, headers=headers)
        assert made["user_id"] in ("", None)
        status, run = await stack.call("POST", f"/runs/crons/{made['cron_id']}/fire", headers=headers)
        assert status == 200 and made_for_nobody([run])
        assert (await stack.call("GET", f"/runs/crons/{made['cron_id']}", headers={"authorization": "alice"}))[0] == 200
        assert (await stack.call("GET", f"/runs/crons/{made['cron_id']}", headers={"authorization": "bob"}))[0] == 404
        _, alices = await stack.call("POST", "/runs/crons", body, headers={"authorization": "alice"})
        path = f"/runs/crons/{alices['cron_id']}"
        status, changed = await stack.call("PATCH", path, {"input": {"a": 2}}, headers=headers)
        assert (status, changed["user_id"]) == (200, "alice")


async def test_two_values_prove_nothing(make_stack: MakeStack) -> None:
    async with make_stack(project=MATRIX) as stack:
        proof = await proof_of(stack)
        twice = [(PROOF_HEADER, proof), (PROOF_HEADER, proof)]
        assert (await stack.call("POST", "/threads/count", {}, headers=twice))[0] == 401


AUTH = """
from langgraph_sdk import Auth, get_client

auth = Auth()
with_credentials = get_client(headers={"authorization": "service"})


@auth.authenticate
async def authenticate(authorization):
    if authorization != "known":
        try:
            await with_credentials.threads.count()
        except Exception as error:
            raise Auth.exceptions.HTTPException(status_code=403, detail=str(error))
    return authorization
"""


async def test_authentication_that_asks_with_credentials_is_refused(make_stack: MakeStack, tmp_path: Path) -> None:
    """The server would call it again, without end."""
    (tmp_path / "auth.py").write_text(AUTH)
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"echo": "./echo.py:graph"}, "auth": {"path": "./auth.py:auth"}}))
    async with make_stack(project=file) as stack:
        status, body = await stack.call("POST", "/threads", {}, headers={"authorization": "unknown"})
        assert status == 403, body
        assert "authenticated in turn, without end" in body["detail"]
        assert (await stack.call("POST", "/threads", {}, headers={"authorization": "known"}))[0] == 200


async def test_a_stream_of_the_deployment_lasts_when_metadata_change(make_stack: MakeStack) -> None:
    async with make_stack(project=MATRIX) as stack:
        headers = {PROOF_HEADER: await proof_of(stack)}
        _, thread = await stack.call("POST", "/threads", {}, headers={"authorization": "alice"})
        path = f"/threads/{thread['thread_id']}"
        async with stack.http.get(f"{stack.url}{path}/stream", headers=headers) as stream:
            assert stream.status == 200
            changed = {"metadata": {"owner": "bob"}}
            assert (await stack.call("PATCH", path, changed, headers=headers))[0] == 200
            run = {"assistant_id": "echo", "input": {"a": 1}}
            assert (await stack.call("POST", f"{path}/runs/wait", run, headers=headers))[0] == 200
            async with asyncio.timeout(LIMIT_S):
                async for line in stream.content:
                    assert b"error" not in line
                    if b"values" in line:
                        break
