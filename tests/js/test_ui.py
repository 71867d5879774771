"""Components of `ui` in langgraph.json: bundled by the project's own packages, served under `/ui`, rendered by the official client."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langlog_gateway.components.routes import global_name

from tests.clients.test_react import PROGRAMS, RUN_LIMIT_S
from tests.stack.node_package import missing, run_node_tests
from tests.stack.server import LiveServer, Process, free_port, kafka_env
from tests.stack.typescript import rewrite, typescript_project

HERE = Path(__file__).parent / "ui"
AUTH = """
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def who(authorization: str | None) -> str:
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return authorization.removeprefix("Bearer ")


@auth.on.assistants.create
async def own(ctx: Auth.types.AuthContext, value: dict) -> None:
    value["metadata"] = {**(value.get("metadata") or {}), "owner": ctx.user.identity}


@auth.on.assistants.read
async def read(ctx: Auth.types.AuthContext, value: dict) -> dict:
    return {"owner": ctx.user.identity}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Without authentication."""
    folder = tmp_path_factory.mktemp("ui")
    project = typescript_project(HERE, folder / "project")
    with LiveServer(project / "langgraph.json", folder / "server").up() as live:
        yield live


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With authentication, and a prefix before all paths."""
    folder = tmp_path_factory.mktemp("guarded-ui")
    project = typescript_project(HERE, folder / "project")
    (project / "auth.py").write_text(AUTH)
    config = json.loads((project / "langgraph.json").read_text())
    config |= {"auth": {"path": "./auth.py:auth"}, "http": {"mount_prefix": "/agents"}}
    (project / "langgraph.json").write_text(json.dumps(config))
    server = LiveServer(project / "langgraph.json", folder / "server")
    server.url += "/agents"
    with server.up() as live:
        yield live


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def on_each_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`server`, and the same on Kafka."""
    if request.param == "sqlite":
        yield request.getfixturevalue("server")
        return
    folder = tmp_path_factory.mktemp("ui-kafka")
    project = typescript_project(HERE, folder / "project")
    env = kafka_env(request.getfixturevalue("kafka"))
    with LiveServer(project / "langgraph.json", folder / "server", env).up() as live:
        yield live


class Elements(HTMLParser):
    """(tag, attributes) of each element, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def asked(server: LiveServer, assistant: str, name: Any = "weather", **headers: str) -> httpx.Response:
    headers = {"accept": "text/html", **headers}
    return httpx.post(f"{server.url}/ui/{assistant}", json={"name": name}, headers=headers, timeout=60)


