"""``http.app``: the project's own application around the built-in routes; and other keys of section ``http``."""

from __future__ import annotations

import functools
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_gateway.custom_app.routers import find_routers
from langlog_gateway.http.options import HeaderPatterns, HttpOptions, read_options

from .conftest import MakeStack, after_head

WEB = Path(__file__).parent / "own_app" / "web.py"
FAST = WEB.with_name("fast.py")


def project(folder: Path, *, auth: bool = False, **http: Any) -> Path:
    config: dict[str, Any] = {"graphs": {"echo": "./echo.py:graph"}, "http": {"app": f"{WEB}:app", **http}}
    if auth:
        config["auth"] = {"path": f"{WEB}:auth"}
    file = folder / "langgraph.json"
    file.write_text(json.dumps(config))
    return file


async def test_own_routes_come_first_and_the_middleware_sees_everything(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        assert await stack.call("POST", "/own", {"a": 1}) == (
            200,
            {"body": '{"a":1}', "user": None, "lives": ["up"]},
        )
        for path in ("/own", "/ok", "/nope", "/info"):
            async with stack.http.get(stack.url + path) as answer:
                assert answer.headers["x-stamp"] == "seen", path
        assert await stack.call("GET", "/ok", headers={"x-stop": "1"}) == (418, "stopped")
        assert await stack.call("GET", "/own/parts") == (200, "0\n1\n2\n")
        assert await stack.call("GET", "/own/broken") == (500, "Internal Server Error")
        assert (await stack.call("GET", "/nope"))[0] == 404
        _, document = await stack.call("GET", "/openapi.json")
        assert set(document["paths"]["/own"]) == {"get", "post"}


@pytest.mark.parametrize("path", ["/own", "/own/parts", "/own/empty", "/ok", "/nope", "/threads/{0}/runs/{0}/stream"])
async def test_no_body_follows_where_the_client_expects_none(make_stack: MakeStack, tmp_path: Path, path: str) -> None:
    """Responses that middleware hands on piece by piece are no exception (RFC 9112, §6.3)."""
    async with make_stack(project=project(tmp_path)) as stack:
        assert (await after_head(stack, path.format(uuid.uuid4()))).startswith(b"HTTP/1.1 200 OK")
        async with stack.http.get(stack.url + "/own/empty") as answer:
            assert (answer.status, await answer.read()) == (204, b"")
        assert (await stack.call("GET", "/ok"))[0] == 200, "on the same connection"
        async with stack.http.head(stack.url + "/own") as answer:
            assert int(answer.headers["content-length"]) > 0
            assert answer.headers["vary"] == "Origin"
        async with stack.http.get(stack.url + "/ok") as answer:
            assert answer.headers["vary"] == "Origin"


async def test_headers_that_are_not_ascii_arrive_as_they_were_sent(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        async with stack.http.get(f"{stack.url}/own/named") as answer:
            assert (answer.headers["x-utf"], answer.headers["x-latin"]) == ("Łukasz", "René")
        async with stack.http.get(f"{stack.url}/ok", headers={"origin": "https://例え.jp"}) as answer:
            assert answer.status == 200, "the answer of a built-in route names the origin"


async def test_a_trailing_slash_is_redirected_behind_it_too_whatever_was_sent(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        for method, path, body in (("POST", "/threads/search", {}), ("GET", f"/threads/{uuid.uuid4()}/state", None)):
            data = None if body is None else b"{}"
            async with stack.http.request(
                method, f"{stack.url}{path}/?a=b", data=data, allow_redirects=False
            ) as answer:
                assert (answer.status, answer.headers["location"]) == (307, f"{stack.url}{path}?a=b")
        assert (await stack.call("POST", "/nope/", {}))[0] == 404


async def test_built_in_routes_work_as_ever_behind_it_streams_too(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        _, thread = await stack.call("POST", "/threads", {"metadata": {"a": 1}})
        path = f"{stack.url}/threads/{thread['thread_id']}/runs/stream"
        async with stack.http.post(path, json={"assistant_id": "echo", "input": {"x": 1}}) as answer:
            events = [name for name, _ in await stack.events(answer)]
            assert (answer.status, answer.headers["x-stamp"]) == (200, "seen")
        assert events == ["metadata", "values"]
        assert (await stack.call("POST", "/threads", None))[0] == 422
        assert (await stack.call("PUT", "/threads", {}))[0] == 405


async def test_an_application_that_is_no_starlette_gives_back_what_it_answers_404(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    async with make_stack(project=project(tmp_path, app=f"{WEB}:plain")) as stack:
        assert await stack.call("GET", "/own") == (200, "plain")
        assert (await stack.call("POST", "/threads", {}))[0] == 200


async def test_own_routes_are_authenticated_only_when_asked_for(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path, auth=True)) as stack:
        assert (await stack.call("GET", "/own"))[0] == 200
        assert await stack.call("GET", "/threads") == (401, {"detail": "who?"})
        assert (await stack.call("GET", "/threads", headers={"x-stop": "1"}))[0] == 418, "middleware first"
    strict = {"enable_custom_route_auth": True, "middleware_order": "auth_first"}
    async with make_stack(project=project(tmp_path, auth=True, **strict)) as stack:
        assert await stack.call("GET", "/own") == (401, {"detail": "who?"})
        status, body = await stack.call("GET", "/own", headers={"authorization": "alice"})
        assert (status, body["user"]) == (200, "alice")
        assert (await stack.call("GET", "/threads", headers={"x-stop": "1"}))[0] == 401, "authentication first"
        assert (await stack.call("GET", "/own/staff", headers={"authorization": "alice"}))[0] == 403
        status, body = await stack.call("GET", "/own/staff", headers={"authorization": "ann"})
        assert status == 200, "Starlette finds the permissions where it looks for scopes"
        ann = {
            "identity": "ann",
            "display_name": "ann",
            "is_authenticated": True,
            "permissions": ["staff"],
            "team": "red",
        }
        assert body == {"user": ann, "known": True, "team": "red"}


async def test_switched_off_routes_are_not_there(make_stack: MakeStack, tmp_path: Path) -> None:
    off = {"disable_assistants": True, "disable_store": True, "disable_meta": True}
    async with make_stack(project=project(tmp_path, **off)) as stack:
        for method, path in (("POST", "/assistants"), ("PUT", "/store/items"), ("GET", "/info"), ("GET", "/docs")):
            assert await stack.call(method, path, {}) == (404, {"detail": "Not Found"}), path
        assert (await stack.call("GET", "/ok"))[0] == 200


def test_headers_become_configurable_keys_but_none_of_the_servers_own() -> None:
    options = HttpOptions(configurable_headers=HeaderPatterns(includes=["*"], excludes=["X-Secret*"]))
    given = {"X-Color": "red", "X-Secret-Key": "s", "thread_id": "t", "langgraph_auth_user_id": "root", "__x": "y"}
    assert options.configurable(given) == {"x-color": "red"}
    assert HttpOptions().configurable(given) == {}


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    file = project(tmp_path, mount_prefix="/file/")
    result = read_options(Settings(project=file), {})
    assert (result.prefix, result.http.app) == ("/file", f"{WEB}:app")
    result = read_options(Settings(project=file), {"LANGGRAPH_HTTP": '{"mount_prefix": "env"}'})
    assert (result.prefix, result.http.app) == ("/env", None)
    assert read_options(Settings(project=file, mount_prefix="/own"), {}).prefix == "/own"
    for bad in ("{", '{"middleware_order": "last"}', '{"cors": 3}'):
        with pytest.raises(StartError, match="LANGGRAPH_HTTP"):
            read_options(Settings(project=file), {"LANGGRAPH_HTTP": bad})
    with pytest.raises(StartError, match="does not exist"):
        read_options(Settings(project=tmp_path / "missing.json"), {})


async def test_websockets_of_the_application_pass_both_ways(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        url = stack.url.replace("http", "ws", 1)
        async with stack.http.ws_connect(f"{url}/own/shout/bob", protocols=["loud", "low"]) as socket:
            assert socket.protocol == "loud"
            assert await socket.receive_json() == {"lives": ["up"], "user": None, "path": {"name": "bob"}}
            await socket.send_str("hello")
            assert await socket.receive_str() == "HELLO"
            await socket.send_bytes(b"abc")
            assert await socket.receive_bytes() == b"cba"
            await socket.send_str("bye")
            await socket.receive()
            assert socket.close_code == 4001
        async with stack.http.ws_connect(f"{url}/own/shout/eve") as socket:
            await socket.receive_json()
            await socket.send_str("break")
            await socket.receive()
            assert socket.close_code == 1011
        async with stack.http.ws_connect(f"{url}/own/shout/ann") as socket:
            await socket.receive_json()
        async with stack.http.ws_connect(f"{url}/own/shout/joe") as socket:
            assert "left 1000" in (await socket.receive_json())["lives"]


@pytest.mark.parametrize(
    ("path", "status"), [("/own/refuse", 403), ("/own/sorry", 429), ("/own", 403), ("/nope", 403), ("/threads", 403)]
)
async def test_an_upgrade_that_nobody_takes_is_refused(
    make_stack: MakeStack, tmp_path: Path, path: str, status: int
) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        with pytest.raises(WSServerHandshakeError) as raised:
            await stack.http.ws_connect(stack.url + path)
        assert raised.value.status == status
        assert raised.value.headers is not None
        assert raised.value.headers.get("x-why") == ("full" if status == 429 else None)
        assert (await stack.call("GET", "/ok"))[0] == 200


async def test_the_application_does_not_take_the_servers_own_websocket(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        path = f"/threads/{uuid.uuid4()}/stream/events"
        async with stack.http.ws_connect(stack.url + path) as socket:
            await socket.send_str("no command")
            assert (await socket.receive_json())["error"] == "invalid_argument"


async def test_websockets_are_authenticated_when_own_routes_are(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path, auth=True, enable_custom_route_auth=True)) as stack:
        path = f"{stack.url}/own/shout/bob"
        with pytest.raises(WSServerHandshakeError, match="401"):
            await stack.http.ws_connect(path)
        async with stack.http.ws_connect(path, headers={"authorization": "alice"}) as socket:
            assert (await socket.receive_json())["user"] == "alice"


async def test_an_application_of_fastapi_is_part_of_the_document_and_lives_once(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    async with make_stack(project=project(tmp_path, app=f"{FAST}:app", mount_prefix="/api")) as stack:
        _, document = await stack.call("GET", "/api/openapi.json")
        assert document["info"]["title"] == "langlog", "the server's document, not the application's"
        own = document["paths"]["/api/orders/{order_id}"]["post"]
        assert own["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
        assert document["components"]["schemas"]["Order"]["properties"]["pieces"]["type"] == "integer"
        assert "/api/threads" in document["paths"]
        assert "Assistant" in document["components"]["schemas"]
        sew = document["paths"]["/api/sew"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert sew == {"$ref": "#/components/schemas/AppThread"}
        assert list(document["components"]["schemas"]["AppThread"]["properties"]) == ["colour"]
        assert "thread_id" in document["components"]["schemas"]["Thread"]["properties"]
        json_body = {"content-type": "application/json"}
        assert await stack.call("POST", "/api/orders/7", {"pieces": 1}, headers=json_body) == (200, {"pieces": 2})
        assert (await stack.call("POST", "/api/orders/7", {"pieces": "x"}, headers=json_body))[0] == 422
        assert await stack.call("GET", "/api/info") == (200, {"version": "own"}), "it may shadow what is built in"
        assert "<title>langlog API" in (await stack.call("GET", "/api/docs"))[1]
        assert await stack.call("GET", "/api/lives") == (200, ["up"])
        assert await stack.call("POST", "/api/enter/ann") == (200, "ann"), "by a client without an address"
        async with stack.http.ws_connect(f"{stack.url}/api/talk") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
        assert (await stack.call("POST", "/api/threads", {}))[0] == 200
    fast = next(module for name, module in sys.modules.items() if name.endswith("own_app_fast"))
    assert fast.lives == ["up", "down"]


async def test_with_webhooks_off_none_is_due_and_their_log_is_not_there(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path, disable_webhooks=True)) as stack:
        _, thread = await stack.call("POST", "/threads", {})
        path = f"/threads/{thread['thread_id']}/runs"
        body = {"assistant_id": "echo", "input": {}, "webhook": "https://example.com/hook"}
        _, run = await stack.call("POST", path, body)
        assert run["kwargs"]["webhook"] is None
        assert (await stack.call("GET", f"{path}/{run['run_id']}/join"))[0] == 200
        assert await stack.backbone.pool.fetchval("SELECT count(*) FROM webhooks") == 0
        assert (await stack.call("GET", f"{path}/{run['run_id']}/webhooks"))[0] == 404


async def test_middleware_sees_every_upgrade_and_every_websocket(make_stack: MakeStack, tmp_path: Path) -> None:
    for app in ("keyed", "keyed_outside"):
        async with make_stack(project=project(tmp_path, app=f"{WEB}:{app}")) as stack:
            run = {"assistant_id": "echo", "input": {}}
            socket = f"{stack.url}/threads/{uuid.uuid4()}/stream/events"
            for upgrade in ({}, {"upgrade": "x"}, {"upgrade": "h2c"}, {"upgrade": "x", "connection": "upgrade"}):
                for path, body in (("/threads/search", {}), ("/runs/wait", run), ("/own", {})):
                    status, _ = await stack.call("POST", path, body, headers=upgrade)
                    assert status == 401, (app, path, upgrade)
                    status, _ = await stack.call("POST", path, body, headers={**upgrade, "x-key": "secret"})
                    assert status == 200, (app, path, upgrade)
            for url in (socket, f"{stack.url}/own/shout/bob", f"{stack.url}/threads"):
                with pytest.raises(WSServerHandshakeError, match="403"):
                    await stack.http.ws_connect(url)
                upgrade = {"upgrade": "websocket", "connection": "upgrade"}
                assert (await stack.call("POST", url.removeprefix(stack.url), {}, headers=upgrade))[0] == 403
            async with stack.http.ws_connect(socket, headers={"x-key": "secret"}) as opened:
                await opened.send_str("no command")
                assert (await opened.receive_json())["error"] == "invalid_argument"
            async with stack.http.ws_connect(f"{stack.url}/own/shout/bob", headers={"x-key": "secret"}) as opened:
                assert (await opened.receive_json())["path"] == {"name": "bob"}


@pytest.mark.parametrize("app", ["wrapped", "twice_wrapped", "moving", "bare_router", "hidden"])
async def test_routes_of_an_application_are_authenticated_however_it_is_wrapped(
    make_stack: MakeStack, tmp_path: Path, app: str
) -> None:
    file = project(tmp_path, auth=True, app=f"{WEB}:{app}", enable_custom_route_auth=True)
    async with make_stack(project=file) as stack:
        alice = {"authorization": "alice"}
        refused = (401, {"detail": "who?"})
        paths = [("/own", {})]
        if app == "moving":
            paths.append(("/moved", {}))
        if app not in ("bare_router", "hidden"):
            paths.append(("/hosted", {"host": "admin.example.com"}))
        for path, headers in paths:
            assert await stack.call("GET", path, headers=headers) == refused, path
            status, body = await stack.call("GET", path, headers={**headers, **alice})
            assert status == 200, path
            if app not in ("hidden",) and path != "/hosted":
                assert body["user"] == "alice", path
        if app not in ("bare_router", "hidden"):
            with pytest.raises(WSServerHandshakeError, match="401"):
                await stack.http.ws_connect(f"{stack.url}/own/shout/bob")
            async with stack.http.ws_connect(f"{stack.url}/own/shout/bob", headers=alice) as socket:
                assert (await socket.receive_json())["user"] == "alice"
        if app == "hidden":
            assert await stack.call("GET", "/docs") == refused, "a page of its own at an open path"
        for path in ("/ok", "/info"):
            assert (await stack.call("GET", path))[0] == 200, path
        assert await stack.call("POST", "/threads", {}) == refused
        assert (await stack.call("POST", "/threads", {}, headers=alice))[0] == 200
        assert (await stack.call("GET", f"/threads/{uuid.uuid4()}", headers=alice))[0] == 404


def test_the_router_of_an_application_is_found_in_what_wraps_it() -> None:
    class Router:
        default, routes, middleware_stack = print, (), print

    class Held:
        __slots__ = ("inner",)

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __call__(self) -> None: ...

    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> None: ...

    class App:
        def __init__(self) -> None:
            self.router = Router()

        def __call__(self) -> None: ...

    app = App()
    for wrapped in (app, Held(app), functools.partial(app.__call__), lambda: app(), Held(Held(app))):
        assert find_routers(wrapped) == [app.router]
    loop = Held(None)
    loop.inner = loop
    for none in (Odd(), Held(Odd()), print, loop):
        assert find_routers(none) == []


async def test_the_servers_websocket_works_behind_a_wrapped_application(make_stack: MakeStack, tmp_path: Path) -> None:
    file = project(tmp_path, auth=True, app=f"{WEB}:twice_wrapped", enable_custom_route_auth=True)
    async with make_stack(project=file) as stack:
        path = f"{stack.url}/threads/{uuid.uuid4()}/stream/events"
        with pytest.raises(WSServerHandshakeError, match="401"):
            await stack.http.ws_connect(path)
        async with stack.http.ws_connect(path, headers={"authorization": "alice"}) as socket:
            await socket.send_str("no command")
            assert (await socket.receive_json())["error"] == "invalid_argument"


async def test_a_route_that_would_end_the_process_fails_alone(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path, app=f"{FAST}:app")) as stack:
        assert await stack.call("GET", "/leave") == (500, "Internal Server Error")
        async with stack.http.ws_connect(f"{stack.url}/leave") as socket:
            assert (await socket.receive()).data == 1011
        assert (await stack.call("POST", "/threads", {}))[0] == 200
