"""``http.app``: the project's own application around the built-in routes; and other keys of section ``http``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langlog_backbone.service import StartError
from langlog_backbone.settings import Settings
from langlog_gateway.http_options import HeaderPatterns, HttpOptions, read_options

from .conftest import MakeStack

WEB = Path(__file__).parent / "own_app" / "web.py"


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
        status, found = await stack.call("GET", "/own", headers={"authorization": "alice"})
        assert (status, found["user"]) == (200, "alice")
        assert (await stack.call("GET", "/threads", headers={"x-stop": "1"}))[0] == 401, "authentication first"


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
    found = read_options(Settings(project=file), {})
    assert (found.prefix, found.http.app) == ("/file", f"{WEB}:app")
    found = read_options(Settings(project=file), {"LANGGRAPH_HTTP": '{"mount_prefix": "env"}'})
    assert (found.prefix, found.http.app) == ("/env", None)
    assert read_options(Settings(project=file, mount_prefix="/own"), {}).prefix == "/own"
    for bad in ("{", '{"middleware_order": "last"}', '{"cors": 3}'):
        with pytest.raises(StartError, match="LANGGRAPH_HTTP"):
            read_options(Settings(project=file), {"LANGGRAPH_HTTP": bad})
    with pytest.raises(StartError, match="does not exist"):
        read_options(Settings(project=tmp_path / "missing.json"), {})