def script(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    (found,) = [attributes for tag, attributes in Elements(answer.text).found if tag == "script"]
    return {name: value or "" for name, value in found.items()}


def test_a_component_is_html_whose_files_a_browser_loads(server: LiveServer) -> None:
    answer = asked(server, "agent", origin="http://localhost:3000")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    elements = Elements(answer.text).found
    assert [tag for tag, _ in elements] == ["link", "script"]
    assert answer.text.count("{{shadowRootId}}") == 1
    assert script(answer)["onload"] == '__LGUI_agent.render("weather", "{{shadowRootId}}")'
    as_script = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    for kind, address, held in (
        ("text/javascript", elements[1][1]["src"], "var __LGUI_agent"),
        ("text/css", elements[0][1]["href"], ".weather"),
    ):
        assert address is not None
        assert address.startswith(f"{server.url}/ui/agent/entrypoint.")
        file = httpx.get(address, headers=as_script)
        assert (file.status_code, file.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert held in file.text
        assert file.headers["content-encoding"] == "gzip"
        assert file.headers["cross-origin-resource-policy"] == "cross-origin"
        again = httpx.get(address, headers={**as_script, "if-none-match": file.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert httpx.head(address).status_code == 200
    # a page that has not got the address from this server
    assert httpx.get(f"{server.url}/ui/agent/entrypoint.js", headers=as_script).status_code == 403


def test_a_name_is_that_of_a_graph_of_an_assistant_or_of_its_own(on_each_log: LiveServer) -> None:
    server = on_each_log
    client = get_sync_client(url=server.url)
    assistant = client.assistants.create("in-python")["assistant_id"]
    for name, variable in (
        (assistant, "__LGUI_in_python"),
        ("in-python", "__LGUI_in_python"),
        ("cards", "__LGUI_cards"),
    ):
        found = script(asked(server, name))
        assert found["onload"].startswith(f"{variable}.render(")
        assert f"var {variable} =" in httpx.get(found["src"]).text
    plain = client.assistants.create("plain")["assistant_id"]
    for name in (plain, str(uuid.uuid4()), "plain", "nobody", "..%2F..%2Fetc", "%2e%2e", "a" * 5_000):
        answer = asked(server, name)
        assert answer.status_code == 404, name
        assert set(answer.json()) == {"detail"}
    for path in ("agent/gone.js", "agent/..%2Fschemas.json", "agent/..%2F..%2Fpackage.json", "nobody/entrypoint.js"):
        answer = httpx.get(f"{server.url}/ui/{path}")
        assert (answer.status_code, set(answer.json())) == (404, {"detail"}), path


@pytest.mark.parametrize("name", ["'); alert(1); ('", '"</script><b>&quot;{{shadowRootId}}', "\u2028ß\U0001f600\\"])
def test_a_name_stays_inside_its_string(server: LiveServer, name: str) -> None:
    answer = asked(server, "agent", name)
    assert [tag for tag, _ in Elements(answer.text).found] == ["link", "script"]
    called = script(asked(server, "agent", name))["onload"]
    match = re.fullmatch(r'__LGUI_agent\.render\((".*"), "\{\{shadowRootId\}\}"\)', called)
    assert match is not None
    assert json.loads(match[1]) == name
    first = answer.text.index("{{shadowRootId}}")
    assert answer.text[first:].startswith("{{shadowRootId}}&quot;)")


def test_a_request_that_names_no_component_is_refused(server: LiveServer) -> None:
    for body in (b"", b"[]", b'{"name": 1}', b'{"name": ""}', b"{}", b'{"name": "' + b"x" * 5_000 + b'"}'):
        answer = httpx.post(f"{server.url}/ui/agent", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, set(answer.json())) == (422, {"detail"}), body[:40]
    huge = httpx.post(f"{server.url}/ui/agent", content=b"x" * 30_000_000)
    assert huge.status_code in (413, 422)
    assert asked(server, "agent", host='evil"><script>.example').status_code in (400, 403)


def test_files_are_for_those_who_may_call_the_server(guarded: LiveServer) -> None:
    assert asked(guarded, "agent").status_code == 401
    anna = {"authorization": "Bearer anna"}
    found = script(asked(guarded, "agent", **anna))
    assert found["src"].startswith(f"{guarded.url}/ui/agent/entrypoint.js?key=")
    assert httpx.get(found["src"]).status_code == 200
    bare, _, key = found["src"].partition("?")
    assert httpx.get(bare).status_code == 401
    assert httpx.get(bare, headers=anna).status_code == 200
    for address in (
        f"{bare}?key=",
        f"{bare}?{key[:-1]}",
        bare.replace(".js", ".css") + f"?{key}",
        bare.replace("agent/", "cards/") + f"?{key}",
    ):
        assert httpx.get(address).status_code == 401, address
    assistant = get_sync_client(url=guarded.url, headers=anna).assistants.create("agent")["assistant_id"]
    assert asked(guarded, assistant, **anna).status_code == 200
    others, gone = (asked(guarded, id, authorization="Bearer bo") for id in (assistant, str(uuid.uuid4())))
    assert (others.status_code, others.json()) == (gone.status_code, gone.json()) == (404, gone.json())
    secure = script(asked(guarded, "agent", **anna, host="api.example", **{"x-forwarded-proto": "https"}))
    assert secure["src"].startswith("https://api.example/agents/ui/agent/")
    assert script(asked(guarded, "agent", **anna, host="api.example"))["src"].startswith("//api.example/agents/ui/")


@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    ("which", "assistant", "namespace"),
    [("server", "agent", ""), ("server", "in-python", "cards"), ("guarded", "agent", "")],
)
def test_the_official_client_renders_components_in_chromium(
    request: pytest.FixtureRequest, which: str, assistant: str, namespace: str
) -> None:
    chromium = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if chromium is None:
        missing("no Chromium (Debian: apt install chromium)")
    server: LiveServer = request.getfixturevalue(which)
    env = {"LANGLOG_URL": server.url, "ASSISTANT": assistant, "NAMESPACE": namespace, "CHROMIUM": str(chromium)}
    run_node_tests(HERE, {**env, "CALLER": "anna" if which == "guarded" else ""}, RUN_LIMIT_S)


def test_changed_components_are_bundled_again(tmp_path: Path) -> None:
    project = typescript_project(HERE, tmp_path / "project")
    text = (project / "src" / "ui.tsx").read_text()
    port = free_port()
    arguments = ["dev", "--config", str(project / "langgraph.json"), "--port", str(port)]
    dev = Process("dev", [*arguments, "--data-dir", str(tmp_path / "data")], tmp_path, {"LANGLOG_WORKERS": "1"})
    dev.start()
    try:
        address = f"http://127.0.0.1:{port}/ui/agent/entrypoint"
        rewrite(project, "src/ui.tsx", text.replace("function Weather(", "function ("))
        failed = dev.wait_for(lambda e: e.get("event") == "gateway.components_failed")
        assert "ui does not build" in failed["error"]
        assert "Sun in" in httpx.get(f"{address}.js").text
        rewrite(project, "src/ui.tsx", text.replace("Sun in", "Rain in"))
        dev.wait_for(lambda e: e.get("event") == "gateway.components_bundled" and e["files"] == ["src/ui.tsx"])
        assert "Rain in" in httpx.get(f"{address}.js").text
        rewrite(project, "src/ui.css", ".weather { color: rgb(4, 5, 6); }\n")
        dev.wait_for(lambda e: e.get("event") == "gateway.components_bundled" and e["files"] == ["src/ui.css"])
        assert "rgb(4, 5, 6)" in httpx.get(f"{address}.css").text
    finally:
        dev.stop()


@pytest.mark.parametrize(
    ("ui", "text"),
    [
        ({"plain": "./gone.tsx"}, r"ui\.plain: './gone\.tsx' does not exist"),
        (
            {"plain": "./outside/ui.tsx"},
            r"ui\.plain: .*@langchain/langgraph-ui is in no node_modules above it: run `npm install`",
        ),
        ({"../plain": "./src/ui.tsx"}, r"'\.\./plain', which cannot be part of a URL's path"),
        ({"plain": 1}, r"ui\.plain must be the path of a file, not 1"),
    ],
)
def test_components_that_cannot_be_bundled_end_the_start_with_one_line(
    tmp_path: Path, ui: dict[str, Any], text: str
) -> None:
    shutil.copy(HERE / "agent.py", tmp_path)
    for folder in ("src", "outside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ui.tsx").write_text("export default {};\n")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"plain": "./agent.py:graph"}, "ui": ui}))
    with pytest.raises(RuntimeError, match=text):
        LiveServer(tmp_path / "langgraph.json", tmp_path / "server").start()


def test_a_source_with_a_fault_ends_the_start_with_one_line(tmp_path: Path) -> None:
    project = typescript_project(HERE, tmp_path / "project")
    (project / "src" / "ui.tsx").write_text("export default {;\n")
    with pytest.raises(RuntimeError, match=r"ui does not build: .*src/ui\.tsx:1:16"):
        LiveServer(project / "langgraph.json", tmp_path / "server").start()


@pytest.mark.parametrize(
    ("name", "variable"), [("a-b.c", "__LGUI_a_b_c"), ("ünï", "__LGUI__n_"), ("a\U0001f600", "__LGUI_a__")]
)
def test_variables_are_named_as_the_bundler_names_them(name: str, variable: str) -> None:
    assert global_name(name) == variable
