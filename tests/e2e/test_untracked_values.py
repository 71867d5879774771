"""Channels of kind UntrackedValue: part of a run's output and stream, as in process, and of nothing that the thread keeps."""

from __future__ import annotations

import importlib.util
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient

from tests.protocol.following import Thread
from tests.stack.server import LiveServer

FILE = Path(__file__).parent / "project" / "untracked.py"
CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def library() -> Any:
    """The same graph in this process, with a checkpointer of langgraph."""
    spec = importlib.util.spec_from_file_location("untracked", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.builder.compile(checkpointer=InMemorySaver())


async def same_state(client: LangGraphClient, thread: str, library: Any) -> None:
    """Compare what the server keeps of the thread with what langgraph keeps."""
    expected = await library.aget_state(CONFIG)
    state: Any = await client.threads.get_state(thread)
    assert state["values"] == expected.values
    assert state["next"] == list(expected.next)
    kept = await client.threads.get(thread)
    assert kept["values"] == expected.values
    assert (await client.threads.search(ids=[thread], extract={"token": "values.token"}))[0]["extracted"] == {
        "token": None
    }
    history = await client.threads.get_history(thread, limit=100)
    before = [snapshot async for snapshot in library.aget_state_history(CONFIG)]
    assert [entry["values"] for entry in history] == [snapshot.values for snapshot in before]
    assert [[task.get("result") for task in entry["tasks"]] for entry in history] == [
        [task.result for task in snapshot.tasks] for snapshot in before
    ]


def plain(output: Any) -> Any:
    """Return an output of the library without its own objects."""
    interrupts = output.pop("__interrupt__", None)
    return output if interrupts is None else {**output, "__interrupt__": [one.value for one in interrupts]}


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_run_gives_what_the_library_gives_and_the_thread_keeps_what_it_keeps(
    client: LangGraphClient, library: Any, durability: Any
) -> None:
    thread = (await client.threads.create())["thread_id"]
    given = {"steps": 1, "token": "secret"}
    expected = await library.ainvoke(given, CONFIG, durability=durability)
    assert expected["token"] == "made from secret"
    output = await client.runs.wait(thread, "untracked", input=given, durability=durability)
    assert output == expected
    [run] = await client.runs.list(thread)
    assert await client.runs.join(thread, run["run_id"]) == expected
    await same_state(client, thread, library)
    again = {"steps": 5}
    assert await client.runs.wait(thread, "untracked", input=again, durability=durability) == await library.ainvoke(
        again, CONFIG, durability=durability
    )
    await same_state(client, thread, library)


async def test_a_stop_for_a_human_gives_them_and_forgets_them(client: LangGraphClient, library: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    given = {"steps": 1, "token": "secret", "ask": True}
    expected = plain(await library.ainvoke(given, CONFIG))
    output: Any = await client.runs.wait(thread, "untracked", input=given)
    output["__interrupt__"] = [one["value"] for one in output["__interrupt__"]]
    assert output == expected
    assert output["token"] == "made from secret"
    await same_state(client, thread, library)
    expected = await library.ainvoke(Command(resume="yes"), CONFIG)
    assert await client.runs.wait(thread, "untracked", command={"resume": "yes"}) == expected
    assert expected["seen"] == "None"
    await same_state(client, thread, library)


async def test_a_stop_before_a_node_and_an_update_keep_none(client: LangGraphClient, library: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    given = {"steps": 1, "token": "secret"}
    expected = await library.ainvoke(given, CONFIG, interrupt_before=["second"])
    assert await client.runs.wait(thread, "untracked", input=given, interrupt_before=["second"]) == expected
    await same_state(client, thread, library)
    await library.aupdate_state(CONFIG, {"steps": 7, "token": "updated"})
    await client.threads.update_state(thread, {"steps": 7, "token": "updated"})
    await same_state(client, thread, library)


async def test_a_run_that_fails_keeps_none(client: LangGraphClient, library: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    given = {"steps": 1, "token": "secret", "failing": True}
    with pytest.raises(ValueError, match="failing"):
        await library.ainvoke(given, CONFIG)
    await client.runs.wait(thread, "untracked", input=given, raise_error=False)
    await same_state(client, thread, library)


@pytest.mark.parametrize("given", [{}, {"ask": True}])
async def test_a_run_of_the_streaming_protocol_keeps_none(
    server: LiveServer, client: LangGraphClient, library: Any, given: dict[str, Any]
) -> None:
    async with aiohttp.ClientSession() as http:
        thread = Thread(http, server.url, str(uuid.uuid4()))
        given = {"steps": 1, "token": "secret", **given}
        await thread.start("untracked", given)
        await thread.follow()
    await library.ainvoke(given, CONFIG)
    await same_state(client, thread.id, library)
