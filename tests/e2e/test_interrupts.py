"""Interrupts: shown everywhere with the schema of the answer, and answered while they are open."""

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
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S)) as opened:
        yield opened


async def test_states_and_threads_show_the_answer_that_a_question_wants(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    output: Any = await client.runs.wait(thread, "asking", input={"messages": []})
    [received] = output["__interrupt__"]
    assert received["response_schema"] == DECISION
    asked = {"id": received["id"], "value": "approve?", "response_schema": DECISION}
    state: Any = await client.threads.get_state(thread)
    assert (state["interrupts"], state["tasks"][0]["interrupts"]) == ([asked], [asked])
    at = await client.threads.get_state(thread, checkpoint=state["checkpoint"])
    assert at["interrupts"] == [asked]
    [latest] = await client.threads.get_history(thread, limit=1)
    assert latest["interrupts"] == [asked]
    result: Any = await client.threads.get(thread)
    assert list(result["interrupts"].values()) == [[asked]]
    [listed] = await client.threads.search(ids=[thread], select=["interrupts"])
    assert listed == {"interrupts": result["interrupts"]}


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


# --- strict_resume ------------------------------------------------------------------------------


async def _waiting(client: LangGraphClient, graph: str = "asking") -> tuple[str, list[str]]:
    """Return a thread that waits for answers, and the ids of its interrupts."""
    thread = (await client.threads.create())["thread_id"]
    output: Any = await client.runs.wait(thread, graph, input={"messages": []})
    return thread, [asked["id"] for asked in output["__interrupt__"]]


async def _looks(client: LangGraphClient, thread: str) -> Any:
    """Return a thread as clients see it, without the times of the queries."""
    result: Any = await client.threads.get(thread)
    return {name: value for name, value in result.items() if name != "updated_at"}


YES = {"approved": True}
STRANGER = "f" * 32


async def test_a_strict_answer_that_nobody_waits_for_fails_and_leaves_the_thread(client: LangGraphClient) -> None:
    info: Any = await client.http.get("/info")
    assert info["flags"]["strict_resume"] is True
    thread, [asked] = await _waiting(client)
    before, history = await _looks(client, thread), await client.threads.get_history(thread)
    strict: dict[str, Any] = {"command": {"resume": {STRANGER: YES}}, "strict_resume": True, "metadata": {"m": 1}}
    answer: Any = await client.runs.wait(thread, "asking", raise_error=False, **strict)
    assert answer["__error__"] == {
        "error": "UnknownInterruptError",
        "message": f"Unknown or already-consumed interrupt: {STRANGER}",
    }
    parts = [part async for part in client.runs.stream(thread, "asking", **strict)]
    assert [(part.event, part.data["error"]) for part in parts] == [("error", "UnknownInterruptError")]
    run = await client.runs.create(thread, "asking", **strict)
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "error"
    assert await _looks(client, thread) == before
    assert await client.threads.get_history(thread) == history

    taken: Any = await client.runs.wait(thread, "asking", command={"resume": {asked: YES}}, strict_resume=True)
    assert taken["answers"] == [{**YES, "why": ""}]
    again: Any = await client.runs.wait(
        thread, "asking", command={"resume": {asked: YES}}, strict_resume=True, raise_error=False
    )
    assert again["__error__"]["error"] == "UnknownInterruptError"
    lenient: Any = await client.runs.wait(thread, "asking", command={"resume": {asked: YES}}, raise_error=False)
    assert "__error__" not in lenient, "without strictness such an answer is ignored"
    state = await client.threads.get_state(thread)
    assert state["values"]["answers"] == [{**YES, "why": ""}]


async def test_one_strict_value_for_two_questions_is_ambiguous(client: LangGraphClient) -> None:
    thread, asked = await _waiting(client, "asking_twice")
    answer: Any = await client.runs.wait(
        thread, "asking_twice", command={"resume": "x"}, strict_resume=True, raise_error=False
    )
    assert "multiple pending interrupts" in answer["__error__"]["message"]
    both = {id: {"stars": 1} for id in asked}
    result: Any = await client.runs.wait(thread, "asking_twice", command={"resume": both}, strict_resume=True)
    assert result["answers"] == [{"stars": 1}] * 2


async def test_a_strict_answer_to_an_earlier_checkpoint_is_judged_there(client: LangGraphClient) -> None:
    thread, [asked] = await _waiting(client)
    [latest] = await client.threads.get_history(thread, limit=1)
    before = await _looks(client, thread)
    wrong: Any = await client.runs.wait(
        thread,
        "asking",
        command={"resume": {STRANGER: YES}},
        checkpoint=latest["checkpoint"],
        strict_resume=True,
        raise_error=False,
    )
    assert wrong["__error__"]["error"] == "UnknownInterruptError"
    after = await _looks(client, thread)
    for name in ("status", "values", "interrupts", "error"):
        assert after[name] == before[name]
    right: Any = await client.runs.wait(
        thread,
        "asking",
        command={"resume": {asked: YES}},
        checkpoint=latest["checkpoint"],
        strict_resume=True,
    )
    assert right["answers"] == [{**YES, "why": ""}]


async def test_who_follows_a_thread_hears_what_is_answered_and_what_is_refused(
    server: LiveServer, client: LangGraphClient, session: aiohttp.ClientSession
) -> None:
    thread = Thread(session, server.url, str(uuid.uuid4()))
    await thread.start("asking", {"messages": []})
    [asked] = [e for e in await thread.follow(channels=["input", "lifecycle"]) if e.method == "input.requested"]
    id = asked.data["interrupt_id"]
    wrong = await thread.command("input.respond", namespace=[], interrupt_id=STRANGER, response=1)
    assert (wrong["type"], wrong["error"]) == ("error", "no_such_interrupt")
    strict = await thread.command("input.respond", interrupt_id=STRANGER, response=1, strict_resume=True, namespace=[])
    assert strict["type"] == "success"
    for _ in range(2):  # live, then from what is stored
        received = await thread.follow(lambda e: e.root("failed"), asked.seq, channels=["input", "lifecycle"])
        assert [e.method for e in received[-3:]] == ["lifecycle", "input.answered", "lifecycle"]
        assert received[-2].data == {"interrupt_ids": [STRANGER]}
        assert {name: received[-1].data[name] for name in ("reason", "interrupt_ids", "pending_ids")} == {
            "reason": "not_pending",
            "interrupt_ids": [STRANGER],
            "pending_ids": [id],
        }
    assert (await thread.get())["status"] == "interrupted"
    last = received[-1].seq
    await thread.command("input.respond", namespace=[], interrupt_id=id, response=YES, strict_resume=True)
    received = await thread.follow(lambda e: e.root("completed", "failed"), last, channels=["input", "lifecycle"])
    assert [e.method for e in received] == ["lifecycle", "input.answered", "lifecycle"]
    assert received[1].data == {"interrupt_ids": [id]}
    assert received[-1].data["event"] == "completed"
