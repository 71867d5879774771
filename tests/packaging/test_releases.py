"""A real server runs graphs on the lowest and the newest releases that pyproject.toml allows, and on every other Python here.

Environments are made by uv, in seconds where its cache has the wheels. `make test-lowest` runs the whole suite on the lowest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.packaging.test_wheels import PYTHONS
from tests.stack.lowest import lowest
from tests.stack.server import LiveServer
from tests.stack.uv import ROOT, make_venv, uv, versions

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
FAMILY = ("langgraph", "langgraph-checkpoint", "langgraph-prebuilt", "langgraph-sdk")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def found_pythons() -> dict[str, str]:
    """Version -> a Python of that version that can make environments, this one's left out: on the PATH, or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    members: dict[str, str] = {}
    for version in PYTHONS:
        places = [shutil.which(f"python{version}"), *(pyenv.glob(f"{version}.*/bin/python{version}"))]
        for place in places:
            if place is None or version == HERE or version in members:
                continue
            code = "import sys; print('%d.%d' % sys.version_info[:2])"
            done = subprocess.run([place, "-c", code], capture_output=True, text=True, timeout=60)
            if done.stdout.strip() == version:
                members[version] = str(place)
    return members


OTHERS = found_pythons()


def without_family(folder: Path) -> Path:
    """The locked versions of everything but langgraph."""
    file = folder / "others.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    file.write_text("\n".join(line for line in lines if line.partition("==")[0] not in FAMILY))
    return file


def drive(client: SyncLangGraphClient) -> None:
    """Through what most projects do (see `agent.py`)."""
    assistants = client.assistants.search()
    assert {one["graph_id"] for one in assistants} == {"agent", "chat", "factory"}
    ids = {one["graph_id"]: one["assistant_id"] for one in assistants}
    schemas = client.assistants.get_schemas(ids["agent"])
    assert {"messages", "parts", "plan", "answer"} <= schemas["state_schema"]["properties"].keys()
    assert {one["id"] for one in client.assistants.get_graph(ids["agent"], xray=True)["nodes"]} >= {"plan", "ask"}

    for graph in ("agent", "factory"):
        thread = client.threads.create()["thread_id"]
        given: Any = {"messages": [{"role": "user", "content": "hello"}]}
        parts = list(
            client.runs.stream(
                thread, graph, input=given, stream_mode=["values", "custom", "messages-tuple", "updates"]
            )
        )
        assert not [part for part in parts if part.event == "error"], parts
        assert [part.data for part in parts if part.event == "custom"] == [{"planning": True}]
        assert client.threads.get(thread)["status"] == "interrupted"
        state = client.threads.get_state(thread)
        assert state["next"] == ["ask"]
        assert state["values"]["plan"] == {"steps": 3}
        assert state["tasks"][0]["interrupts"][0]["value"] == {"question": "go on?", "steps": 3}

        values: Any = client.runs.wait(thread, graph, command={"resume": "yes"})
        assert sorted(values["parts"]) == [0, 0, 1, 2, 10, 20]
        assert values["answer"] == "yes"
        assert [message["content"] for message in values["messages"]] == ["hello", "planned", "answered yes"]
        history = client.threads.get_history(thread)
        assert history[0]["next"] == []
        assert ["ask"] in [one["next"] for one in history]

        edited = client.threads.update_state(thread, {"answer": "edited"}, as_node="ask")
        assert client.threads.get_state(thread)["values"]["answer"] == "edited"
        assert edited["checkpoint"]["thread_id"] == thread
    assert {item["key"] for item in client.store.search_items(("parts",))["items"]} == {"0", "1", "2"}

    answer: Any = client.runs.wait(None, "chat", input={"messages": [{"role": "user", "content": "hello"}]})
    assert answer["messages"][-1]["type"] == "ai"


def run_on(python: Path, folder: Path) -> None:
    with (
        LiveServer(PROJECT, folder, python=python).up() as live,
        get_sync_client(url=live.url, headers={"Authorization": "Bearer in"}) as client,
    ):
        drive(client)


@pytest.fixture(scope="session")
def lowest_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("lowest")
    limits = folder / "lowest.txt"
    limits.write_text("\n".join(lowest()))
    yield make_venv(folder / "venv", sys.executable, "--constraints", limits, "--editable", ".")


def test_a_server_runs_on_the_lowest_releases(lowest_python: Path, tmp_path: Path) -> None:
    assert versions(lowest_python)["langgraph"].startswith("1.0.")
    run_on(lowest_python, tmp_path)


def test_a_server_runs_on_the_newest_langgraph(tmp_path: Path) -> None:
    """Skipped if that is the locked one, on which all other tests run."""
    limits = without_family(tmp_path)
    resolved = uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--constraints", limits),
        *("--python", sys.executable, "pyproject.toml"),
    )
    newest = {line for line in resolved.splitlines() if line.partition("==")[0] in FAMILY}
    if newest <= set((ROOT / "constraints.txt").read_text().splitlines()):
        return
    run_on(make_venv(tmp_path / "venv", sys.executable, "--constraints", limits, "--editable", "."), tmp_path)


@pytest.mark.parametrize("version", OTHERS or [f"none but {HERE}"])
def test_a_server_runs_on_another_python(version: str, tmp_path: Path) -> None:
    """On each that this machine has; where it has none, `test_wheels` has shown that everything resolves for all of them."""
    if version in OTHERS:
        run_on(make_venv(tmp_path / "venv", OTHERS[version], "-c", "constraints.txt", "--editable", "."), tmp_path)
