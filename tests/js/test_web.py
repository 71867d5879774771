"""`auth` and `http.app` in TypeScript: an `Auth` of the SDK's and a Hono application, in a process of Node beside the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import httpx
import psutil
import pytest
from langgraph_sdk import get_sync_client
from langlog_backbone.project import hosted_code
from langlog_backbone.project.config import read_project
from langlog_backbone.project.hosted_code import HostedCode, Route
from langlog_backbone.project.node import find_node
from langlog_gateway.auth import hosted_auth
from langlog_gateway.auth.hosted_auth import HostedAuth
from langlog_gateway.custom_app.hosted_app import patterns

from tests.js.host import stack
from tests.stack.server import LiveServer, kafka_env
from tests.stack.typescript import typescript_project

RESTART_LIMIT_S = 60.0
HANGING = """
const authenticate = async (request) => {
  if (request.url.endsWith("/hangs")) await new Promise(() => undefined);
  return { identity: "anna" };
};
export const auth = { "~handlerCache": { authenticate } };
"""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    folder = tmp_path_factory.mktemp(f"web-{request.param}")
    project = typescript_project(Path(__file__).parent / "starters", folder / "project")
    with LiveServer(project / "langgraph.web.json", folder / "server", env).up(verified=False) as live:
        yield live


def request(server: LiveServer, method: str, path: str, user: str | None = None, **more: Any) -> httpx.Response:
    headers = {} if user is None else {"authorization": f"Bearer {user}"}
    return httpx.request(method, f"{server.url}{path}", headers=headers, timeout=60, **more)


def test_callers_are_who_authenticate_says_and_see_their_own(server: LiveServer) -> None:
    assert request(server, "POST", "/threads", json={}).status_code == 401
    assert request(server, "POST", "/threads", json={}).json()["detail"] == "Who are you?"
    anna = get_sync_client(url=server.url, headers={"authorization": "Bearer anna"})
    bo = get_sync_client(url=server.url, headers={"authorization": "Bearer bo"})
    thread = anna.threads.create(metadata={"a": 1})
    assert thread["metadata"] == {"a": 1, "owner": "anna"}
    assert [each["thread_id"] for each in anna.threads.search()] == [thread["thread_id"]]
    assert bo.threads.search() == []
    assert request(server, "GET", f"/threads/{thread['thread_id']}", "bo").status_code == 404


def test_a_handler_that_denies_or_fails_lets_nobody_in(server: LiveServer) -> None:
    item = {"namespace": ["x"], "key": "k", "value": {}}
    assert request(server, "PUT", "/store/items", "anna", json=item).status_code == 403
    broken = request(server, "POST", "/threads", "broken", json={})
    assert broken.status_code == 500
    assert "secret" not in broken.text


@pytest.mark.parametrize("kind", ["proxy", "message", "nothing", "text", "number", "function", "map", "list", "big"])
def test_a_handler_that_throws_or_gives_nonsense_lets_nobody_in(server: LiveServer, kind: str) -> None:
    body = {"graph_id": "react", "metadata": {"kind": kind}}
    assert request(server, "POST", "/assistants", "anna", json=body).status_code == 500
    assert request(server, "POST", "/assistants", "anna", json=body | {"metadata": {}}).status_code == 200


def test_whatever_a_route_of_hono_does_there_is_a_response(server: LiveServer) -> None:
    assert request(server, "GET", "/nothing").status_code == 500
    large = request(server, "GET", "/headers")
    assert (large.status_code, len(large.headers["x-large"])) == (200, 20_000)
    assert request(server, "GET", "/cookies", cookies={"a": "c" * 7_000}).status_code == 200
    ignored = request(server, "POST", "/ignored", content=b"\0" * 30_000_000)
    assert ignored.json() == {"ignored": True}
    with contextlib.suppress(httpx.RemoteProtocolError):  # by the time at which the gateway learns of it
        late = request(server, "GET", "/fails-late")
        assert late.status_code >= 500
        assert "secret" not in late.text
    assert request(server, "GET", "/greet/x").json()["hello"] == "x"


def test_a_body_of_hono_ends_when_its_reader_leaves(server: LiveServer) -> None:
    before = request(server, "GET", "/left").json()["left"]
    with httpx.stream("GET", f"{server.url}/endless", timeout=60) as stream:
        assert next(stream.iter_text()) == "first"
    deadline = time.monotonic() + RESTART_LIMIT_S
    while request(server, "GET", "/left").json()["left"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_route_of_hono_that_requires_authentication_knows_its_caller(tmp_path: Path) -> None:
    project = typescript_project(Path(__file__).parent / "starters", tmp_path / "project")
    config = json.loads((project / "langgraph.web.json").read_text())
    config["http"]["enable_custom_route_auth"] = True
    (project / "langgraph.json").write_text(json.dumps(config))
    forged = {"x-langlog-user": "eyJpZGVudGl0eSI6ImJvIn0="}
    with LiveServer(project / "langgraph.json", tmp_path / "server").up(verified=False) as live:
        assert request(live, "GET", "/who").status_code == 401
        answer = httpx.get(f"{live.url}/who", headers={"authorization": "Bearer anna", **forged}, timeout=60).json()
    user = answer["auth"]["user"]
    assert (user["identity"], user["where"], user["is_authenticated"]) == ("anna", "/who", True)
    assert (answer["auth"]["scopes"], answer["header"]) == (["read"], None)


def test_a_route_without_authentication_has_no_caller(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}/who", headers={"x-langlog-user": "eyJpZGVudGl0eSI6ImJvIn0="}, timeout=60)
    assert answer.json() == {"auth": None, "header": None}


async def test_a_process_whose_event_loop_is_held_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted_code, "ALIVE_EVERY_S", 0.2)
    monkeypatch.setattr(hosted_code, "ALIVE_LIMIT_S", 3.0)
    stack.built_host()
    source = "export const app = { fetch: () => { for (;;); } };"
    (tmp_path / "app.ts").write_text(source)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "http": {"app": "./app.ts:app"}}))
    code = HostedCode(find_node(), read_project(tmp_path / "langgraph.json"), None, "./app.ts:app", 120.0)
    code.start()
    code.supervise()
    try:
        first = code.pid
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(code.app_socket)) as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get("http://app/")
        async with asyncio.timeout(RESTART_LIMIT_S):
            while code.pid == first:
                await asyncio.sleep(0.05)  # nothing signals a start
    finally:
        await code.stop()


async def test_who_is_not_told_from_others_in_time_is_refused_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.built_host()
    (tmp_path / "auth.ts").write_text(HANGING)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}}))
    code = HostedCode(find_node(), read_project(tmp_path / "langgraph.json"), "./auth.ts:auth", None, 120.0)
    code.start()
    patient = HostedAuth(code, cast(Any, None), None, "", None)
    monkeypatch.setattr(hosted_auth, "LIMIT_S", 5.0)
    hasty = HostedAuth(code, cast(Any, None), None, "", None)
    question = {"method": "GET", "url": "http://a/", "headers": []}
    hanging = {**question, "url": "http://a/hangs"}
    try:
        stuck = [asyncio.create_task(patient._query("authenticate", hanging)) for _ in range(300)]
        await asyncio.sleep(0)  # they are asked first
        answer = await patient._query("authenticate", question)
        assert answer.user == {"identity": "anna"}
        assert not any(task.done() for task in stuck)
        refused = await asyncio.gather(
            *(hasty._query("authenticate", hanging) for _ in range(3)), return_exceptions=True
        )
        assert {getattr(error, "status_code", error) for error in refused} == {503}
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
    finally:
        await patient.close()
        await hasty.close()
        await code.stop()


async def test_a_socket_on_a_route_of_hono_is_refused(server: LiveServer) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{server.url}/greet/x", headers={"authorization": "Bearer anna"})
    assert refused.value.status in (403, 404)
    assert request(server, "GET", "/greet/x").status_code == 200


def test_routes_of_hono_are_served_beside_the_built_in_ones(server: LiveServer) -> None:
    greeted = request(server, "GET", "/greet/eva%20b?loud=1")
    assert (greeted.status_code, greeted.json()) == (200, {"hello": "eva b", "query": "1"})
    assert greeted.headers["x-hono"] == "yes"
    body = b"\x00\xff" * 100_000
    echoed = request(server, "POST", "/echo", content=body)
    assert (echoed.status_code, echoed.content) == (201, body)
    assert request(server, "GET", "/cookies").headers.get_list("set-cookie") == ["a=1", "b=2"]
    with httpx.stream("GET", f"{server.url}/count") as stream:
        assert "".join(stream.iter_text()) == "0\n1\n2\n"
    built_in = request(server, "GET", "/info")
    assert built_in.status_code == 200
    assert "x-hono" not in built_in.headers
    assert request(server, "GET", "/nowhere", "anna").status_code == 404
    failed = request(server, "GET", "/fails")
    assert failed.status_code == 500
    assert "secret" not in failed.text


def code_process(server: LiveServer) -> psutil.Process | None:
    for child in server.children():
        try:
            if "code" in child.cmdline() and any(part.endswith("host.mjs") for part in child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def test_a_process_that_dies_is_replaced_and_nobody_is_let_in_meanwhile(server: LiveServer) -> None:
    first = code_process(server)
    assert first is not None
    first.kill()
    deadline = time.monotonic() + RESTART_LIMIT_S
    while True:
        answer = request(server, "POST", "/threads/search", "anna", json={})
        if answer.status_code == 200:
            break
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline
        time.sleep(0.1)
    second = code_process(server)
    assert second is not None
    assert second.pid != first.pid
    assert request(server, "GET", "/greet/x").json()["hello"] == "x"


@pytest.mark.parametrize(
    ("key", "reference", "text"),
    [
        ("auth", "./web/src/auth.ts:gone", "there is no export 'gone'"),
        ("auth", "./web/src/app.ts:app", "is no Auth of @langchain/langgraph-sdk/auth"),
        ("http", "./web/src/auth.ts:auth", "has no fetch"),
        ("http", "./web/src/gone.ts:app", "'./web/src/gone.ts' does not exist"),
    ],
)
def test_what_does_not_load_ends_the_start_with_one_line(tmp_path: Path, key: str, reference: str, text: str) -> None:
    project = typescript_project(Path(__file__).parent / "starters", tmp_path / "project")
    config = json.loads((project / "langgraph.web.json").read_text())
    config[key] = {"path" if key == "auth" else "app": reference}
    (project / "langgraph.json").write_text(json.dumps(config))
    server = LiveServer(project / "langgraph.json", tmp_path / "server")
    with pytest.raises(RuntimeError, match=text.replace("(", r"\(")):
        server.start()


@pytest.mark.parametrize(
    ("route", "taken", "refused"),
    [
        ("/greet/:name", ["/greet/eva", "/greet/a.b"], ["/greet", "/greet/a/b", "/greets/x"]),
        ("/on/:date{[0-9]+}", ["/on/12"], ["/on/"]),
        ("/animal/:type?", ["/animal", "/animal/cat"], ["/animal/cat/x"]),
        ("/wild/*/card", ["/wild/x/card"], ["/wild/card"]),
        ("/files/*", ["/files/a/b", "/files/", "/files"], ["/filesystem"]),
        ("/", ["/"], ["/x"]),
        ("/a.b", ["/a.b"], ["/axb"]),
    ],
)
def test_a_route_of_hono_takes_its_paths(route: str, taken: list[str], refused: list[str]) -> None:
    ((_, pattern),) = patterns([Route("GET", route)])
    assert [path for path in (*taken, *refused) if pattern.fullmatch(path)] == taken


def test_middleware_of_hono_is_no_route() -> None:
    assert patterns([Route("ALL", "/*"), Route("ALL", "*")]) == []


def test_validate_loads_code_in_typescript_where_that_is_wanted(tmp_path: Path) -> None:
    project = typescript_project(Path(__file__).parent / "starters", tmp_path / "project")
    for name, fault in (("sound", None), ("fails", "a fault of the module")):
        config = json.loads((project / "langgraph.web.json").read_text())
        if fault is not None:
            (project / "fails.ts").write_text(
                f"throw new Error('{fault}');\nexport const graph = 1;\nexport const app = 2;\n"
            )
            config["graphs"] = {"a": "./fails.ts:graph"}
            config["http"] = {"app": "./fails.ts:app"}
        file = project / f"langgraph.{name}.json"
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "langlog", "validate", "--load", "--json", "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        problems = {each["key"]: each["text"] for each in json.loads(done.stdout)["problems"]}
        assert set(problems) == (set() if fault is None else {"graphs.a", "http.app"}), problems
        assert all("fails.ts, line 1" in text and str(fault) in text for text in problems.values()), problems
