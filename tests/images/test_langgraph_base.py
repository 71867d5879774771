"""Images of `langgraph build --base-image` on langlog's base: each instruction finds its files, and langlog honours its variables.

The Dockerfile is langgraph-cli's own. Its files are laid out as its ADD and COPY do, and langlog starts there with its ENV.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_sync_client

from tests.stack.server import LiveServer

from .projects import instructions, project

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
AGENT = """
from typing import TypedDict
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from shared_code import shout

class State(TypedDict, total=False):
    text: str

async def node(state: State, runtime: Runtime) -> State:
    await runtime.store.aput(("seen",), state["text"], {"text": state["text"]})
    return {"text": shout(state["text"])}

graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
"""
AUTH = """
from langgraph_sdk import Auth
auth = Auth()

@auth.authenticate
async def authenticate(headers):
    if headers.get(b"x-key") != b"secret":
        raise Auth.exceptions.HTTPException(status_code=401)
    return "u1"
"""
APP = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
app = Starlette(routes=[Route("/own", lambda request: JSONResponse({"own": True}))])
"""
EMBED = "def embed(texts):\n    return [[1.0, float(len(text))] for text in texts]\n"


@pytest.fixture
def dockerfile(tmp_path: Path) -> str:
    """Return the LangGraph CLI's Dockerfile of a project with every section that it passes on."""
    file = project(
        tmp_path,
        {
            "agent.py": AGENT,
            "auth.py": AUTH,
            "app.py": APP,
            "embed.py": EMBED,
            "lib/shared_code.py": "shout = str.upper\n",
        },
        python_version="3.12",
        dependencies=[".", "./lib"],
        auth={"path": "./auth.py:auth"},
        http={"app": "./app.py:app", "mount_prefix": "/api", "enable_custom_route_auth": True},
        store={"index": {"embed": "/deps/outer-app/src/embed.py:embed", "dims": 2}},
        checkpointer={"ttl": {"default_ttl": 60}},
        webhooks={"url": {"require_https": False}},
    )
    target = tmp_path / "Dockerfile"
    command = [str(Path(sys.executable).with_name("langgraph")), "dockerfile", str(target), "-c", str(file)]
    made = subprocess.run([*command, "--base-image", "langlog"], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    return target.read_text()


def test_each_instruction_finds_in_our_base_what_it_needs(dockerfile: str) -> None:
    lines = instructions(dockerfile)
    assert lines[0] == ("FROM", "langlog:3.12")
    text = "\n".join(value for name, value in lines if name == "RUN")
    assert set(re.findall(r"-c (\S+)", text)) == {"/api/constraints.txt"}
    assert "> /api/constraints.txt" in DOCKERFILE
    assert set(re.findall(r"\brm (/usr/bin/\S+) (/usr/bin/\S+)", text)) == {("/usr/bin/uv", "/usr/bin/uvx")}
    assert "/tmp/uv/bin/uv /tmp/uv/bin/uvx /usr/bin/" in DOCKERFILE
    assert "-e /api" in text
    assert tomllib.loads((ROOT / "deploy/image/api/pyproject.toml").read_text())["build-system"]
    known = {"FROM", "ADD", "COPY", "RUN", "ENV", "WORKDIR"}
    assert {name for name, _ in lines} <= known, "no USER, CMD or ENTRYPOINT: those of the base hold"
    assert not re.search(r"/storage/", text)


def test_the_constraints_are_the_ranges_that_langlog_works_with() -> None:
    """By the very line of the Dockerfile that writes them."""
    (command,) = re.findall(r'^RUN python -c "(.+)" > /api/constraints.txt$', DOCKERFILE, re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(lines) == len(named) + 1
    assert lines[0].startswith("langlog==")
    assert {re.split(r"[^\w.-]", line)[0] for line in lines[1:]} == {re.split(r"[^\w.-]", line)[0] for line in named}


def test_langlog_serves_what_its_variables_say(dockerfile: str, tmp_path: Path) -> None:
    lines = instructions(dockerfile)
    deps = tmp_path / "deps"
    for name, value in lines:
        if name == "ADD":
            source, target = value.split()
            shutil.copytree(tmp_path / "app" / source, deps / target.removeprefix("/deps/"), dirs_exist_ok=True)
    env: dict[str, str] = {}
    for name, value in lines:
        if name == "ENV":
            variable, _, text = value.partition("=")
            env[variable] = text.strip("'").replace("/deps/", f"{deps}/")
    assert set(env) == {
        *("LANGSERVE_GRAPHS", "LANGGRAPH_AUTH", "LANGGRAPH_HTTP", "LANGGRAPH_STORE", "LANGGRAPH_CHECKPOINTER"),
        "LANGGRAPH_WEBHOOKS",
    }
    (place,) = [value for name, value in lines if name == "WORKDIR"]
    folder = deps / place.removeprefix("/deps/")
    for graph in json.loads(env["LANGSERVE_GRAPHS"]).values():
        assert Path(graph.partition(":")[0]).is_file()
    # `pip install -e` of each folder puts it on the path; the project's own langgraph.json is not read for what variables say
    (folder / "langgraph.json").write_text('{"dependencies": ["./lib"], "graphs": {"other": "./gone.py:graph"}}')
    with LiveServer(folder / "langgraph.json", tmp_path / "run", env).up() as server:
        assert httpx.get(f"{server.url}/ok").json()["ok"] is True
        assert httpx.get(f"{server.url}/api/own").status_code == 401
        assert httpx.get(f"{server.url}/api/own", headers={"x-key": "secret"}).json() == {"own": True}
        client = get_sync_client(url=f"{server.url}/api", headers={"x-key": "secret"})
        assert [assistant["graph_id"] for assistant in client.assistants.search()] == ["agent"]
        assert client.runs.wait(None, "agent", input={"text": "hi"}) == {"text": "HI"}
        (item,) = client.store.search_items(["seen"], query="hi")["items"]
        assert item["score"] is not None


def test_without_a_file_the_variables_are_enough(dockerfile: str, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(
        "from langgraph.graph import *\n" + AGENT.replace("from shared_code import shout", "shout = str.upper")
    )
    env = {"LANGSERVE_GRAPHS": json.dumps({"agent": f"{tmp_path}/agent.py:graph"})}
    (tmp_path / "empty").mkdir()
    with LiveServer(tmp_path / "empty" / "langgraph.json", tmp_path / "run", env).up() as server:
        client = get_sync_client(url=server.url)
        assert client.runs.wait(None, "agent", input={"text": "hi"}) == {"text": "HI"}
