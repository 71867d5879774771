"""What a graph asks: shown everywhere with the answer that it wants, and answered by who may still answer it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
from a2a.types.a2a_pb2 import Part
from google.protobuf.json_format import MessageToDict
from langgraph_sdk.client import LangGraphClient

from tests.e2e.test_agent_protocols import agent_of
from tests.protocol.following import Thread
from tests.stack.server import LiveServer

LIMIT_S = 90.0
DECISION = {
    "title": "Decision",
    "type": "object",
    "properties": {
        "approved": {"title": "Approved", "type": "boolean"},
        "why": {"title": "Why", "type": "string", "default": ""},
    },
    "required": ["approved"],
}
RATING = {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S)) as found:
        yield found


async def test_states_and_threads_show_the_answer_that_a_question_wants(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    output: Any = await client.runs.wait(thread, "asking", input={"messages": []})
    [told] = output["__interrupt__"]
    assert told["response_schema"] == DECISION
    asked = {"id": told["id"], "value": "approve?", "response_schema": DECISION}
    state: Any = await client.threads.get_state(thread)
    assert (state["interrupts"], state["tasks"][0]["interrupts"]) == ([asked], [asked])
    at = await client.threads.get_state(thread, checkpoint=state["checkpoint"])
    assert at["interrupts"] == [asked]
    [latest] = await client.threads.get_history(thread, limit=1)
    assert latest["interrupts"] == [asked]
    found: Any = await client.threads.get(thread)
    assert list(found["interrupts"].values()) == [[asked]]
    [listed] = await client.threads.search(ids=[thread], select=["interrupts"])
    assert listed == {"interrupts": found["interrupts"]}


async def test_a_question_that_wants_no_particular_answer_shows_as_before(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    output: Any = await client.runs.wait(thread, "asking_twice", input={"messages": []})
    wanted = {i["value"]: i["response_schema"] for i in output["__interrupt__"]}
    assert wanted == {"how many stars?": RATING, "any comment?": None}
    interrupts: list[Any] = (await client.threads.get_state(thread))["interrupts"]
    assert {i["value"]: i.keys() - {"id", "value"} for i in interrupts} == {
        "how many stars?": {"response_schema"},
        "any comment?": set(),
    }


@pytest.mark.parametrize("through", ["run.start", "runs.wait"])
async def test_the_protocol_tells_it_live_and_afterwards(
    server: LiveServer, client: LangGraphClient, session: aiohttp.ClientSession, through: str
) -> None:
    thread = Thread(session, server.url, str(uuid.uuid4()))
    if through == "run.start":
        await thread.start("asking", {"messages": []})
    else:
        await client.runs.wait(thread.id, "asking", input={"messages": []}, if_not_exists="create")
    for _ in range(2):
        events = await thread.follow(channels=["input", "lifecycle"])
        [asked] = [event.data for event in events if event.method == "input.requested"]
        assert (asked["payload"], asked["response_schema"]) == ("approve?", DECISION)


async def test_an_a2a_task_that_needs_input_says_in_which_shape(server: LiveServer) -> None:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        for streaming in (False, True):
            agent = await agent_of(http, server, "asking", streaming=streaming)
            [*_, last] = await agent.say(Part(text="go"))
            status = last.status_update.status if streaming else last.task.status
            text, wanted = status.message.parts
            assert text.text == "approve?"
            assert MessageToDict(wanted)["data"]["response_schema"] == DECISION
