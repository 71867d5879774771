"""Data that outlives the server: threads, runs, checkpoints and the store of a data folder; and projects with awkward names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph_sdk import get_client, get_sync_client

from tests.e2e.conftest import PROJECT
from tests.e2e.test_runs import started
from tests.stack.server import LiveServer

NAMESAKES = Path(__file__).parent / "namesakes" / "langgraph.json"


async def test_a_restart_on_the_same_data_folder_loses_nothing(tmp_path: Path) -> None:
    server = LiveServer(PROJECT, tmp_path)
    with server.up():
        async with get_client(url=server.url) as client:
            thread = (await client.threads.create(metadata={"k": 1}))["thread_id"]
            await client.runs.wait(thread, "interrupting", input={"draft": "x"})
            await client.runs.wait(None, "memory", input={"user": "ada", "remember": "tea"})
            assistant = await client.assistants.create("echo", name="kept")
            before = await client.threads.get(thread)
            history = await client.threads.get_history(thread, limit=10)
            runs = await client.runs.list(thread)
            busy = (await client.threads.create())["thread_id"]
            run = await started(client, busy, seconds=5.0)
    assert server.stop() == 0
    with server.up():
        async with get_client(url=server.url) as client:
            assert await client.threads.get(thread) == before
            assert await client.threads.get_history(thread, limit=10) == history
            assert await client.runs.list(thread) == runs
            assert await client.assistants.get(assistant["assistant_id"]) == assistant
            values: Any = await client.runs.wait(thread, "interrupting", command={"resume": "yes"})
            assert values["final"] == "draft of x -> yes"
            recalled: Any = await client.runs.wait(None, "memory", input={"user": "ada"})
            assert recalled["recalled"] == ["tea"]
            ended: Any = await client.runs.join(busy, run)
            assert ended["done"] == ["begin:first", "slept:first"], "a run that was under way goes on"


def test_a_project_with_modules_named_like_ours_runs(tmp_path: Path) -> None:
    with LiveServer(NAMESAKES, tmp_path).up() as server, get_sync_client(url=server.url) as client:
        assert client.runs.wait(None, "names", input={"text": "it"}) == {"text": "worked on it"}
