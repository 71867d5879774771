"""Agents of `langchain` and `deepagents` behave on a server as they do in a process, through the official client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient

MAIL = 'send_mail {"to": "a", "text": "x"}'
Message = dict[str, Any]


def user(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def decisions(*found: dict[str, Any]) -> dict[str, Any]:
    return {"resume": {"decisions": list(found)}}


async def say(client: LangGraphClient, graph: str, text: str, thread_id: str | None = None) -> list[Message]:
    """The conversation after a run that must not fail."""
    values: Any = await client.runs.wait(thread_id, graph, input=user(text))
    return list(values["messages"])


async def test_an_agent_calls_tools_in_turns_and_at_once(client: LangGraphClient) -> None:
    text = 'weather {"place": "Rome"} && weather {"place": "Oslo"}\nweather {"place": "Paris"}'
    messages = await say(client, "plain", text)
    assert [m["type"] for m in messages] == ["human", "ai", "tool", "tool", "ai", "tool", "ai"]
    assert messages[-1]["content"] == "done: sunny in Rome | sunny in Oslo | sunny in Paris"
    assert [call["name"] for call in messages[1]["tool_calls"]] == ["weather", "weather"]


async def test_a_tool_that_fails_is_the_runs_error_with_its_text(client: LangGraphClient) -> None:
    values: Any = await client.runs.wait(None, "plain", input=user('fail {"reason": "no luck"}'), raise_error=False)
    assert values["__error__"] == {"error": "ValueError", "message": "no luck"}


async def test_tokens_of_an_agent_are_streamed_and_make_up_its_answer(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    text, answer = "", None
    async for part in client.runs.stream(
        thread["thread_id"], "plain", input=user("tell me much"), stream_mode=["messages-tuple", "values"]
    ):
        if part.event == "messages" and part.data[0]["type"] == "AIMessageChunk":
            text += part.data[0]["content"]
            assert part.data[1]["langgraph_node"] == "model"
        elif part.event == "values":
            answer = part.data["messages"][-1]
    assert answer is not None
    assert text == answer["content"] == "You said: tell me much"


@pytest.mark.parametrize("modes", ["tools", ["tools", "events"], ["tools", "updates"]])
async def test_calls_of_tools_are_streamed_as_the_library_has_them(client: LangGraphClient, modes: Any) -> None:
    given = user('weather {"place": "Rome"}\nfail {"reason": "no luck"}')
    parts = [part async for part in client.runs.stream(None, "plain", input=given, stream_mode=modes)]
    started, finished, *failed = [part.data for part in parts if part.event == "tools"]
    assert started == {
        "event": "tool-started",
        "tool_call_id": "call-0-0",
        "tool_name": "weather",
        "input": {"place": "Rome"},
    }
    assert finished["output"]["content"] == "sunny in Rome"
    assert finished["output"]["type"] == "tool"
    del finished["output"]
    assert finished == {"event": "tool-finished", "tool_call_id": "call-0-0"}
    assert failed[1:] == [{"event": "tool-error", "tool_call_id": "call-1-0", "message": "no luck"}]
    wanted = {modes} if isinstance(modes, str) else set(modes)
    assert {part.event for part in parts} == {"metadata", "error", *wanted}


@pytest.mark.parametrize(
    ("decision", "result"),
    [
        ({"type": "approve"}, "done: sent 'x' to a"),
        ({"type": "edit", "edited_action": {"name": "send_mail", "args": {"to": "b", "text": "y"}}}, "sent 'y' to b"),
        ({"type": "reject", "message": "too early"}, "too early"),
        ({"type": "respond", "message": "I sent it myself"}, "done: I sent it myself"),
    ],
)
async def test_a_human_decides_about_a_tool_call(
    client: LangGraphClient, decision: dict[str, Any], result: str
) -> None:
    thread = await client.threads.create()
    values: Any = await client.runs.wait(thread["thread_id"], "approving", input=user(MAIL))
    (asked,) = values["__interrupt__"]
    assert asked["value"]["action_requests"][0]["args"] == {"to": "a", "text": "x"}
    assert asked["value"]["review_configs"][0]["allowed_decisions"] == ["approve", "edit", "reject", "respond"]
    waiting = await client.threads.get(thread["thread_id"])
    assert waiting["status"] == "interrupted"
    assert [i["id"] for entry in waiting["interrupts"].values() for i in entry] == [asked["id"]]
    after: Any = await client.runs.wait(thread["thread_id"], "approving", command=decisions(decision))
    assert result in after["messages"][-1]["content"]
    assert (await client.threads.get(thread["thread_id"]))["status"] == "idle"


async def test_calls_that_need_no_approval_wait_for_those_that_do(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    text = f'{MAIL} && weather {{"place": "Rome"}} && send_mail {{"to": "b", "text": "x"}}'
    values: Any = await client.runs.wait(thread["thread_id"], "approving", input=user(text))
    assert len(values["__interrupt__"][0]["value"]["action_requests"]) == 2
    command = decisions({"type": "approve"}, {"type": "reject", "message": "not him"})
    after: Any = await client.runs.wait(thread["thread_id"], "approving", command=command)
    results = {m["tool_call_id"]: m["content"] for m in after["messages"] if m["type"] == "tool"}
    assert results["call-0-0"] == "sent 'x' to a"
    assert results["call-0-1"] == "sunny in Rome"
    assert "not him" in results["call-0-2"]


async def test_a_wrong_number_of_decisions_fails_the_run_with_the_middlewares_own_words(
    client: LangGraphClient,
) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "approving", input=user(MAIL))
    wrong: Any = await client.runs.wait(thread["thread_id"], "approving", command=decisions(), raise_error=False)
    assert wrong["__error__"]["error"] == "ValueError"
    assert "Number of human decisions (0)" in wrong["__error__"]["message"]


async def test_each_call_asks_by_itself_says_what_it_takes_and_is_answered_by_its_id(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    text = f'{MAIL} && send_mail {{"to": "b", "text": "y"}}'
    values: Any = await client.runs.wait(thread["thread_id"], "each_call", input=user(text))
    asked = values["__interrupt__"]
    assert [i["value"]["args"]["to"] for i in asked] == ["a", "b"]
    state = await client.threads.get_state(thread["thread_id"])
    shown = {i["id"]: i for task in state["tasks"] for i in task["interrupts"]}
    assert set(shown) == {i["id"] for i in asked}
    for entry in (*asked, *shown.values()):
        assert entry["response_schema"]["discriminator"]["propertyName"] == "type"
    answers = {asked[0]["id"]: {"type": "reject", "message": "no"}, asked[1]["id"]: {"type": "approve"}}
    after: Any = await client.runs.wait(thread["thread_id"], "each_call", command={"resume": answers})
    assert after["messages"][-1]["content"].endswith("sent 'y' to b")


async def test_a_structured_answer_is_json_in_the_values(client: LangGraphClient) -> None:
    text = 'weather {"place": "Rome"}\nReport {"place": "Rome", "degrees": 20}'
    values: Any = await client.runs.wait(None, "structured", input=user(text))
    assert values["structured_response"] == {"place": "Rome", "degrees": 20}


async def test_a_long_conversation_is_summarized_and_goes_on(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    for text in ("one", "two", "three"):
        await say(client, "summarizing", text, thread["thread_id"])
    messages = await say(client, "summarizing", "four", thread["thread_id"])
    assert len(messages) < 6
    assert "the summary" in messages[0]["content"]
    assert messages[-1]["content"] == "You said: four"
    history = await client.threads.get_history(thread["thread_id"], limit=1_000)
    assert max(len(state["values"].get("messages", ())) for state in history) >= 6, "the past is what it was"


async def test_a_deep_agent_keeps_files_and_has_subagents_whose_steps_are_streamed(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    task = json.dumps({"description": 'weather {"place": "Rome"}', "subagent_type": "reporter"})
    text = f'write_file {{"file_path": "/a.txt", "content": "hello"}}\ntask {task}'
    namespaces, tools = set(), []
    values: Any = None
    async for part in client.runs.stream(
        thread["thread_id"], "deep", input=user(text), stream_mode=["updates", "values", "tools"], stream_subgraphs=True
    ):
        mode, _, namespace = part.event.partition("|")
        if mode == "tools" and part.data["event"] == "tool-started":
            tools.append((namespace.partition(":")[0], part.data["tool_name"]))
        namespaces.add(namespace.partition(":")[0])
        if part.event == "values":
            values = part.data
        assert mode != "error", part.data
    assert namespaces >= {"", "tools"}
    assert tools == [("", "write_file"), ("", "task"), ("tools", "weather")]
    assert values["files"]["/a.txt"]["content"] == "hello"
    assert values["messages"][-1]["content"].endswith("done: sunny in Rome")
    again = await say(client, "deep", 'read_file {"file_path": "/a.txt"}', thread["thread_id"])
    assert again[-1]["content"].endswith("hello")
    state: Any = (await client.threads.get_state(thread["thread_id"]))["values"]
    assert state["files"]["/a.txt"]["content"] == "hello"


async def test_a_person_changes_a_deep_agents_files_between_runs(client: LangGraphClient) -> None:
    """Requests of deep-agents-ui when a user edits a file in it."""
    thread = await client.threads.create()
    await say(client, "deep", 'write_file {"file_path": "/a.txt", "content": "hello"}', thread["thread_id"])
    state: Any = (await client.threads.get_state(thread["thread_id"]))["values"]
    files = {**state["files"], "/a.txt": {**state["files"]["/a.txt"], "content": "changed"}}
    await client.threads.update_state(thread["thread_id"], {"files": files})
    messages = await say(client, "deep", 'read_file {"file_path": "/a.txt"}', thread["thread_id"])
    assert messages[-1]["content"].endswith("changed")


async def test_a_deep_agent_waits_for_an_approval(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    values: Any = await client.runs.wait(thread["thread_id"], "deep", input=user(MAIL))
    assert values["__interrupt__"][0]["value"]["action_requests"][0]["name"] == "send_mail"
    after: Any = await client.runs.wait(thread["thread_id"], "deep", command=decisions({"type": "approve"}))
    assert after["messages"][-1]["content"] == "done: sent 'x' to a"


async def all_ended(client: LangGraphClient, thread_id: str) -> None:
    for run in await client.runs.list(thread_id):
        await client.runs.join(thread_id, run["run_id"])


async def test_an_asynchronous_subagent_works_on_its_own_thread_and_wakes_its_parent(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    work = 'wait_for_parent\nweather {"place": "Rome"}'
    start = json.dumps({"description": work, "subagent_type": "helper"})
    messages = await say(client, "boss", f"start_async_task {start}", thread["thread_id"])
    task_id = messages[-1]["content"].rpartition("task_id: ")[2]
    (child,) = await client.threads.search(metadata={"parent_thread_id": thread["thread_id"]})
    assert child["thread_id"] == task_id
    assert (child["metadata"] or {})["subagent_name"] == "helper"
    await all_ended(client, task_id)  # by then it has told its parent, which was idle: in a run of its own
    assert len(await client.runs.list(thread["thread_id"])) == 2
    await all_ended(client, thread["thread_id"])
    state: Any = (await client.threads.get_state(thread["thread_id"]))["values"]
    assert state["async_tasks"][task_id]["status"] == "success"
    notes = [m for m in state["messages"] if "deepagents_notification" in (m.get("additional_kwargs") or {})]
    assert notes
    assert notes[0]["additional_kwargs"]["deepagents_notification"]["task_id"] == task_id
    assert "sunny in Rome" in json.dumps(notes[0]["content"])


async def test_an_asynchronous_subagent_that_waits_for_its_user_says_so_and_goes_on(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    start = json.dumps({"description": MAIL, "subagent_type": "helper"})
    messages = await say(client, "boss", f"start_async_task {start}", thread["thread_id"])
    task_id = messages[-1]["content"].rpartition("task_id: ")[2]
    (run,) = await client.runs.list(task_id)
    await client.runs.join(task_id, run["run_id"])
    check = f'check_async_task {{"task_id": "{task_id}"}}'
    messages = await say(client, "boss", check, thread["thread_id"])
    decoded = json.loads(next(m for m in reversed(messages) if m["type"] == "tool")["content"])
    assert decoded["status"] == "waiting"
    assert decoded["interrupts"][0]["value"]["action_requests"][0]["name"] == "send_mail"
    await client.runs.wait(task_id, "worker", command=decisions({"type": "approve"}))
    check = await say(client, "boss", check, thread["thread_id"])
    assert "sent 'x' to a" in json.dumps(check)
