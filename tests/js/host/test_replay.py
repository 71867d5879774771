"""Past runs of graphs in TypeScript, executed again in a sandbox and compared with what was recorded, on both logs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.js.host import stack
from tests.stack.command_line import langlog
from tests.stack.server import LiveServer, kafka_env

CONFIG = "langgraph.json"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def where(
    request: pytest.FixtureRequest, host_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveServer, Path]]:
    """A server, and its project."""
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    folder = tmp_path_factory.mktemp(f"js-replay-{request.param}")
    project = stack.copied_project(folder / "project")
    with LiveServer(project / CONFIG, folder, {"LANGLOG_WORKERS": "1", **env}).up() as live:
        yield live, project


@pytest.fixture
async def client(where: tuple[LiveServer, Path]) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=where[0].url) as opened:
        yield opened


async def replayed(where: tuple[LiveServer, Path], run: str, *options: str) -> dict[str, Any]:
    server, project = where
    words = ["replay", run, "--config", str(project / CONFIG), "--json", *options]
    done = await asyncio.to_thread(langlog, server, *words)
    assert done.code in (0, 1), done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


async def last_run(client: LangGraphClient, thread: str) -> str:
    return (await client.runs.list(thread, limit=1))[0]["run_id"]


@pytest.mark.parametrize(
    ("graph", "given", "nodes"),
    [
        ("echo", {"text": "hi"}, {"echo"}),
        ("nested", {"trail": []}, {"before", "child", "leaf", "twig", "after"}),
        ("chat", {"messages": [{"role": "user", "content": "hi"}]}, {"model"}),
        ("asking", {"draft": "D"}, {"prepare", "ask"}),
    ],
)
async def test_the_same_code_gives_the_same_run_again_and_changes_nothing(
    client: LangGraphClient, where: tuple[LiveServer, Path], graph: str, given: dict[str, Any], nodes: set[str]
) -> None:
    thread = (await client.threads.create())["thread_id"]
    for _ in range(2):  # the second one begins with what the first has left
        await client.runs.wait(thread, graph, input=given)
    before = await client.threads.get_history(thread)
    result = await replayed(where, await last_run(client, thread))
    assert {step["verdict"] for step in result["steps"]} == {"same"}, result
    assert {node["name"] for step in result["steps"] for node in step["nodes"]} >= nodes
    assert (result["recorded"], result["differences"]) == (result["replayed"], [])
    assert await client.threads.get_history(thread) == before


async def test_an_answer_to_an_interrupt_is_replayed(client: LangGraphClient, where: tuple[LiveServer, Path]) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "asking", input={"draft": "D"})
    await client.runs.wait(thread, "asking", command={"resume": "yes"})
    result = await replayed(where, await last_run(client, thread))
    assert result["recorded"] == result["replayed"] == "success"
    assert {step["verdict"] for step in result["steps"]} == {"same"}, result


async def test_a_changed_graph_differs_in_the_node_that_was_changed(
    client: LangGraphClient, where: tuple[LiveServer, Path]
) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "echo", input={"text": "hi"})
    other = where[1] / "src" / "other.ts"
    other.write_text((where[1] / "src" / "echo.ts").read_text().replace('Said = "said"', 'Said = "sang"'))
    result = await replayed(where, await last_run(client, thread), "--graph", f"{other}:graph")
    nodes = {node["name"]: node for step in result["steps"] for node in step["nodes"]}
    assert nodes["echo"]["verdict"] == "different"
    assert nodes["echo"]["differences"] == [{"path": "seen[0][0]", "recorded": '"said hi"', "replayed": '"sang hi"'}]
    assert result["differences"] == [{"path": "seen[0]", "recorded": '"said hi"', "replayed": '"sang hi"'}]
