"""`langlog new`: each template is a sound project that starts without a key, runs, and answers through the SDK."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from langgraph_sdk import get_sync_client
from langlog.main import cli
from langlog.projects.new import TEMPLATES, create
from langlog.projects.validate import validate

from tests.stack.server import LiveServer, free_port
from tests.stack.typescript import typescript_packages

NO_KEYS = {"CHAT_MODEL": "", "OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}


TYPESCRIPT = ("chat-ts",)
SAMPLES = Path(__file__).parents[1] / "js" / "project"


def install_packages(project: Path) -> None:
    """As `npm install` does in it, of packages that are there already: the sample graphs need the same, in versions that fit."""
    wanted = json.loads((project / "package.json").read_text())
    locked = json.loads((SAMPLES / "package.json").read_text())
    for kind in ("dependencies", "devDependencies"):
        assert {name: version.removeprefix("^") for name, version in wanted[kind].items()} == locked[kind]
    (project / "node_modules").symlink_to(typescript_packages(SAMPLES))


@pytest.fixture(scope="module", params=list(TEMPLATES))
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, LiveServer]]:
    """Each template as a project of its own, served by `langlog dev`."""
    folder = tmp_path_factory.mktemp(request.param)
    create(folder / "project", request.param)
    if request.param in TYPESCRIPT:
        install_packages(folder / "project")
    env = NO_KEYS | {"LANGLOG_HEALTH_PORT": str(free_port())}
    with LiveServer(folder / "project" / "langgraph.json", folder, env).up() as server:
        yield request.param, server


def text_of(result: Any) -> str:
    return str(result["messages"][-1]["content"]).strip()


def test_a_template_serves_a_conversation_without_a_key(served: tuple[str, LiveServer]) -> None:
    template, server = served
    {
        "chat": refund_after_approval,
        "chat-ts": refund_after_approval,
        "retrieval": answer_from_documents,
        "team": work_of_a_team,
    }[template](server.url)


def refund_after_approval(url: str) -> None:
    client = get_sync_client(url=url)
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "agent", input={"messages": "refund A-17 25"})
    ((interrupt,),) = client.threads.get(thread)["interrupts"].values()
    call = {"name": "refund", "args": {"order": "A-17", "amount": 25.0}}
    assert interrupt["value"] == {"question": "Give this refund?", "calls": [call]}
    paid = client.runs.wait(thread, "agent", command={"resume": "yes"})
    assert text_of(paid) == "Refunded 25.00 for order A-17."
    client.runs.wait(thread, "agent", input={"messages": "refund B-2 1"})
    refused = client.runs.wait(thread, "agent", command={"resume": "too old"})
    assert text_of(refused) == "Refused: too old"
    other = client.runs.wait(None, "agent", input={"messages": "hello"})
    assert "refund ORDER AMOUNT" in text_of(other)


def answer_from_documents(url: str) -> None:
    client = get_sync_client(url=url)
    documents = {"returns": "Goods can be returned within thirty days.", "delivery": "Delivery takes two days."}
    stored: Any = client.runs.wait(None, "index", input={"documents": documents})
    assert stored["indexed"] == 2
    answered: Any = client.runs.wait(None, "agent", input={"messages": "How long does delivery take?"})
    assert text_of(answered) == "delivery: Delivery takes two days."
    assert [passage["id"] for passage in answered["passages"]] == ["delivery", "returns"]
    found = client.store.search_items(["documents"], query="returned goods", limit=1)["items"]
    assert [item["key"] for item in found] == ["returns"]


def work_of_a_team(url: str) -> None:
    client = get_sync_client(url=url)
    thread = client.threads.create()["thread_id"]
    for question in ("the tides", "the moon"):  # the second question is not answered by the reports of the first
        done: Any = client.runs.wait(thread, "agent", input={"messages": question})
        assert text_of(done) == f"A paragraph. Three facts about {question}."
    assert done["reported"] == ["researcher", "writer"] * 2


def test_its_health_is_answered_beside_its_port(served: tuple[str, LiveServer]) -> None:
    """As the images ask for it: `langlog dev` has a health port like each service."""
    _, server = served
    health = subprocess.run(
        [sys.executable, "-m", "langlog", "health"], env=server.env, capture_output=True, text=True, timeout=60
    )
    assert (health.returncode, health.stdout) == (0, "ok\n")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_sound_and_says_how_to_start_it(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "My Project"
    made = CliRunner().invoke(cli, ["new", str(folder), "--template", template])
    assert made.exit_code == 0, made.output
    typescript = template in TYPESCRIPT
    install = "npm install && " if typescript else ""
    assert made.output.endswith(f"start it by: cd {shlex.quote(str(folder))} && {install}langlog dev\n")
    sources = {"agent.ts", "model.ts", "package.json", "tsconfig.json"}
    assert {path.name for path in folder.iterdir()} >= {
        *(sources if typescript else {"agent.py", "model.py", "requirements.txt"}),
        *("langgraph.json", "README.md", ".gitignore", ".dockerignore", ".env.example"),
    }
    if typescript:
        install_packages(folder)
        assert json.loads((folder / "package.json").read_text())["name"] == "my-project"
    assert (folder / "README.md").read_text().startswith("# my-project\n")
    checked = CliRunner().invoke(validate, ["--strict", "-c", str(folder / "langgraph.json")])
    assert checked.exit_code == 0, checked.output


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("mine")
    refused = CliRunner().invoke(cli, ["new", str(tmp_path), "--template", "chat"])
    assert refused.exit_code == 1
    assert "is not empty" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["agent.py"]


def test_without_a_terminal_both_must_be_given(tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli, ["new", str(tmp_path / "x")])
    assert refused.exit_code == 2
    assert "chat, chat-ts, retrieval, team" in refused.output
    unknown = CliRunner().invoke(cli, ["new", str(tmp_path / "x"), "--template", "agent"])
    assert unknown.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_the_types_of_a_template_in_typescript_hold(tmp_path: Path) -> None:
    create(tmp_path / "project", "chat-ts")
    install_packages(tmp_path / "project")
    done = subprocess.run(["npm", "run", "--silent", "check"], cwd=tmp_path / "project", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
