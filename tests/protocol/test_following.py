"""Following a thread: the same events for who comes early or late, at any gateway, whatever started the run and whatever dies."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from tests.protocol.conftest import Pair
from tests.protocol.following import ALL, Thread, ThreadEvent, over, times
from tests.stack.releases import stream_transformers

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNT = 40
SLOW = {"count": COUNT, "pause": 0.02}
SPOKEN = {"messages": [{"role": "user", "content": "12"}]}


def states(events: list[ThreadEvent]) -> list[int]:
    return [event.data.get("n", 0) for event in events if event.method == "values"]


async def test_all_followers_are_told_the_same_whenever_they_come(thread: Thread) -> None:
    early = asyncio.create_task(thread.follow())
    await thread.start("steps", SLOW)
    middle = await thread.follow(lambda event: event.data.get("n") == 15)
    late, whole = await asyncio.gather(thread.follow(), early)
    assert middle == whole[: len(middle)]
    assert late == whole == await thread.follow()
    assert states(whole) == list(range(COUNT + 1))
    assert [event.seq for event in whole] == list(range(1, COUNT + 4))


async def test_numbers_go_on_over_all_runs_of_a_thread(thread: Thread) -> None:
    for _ in range(3):
        await thread.start("steps", {"count": 2})
    whole = await thread.follow(times(3))
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    assert [event.data["event"] for event in whole if event.method == "lifecycle"] == ["running", "completed"] * 3
    assert await thread.follow(times(2), since=5) == whole[5:]
    assert await thread.follow(times(1), since=whole[-2].seq, channels=["lifecycle"]) == whole[-1:]


async def test_the_words_of_a_model_come_one_by_one_as_content_blocks(thread: Thread) -> None:
    await thread.start("talker", SPOKEN)
    collected = [event.data for event in await thread.follow() if event.method == "messages"]
    words = "".join(data["delta"]["text"] for data in collected if data["event"] == "content-block-delta")
    assert words == "".join(f"{n} " for n in range(12))
    assert [data["event"] for data in collected if data["event"] != "content-block-delta"] == [
        "message-start",
        "content-block-start",
        "content-block-finish",
        "message-finish",
    ]
    assert sum(data["event"] == "content-block-delta" for data in collected) == 12


@pytest.mark.parametrize("mode", ["messages-tuple", "messages", ["values", "messages-tuple"]])
async def test_a_run_by_rest_that_streams_messages_is_told_in_content_blocks_too(thread: Thread, mode: Any) -> None:
    await thread.start("steps", {"count": 1})
    await thread.post("/runs/wait", {"assistant_id": "talker", "input": SPOKEN, "stream_mode": mode})
    by_rest = await thread.follow(since=4)
    other = Thread(thread.http, thread.url, str(uuid.uuid4()))
    await other.start("talker", SPOKEN)
    by_protocol = await other.follow()

    def said(events: list[ThreadEvent]) -> list[Any]:
        collected = [event.data for event in events if event.method == "messages"]
        return [{name: part for name, part in data.items() if name != "id"} for data in collected]

    assert said(by_rest) == said(by_protocol)
    assert len(said(by_rest)) == 16
    assert states(by_rest)


async def test_a_run_by_rest_is_followed_like_any_other(thread: Thread) -> None:
    await thread.start("steps", {"count": 1})
    await thread.post("/runs/wait", {"assistant_id": "steps", "input": {"count": 3, "n": 0}, "stream_mode": "updates"})
    events = await thread.follow(times(2))
    assert [event.data["event"] for event in events if event.method == "lifecycle"] == ["running", "completed"] * 2
    assert states(events)[-3:] == [1, 2, 3]
    stream = await thread.post("/runs/wait", {"assistant_id": "steps", "input": {"count": 1, "n": 0}})
    assert stream["n"] == 1


async def test_streams_of_rest_show_nothing_of_the_protocol(thread: Thread) -> None:
    body = {"assistant_id": "talker", "input": SPOKEN, "stream_mode": ["values", "messages-tuple"]}
    await thread.start("steps", {"count": 1})
    async with thread.http.post(f"{thread.path}/runs/stream", json=body) as answer:
        text = await answer.text()
    names = {line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")}
    assert names == {"metadata", "values", "messages"}


async def test_tools_tell_when_they_start_and_what_they_say(thread: Thread) -> None:
    await thread.start("tooler", {"messages": []})
    collected = [event.data for event in await thread.follow() if event.method == "tools"]
    assert [data["event"] for data in collected] == ["tool-started", "tool-finished"]
    assert {data["tool_call_id"] for data in collected} == {"call-1"}
    assert collected[0]["tool_name"] == "double"
    assert collected[0]["input"] == {"n": 21}
    assert collected[1]["output"]["content"] == "42"


async def test_what_is_told_of_an_end_can_be_acted_on_at_once(thread: Thread) -> None:
    """Ten conversations without waiting: an interrupt is answered, and the state read, as soon as their events are sent."""

    async def talk(number: int) -> None:
        one = Thread(thread.http, thread.url, f"{thread.id[:-2]}{number:02d}")
        await one.start("asker", {"text": "a"})
        asked = await one.follow(lambda event: event.method == "input.requested")
        question = asked[-1].data
        assert question["payload"] == {"about": "a"}
        answer = {"namespace": [], "interrupt_id": question["interrupt_id"], "response": number}
        assert (await one.command("input.respond", **answer))["type"] == "success"
        again = await one.command("input.respond", **answer)
        assert again["error"] == "no_such_interrupt", "the run that answers is under way, or over"
        received = await one.follow(lambda event: event.root("completed"), since=asked[-1].seq)
        assert (await one.get("/state"))["values"] == {"text": "a", "answer": number}
        assert (await one.get())["status"] == "idle"
        late = await one.command("input.respond", **answer)
        assert late["error"] == "no_such_interrupt"
        assert late["message"] == f"Unknown or already-consumed interrupt: {question['interrupt_id']}"
        resumed = ["lifecycle", "input.answered", *["values"] * 2, "lifecycle"]
        assert [event.method for event in received] == ["lifecycle", "values", *resumed]

    await asyncio.gather(*(talk(number) for number in range(10)))


async def test_an_input_for_a_thread_that_asks_is_the_answer(thread: Thread) -> None:
    await thread.start("asker", {"text": "a"})
    asked = await thread.follow(lambda event: event.method == "input.requested")
    earlier = (await thread.get("/state"))["parent_checkpoint"]["checkpoint_id"]
    await thread.start("asker", {"said": "yes"})
    received = await thread.follow(lambda event: event.root("completed"), since=asked[-1].seq)
    assert received[-1].data["event"] == "completed"
    assert (await thread.get("/state"))["values"] == {"text": "a", "answer": {"said": "yes"}}
    await thread.start("asker", {"text": "b"})
    again = await thread.follow(lambda event: event.method == "input.requested", since=received[-1].seq)
    assert again[-1].data["payload"] == {"about": "b"}, "nothing was asked: it was input"
    await thread.start("asker", {"text": "c"}, config={"configurable": {"checkpoint_id": earlier}})
    anew = await thread.follow(lambda event: event.method == "input.requested", since=again[-1].seq)
    assert anew[-1].data["payload"] == {"about": "c"}, "from an earlier checkpoint it asks anew"


@pytest.mark.parametrize("by", ["protocol", "rest"])
async def test_a_question_has_the_namespace_of_the_graph_that_asks(thread: Thread, by: str) -> None:
    """Clients show it beside the subgraph, and send the namespace with the answer. A run by REST tells it if it streams subgraphs."""
    if by == "protocol":
        await thread.start("outer_asker", {"text": "a"})
    else:
        await thread.start("steps", {"count": 1})
        body = {"assistant_id": "outer_asker", "input": {"text": "a"}, "stream_mode": "updates"}
        await thread.post("/runs/wait", {**body, "stream_subgraphs": True})
    received = await thread.follow(lambda event: event.root("interrupted"))
    (question,) = [event for event in received if event.method == "input.requested"]
    assert [label.partition(":")[0] for label in question.namespace] == ["inner", "asker"]
    labels, id = "\ufffd".join(question.namespace), question.data["interrupt_id"]
    assert json.loads(question.text)["event_id"].endswith(f":input|{labels}|{id}")
    if by == "protocol":
        started = [e.namespace for e in received if e.method == "lifecycle" and e.data["event"] == "started"]
        assert question.namespace in started
    (shown,) = await thread.follow(
        times(1, lambda event: event.method == "input.requested"), channels=["input"], namespaces=[["inner"]]
    )
    assert shown == question
    answer = {"interrupt_id": id, "namespace": question.namespace, "response": "yes"}
    assert (await thread.command("input.respond", **answer))["type"] == "success"
    await thread.follow(lambda event: event.root("completed"), since=received[-1].seq)
    assert (await thread.get("/state"))["values"] == {"text": "a", "answer": "yes"}


@stream_transformers
async def test_what_nodes_write_is_told_when_the_graph_was_compiled_so(thread: Thread) -> None:
    every = {"channels": ["lifecycle", "updates", "custom"]}
    await thread.start("reporter", {"text": "a"})
    events = await thread.follow(**every)
    custom = [{"name": "progress", "done": 1}, {"name": "a|b"}, "plain"]
    assert [e.data for e in events if e.method == "custom"] == custom
    assert [e.data for e in events if e.method == "updates"] == [{"report": {"text": "reported"}}]
    named = await thread.follow(channels=["lifecycle", "custom:progress"])
    assert [e.data for e in named if e.method != "lifecycle"] == custom[:1]
    await thread.start("quiet", {"text": "a"})
    silent = await thread.follow(since=events[-1].seq, **every)
    assert {e.method for e in silent} == {"lifecycle"}


async def test_a_call_of_a_tool_that_a_node_hands_on_is_no_message(thread: Thread) -> None:
    await thread.start("tooler", {"messages": []})
    events = await thread.follow()
    assert [event for event in events if event.method == "messages"] == []
    last = [event.data for event in events if event.method == "values"][-1]
    assert last["messages"][0]["tool_calls"][0]["args"] == {"n": 21}


async def test_a_call_of_a_tool_by_a_model_that_cannot_stream_is_one(thread: Thread) -> None:
    await thread.start("silent", {"messages": []})
    received = [event.data for event in await thread.follow() if event.method == "messages"]
    assert [data["event"] for data in received][:1] == ["message-start"]
    assert any((data.get("content") or {}).get("name") == "double" for data in received), received


async def test_of_answers_given_at_once_at_two_gateways_exactly_one_wins(thread: Thread, pair: Pair) -> None:
    """And every other is answered that the interrupt is taken, whichever gateway asks first and whatever the read model knows
    yet."""

    async def ask(number: int) -> None:
        one = Thread(thread.http, thread.url, f"{thread.id[:-2]}{number:02d}")
        await one.start("asker", {"text": "a"})
        asked = (await one.follow(lambda event: event.method == "input.requested"))[-1].data
        answers = await asyncio.gather(
            *(
                place.command("input.respond", namespace=[], interrupt_id=asked["interrupt_id"], response=said)
                for said, place in enumerate([one, one.at(pair.second_url)] * 3)
            )
        )
        (won,) = (said for said, answer in enumerate(answers) if answer["type"] == "success")
        lost = [answer for answer in answers if answer["type"] == "error"]
        assert {answer["error"] for answer in lost} == {"no_such_interrupt"}
        assert (await one.follow(times(2)))[-1].root("completed")
        assert (await one.get("/state"))["values"] == {"text": "a", "answer": won}
        assert len(await one.get("/runs")) == 2

    await asyncio.gather(*(ask(number) for number in range(5)))


async def test_a_failed_run_says_why(thread: Thread) -> None:
    await thread.start("failing", {"text": "a"})
    last = (await thread.follow())[-1]
    assert last.data == {"event": "failed", "graph_name": "failing", "error": "no luck"}


async def test_a_cancelled_run_is_interrupted_and_the_next_one_goes_on(thread: Thread) -> None:
    following = asyncio.create_task(thread.follow(times(2)))
    run = await thread.start("steps", {"count": 1000, "pause": 0.02})
    await thread.follow(lambda event: event.data.get("n") == 3)
    await thread.post(f"/runs/{run}/cancel?wait=true")
    await thread.start("steps", {"count": 1, "pause": 0, "n": 0})
    result = await following
    ends = [event.data["event"] for event in result if event.method == "lifecycle"]
    assert ends == ["running", "interrupted", "running", "completed"]
    assert [event.seq for event in result] == list(range(1, len(result) + 1))
    assert result == await thread.follow(times(2))


async def test_runs_that_were_removed_leave_no_hole_that_followers_wait_at(thread: Thread) -> None:
    following = asyncio.create_task(thread.follow(lambda event: event.root("completed")))
    run = await thread.start("steps", {"count": 1000, "pause": 0.02})
    await thread.follow(lambda event: event.data.get("n") == 3)
    async with thread.http.delete(f"{thread.path}/runs/{run}") as answer:
        assert answer.status == 204
    await thread.start("steps", {"count": 1, "n": 0})
    ends = [event.data["event"] for event in await following if event.method == "lifecycle"]
    assert ends == ["running", "interrupted", "running", "completed"]
    late = await thread.follow()
    assert [event.data["event"] for event in late if event.method == "lifecycle"] == ["running", "completed"]


async def test_a_thread_that_was_deleted_and_made_again_begins_anew(thread: Thread) -> None:
    await thread.start("steps", {"count": 3})
    await thread.follow()
    async with thread.http.delete(thread.path) as answer:
        assert answer.status == 204
    await thread.start("steps", {"count": 1})
    events = await thread.follow()
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert states(events) == [0, 1]


# --- what may die -------------------------------------------------------------------------------


async def test_two_gateways_tell_the_same(thread: Thread, pair: Pair) -> None:
    other = thread.at(pair.second_url)
    both = asyncio.gather(thread.follow(times(2)), other.follow(times(2)))
    await thread.start("steps", SLOW)
    await other.start("talker", SPOKEN)
    first, second = await both
    assert first == second == await other.follow(times(2))


async def test_a_follower_loses_nothing_when_its_gateway_is_killed(thread: Thread, pair: Pair) -> None:
    other = thread.at(pair.second_url)
    following = asyncio.create_task(other.follow_on(times(2), thread))
    await thread.start("steps", {"count": 80, "pause": 0.02})
    await thread.start("steps", {"count": 80, "pause": 0.02})
    await thread.follow(lambda event: event.data.get("n") == 20)
    await asyncio.to_thread(pair.second.kill)
    results, _ = await asyncio.gather(following, asyncio.to_thread(pair.second.start))
    assert [event.seq for event in results] == list(range(1, len(results) + 1))
    assert results == await other.follow(times(2))


async def test_a_gateway_that_goes_down_breaks_streams_off_so_that_they_go_on_elsewhere(
    thread: Thread, pair: Pair
) -> None:
    other = thread.at(pair.second_url)
    following = asyncio.create_task(other.follow_on(over, thread))
    await thread.start("steps", {"count": 100, "pause": 0.02})
    await thread.follow(lambda event: event.data.get("n") == 20)
    assert await asyncio.to_thread(pair.second.stop) == 0
    results, _ = await asyncio.gather(following, asyncio.to_thread(pair.second.start))
    assert states(results) == list(range(101))


async def test_what_redis_loses_is_told_from_the_recording(thread: Thread, pair: Pair) -> None:
    whole = asyncio.create_task(thread.follow())
    await thread.start("steps", {"count": 100, "pause": 0.02})
    await thread.follow(lambda event: event.data.get("n") == 30)
    await pair.cluster.kill("redis")
    result = await whole
    assert states(result) == list(range(101))
    await pair.cluster.kill("redis")
    assert await thread.follow() == result
    assert await thread.at(pair.second_url).follow(since=50) == result[50:]


async def test_of_a_run_that_was_not_recorded_beginning_and_end_are_told_under_their_numbers(
    thread: Thread, pair: Pair
) -> None:
    await thread.start("steps", {"count": 2})
    await thread.post("/runs/wait", {"assistant_id": "steps", "input": {"count": 30, "n": 0}})
    await thread.post("/runs/wait", {"assistant_id": "failing", "input": {"text": ""}})
    await thread.post("/runs/wait", {"assistant_id": "asker", "input": {"text": "a"}})
    whole = await thread.follow(times(4))
    whole += await thread.follow(lambda event: True, since=whole[-1].seq)
    await pair.cluster.kill("redis")
    left = await thread.follow(lambda event: event.seq == whole[-1].seq)
    known = {event.seq: event for event in whole}
    assert [(e.method, e.data) for e in left] == [(known[e.seq].method, known[e.seq].data) for e in left]
    assert [event.data["event"] for event in left if event.method == "lifecycle"] == [
        "running",
        "completed",
        "running",
        "completed",
        "running",
        "failed",
        "running",
        "interrupted",
    ]
    assert [event.data["error"] for event in left if event.data.get("event") == "failed"] == [""]
    assert [event.method for event in left][-3:] == ["input.requested", "lifecycle", "values"]


@pytest.mark.slow
async def test_a_run_that_loses_its_worker_goes_on_under_other_numbers(thread: Thread, pair: Pair) -> None:
    following = asyncio.create_task(thread.follow())
    await thread.start("steps", {"count": 60, "pause": 0.05})
    await thread.follow(lambda event: event.data.get("n") == 10)
    await pair.lose_worker()
    result = await following
    numbers = [event.seq for event in result]
    assert numbers == sorted(set(numbers))
    assert set(states(result)) == set(range(61))
    assert await thread.follow() == result


# --- access to nothing ---------------------------------------------------------------------------


async def test_a_follower_of_what_is_no_thread_waits_in_silence(thread: Thread) -> None:
    events = thread.events()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await anext(events)


async def test_last_event_id_is_understood_where_since_is_not_given(thread: Thread) -> None:
    await thread.start("steps", {"count": 3})
    whole = await thread.follow()
    body = {"channels": ALL}
    headers = {"Last-Event-ID": "3"}
    async with thread.http.post(f"{thread.path}/stream/events", json=body, headers=headers) as answer:
        lines = [await answer.content.readline() for _ in range(3)]
    assert json.loads(lines[1].removeprefix(b"data: ")) == json.loads(whole[3].text)


async def test_commands_with_the_same_idempotency_key_start_one_run(thread: Thread) -> None:
    async def start() -> Any:
        body = {"id": 1, "method": "run.start", "params": {"assistant_id": "steps", "input": {"count": 1}}}
        async with thread.http.post(f"{thread.path}/commands", json=body, headers={"Idempotency-Key": "k"}) as answer:
            return await answer.json()

    first, second = await start(), await start()
    assert first == second
    assert len(await thread.get("/runs")) == 1


async def test_the_body_of_a_command_is_checked(thread: Thread) -> None:
    for params in ({"assistant_id": "steps", "config": 3}, {"assistant_id": "steps", "metadata": [1]}):
        answer = await thread.command("run.start", **params)
        assert answer["type"] == "error"
        assert answer["message"].startswith("422: ")
