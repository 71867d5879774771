"""Events of threads and runs over HTTP: pages, filters, streams, and who sees them."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from langlog_schemas import events as ev
from langlog_schemas.messages import Answer

from tests.gateway.conftest import Attempt, Stack, read_events

LIMIT_S = 60.0
RUN = {"assistant_id": "echo", "input": {"a": 1}}
ONE_RUN = ["created", "started", "succeeded"]


async def a_thread(stack: Stack) -> str:
    status, thread = await stack.call("POST", "/threads", {})
    assert status == 200
    return str(thread["thread_id"])


async def a_run(stack: Stack, thread_id: str) -> str:
    async with stack.http.post(f"{stack.url}/threads/{thread_id}/runs/wait", json=RUN) as answer:
        assert answer.status == 200
        return answer.headers["content-location"].rpartition("/")[2]


async def events(stack: Stack, path: str, **query: Any) -> list[dict[str, Any]]:
    status, page = await stack.call("GET", f"{path}/events", params=query)
    assert status == 200, page
    result: list[dict[str, Any]] = page["events"]
    return result


def short(results: list[dict[str, Any]]) -> list[str]:
    return [e["type"].removeprefix("langlog.").removesuffix(".v1") for e in results]


async def test_each_entry_says_what_happened_when_where_and_why(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    run_id = await a_run(stack, thread_id)
    events_seen = await events(stack, f"/threads/{thread_id}")
    assert short(events_seen) == ["thread.created", *(f"run.{x}" for x in ONE_RUN)]
    partition = stack.backbone.log.partition_of(thread_id)
    offsets = [e["position"]["offset"] for e in events_seen]
    assert offsets == sorted(set(offsets))
    assert all(e["position"]["topic"] == "run-events" and e["position"]["partition"] == partition for e in events_seen)
    created, started, ended = events_seen[1:]
    assert created["run_id"] == ended["run_id"] == run_id and events_seen[0]["run_id"] is None
    assert created["subject"] == thread_id and created["source"] == "/langlog/decider"
    assert created["cause"]["type"] == "langlog.run.create.v1"
    assert (created["cause"]["index"], created["cause"]["count"]) == (1, 2), "the last of those that it holds"
    assert created["data"]["dispatched"] == "ready"
    assert ended["cause"]["type"] == "langlog.run.finish.v1"
    assert started["cause"] is None
    assert created["data"]["kwargs"]["input"] == {"a": 1}
    assert ended["data"]["values"] == {"a": 1}


async def test_pages_follow_one_another_without_gap_or_repeat(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    for _ in range(4):
        await a_run(stack, thread_id)
    everything = await events(stack, f"/threads/{thread_id}")
    assert len(everything) == 13
    collected: list[dict[str, Any]] = []
    after = None
    while True:
        query = {"limit": "5", **({} if after is None else {"after": after})}
        _, page = await stack.call("GET", f"/threads/{thread_id}/events", params=query)
        assert len(page["events"]) <= 5
        collected += page["events"]
        after = page["next"]
        if after is None:
            break
    assert collected == everything


async def test_a_run_shows_its_own_events_alone(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    runs = [await a_run(stack, thread_id) for _ in range(3)]
    for run_id in runs:
        events_seen = await events(stack, f"/threads/{thread_id}/runs/{run_id}")
        assert short(events_seen) == [f"run.{x}" for x in ONE_RUN]
        assert {e["run_id"] for e in events_seen} == {run_id}


async def test_types_are_chosen_by_name_or_prefix(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    await a_run(stack, thread_id)
    for types, wanted in [
        (["langlog.run."], [f"run.{x}" for x in ONE_RUN]),
        (["run.created"], ["run.created"]),
        (["langlog.run.created.v1", "thread."], ["thread.created", "run.created"]),
        (["run.created,run.started"], ["run.created", "run.started"]),
        (["run.created.v2"], []),
        (["run"], []),
    ]:
        assert short(await events(stack, f"/threads/{thread_id}", type=types)) == wanted


async def test_times_narrow_what_is_shown(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    await a_run(stack, thread_id)
    everything = await events(stack, f"/threads/{thread_id}")
    moment = everything[1]["time"]
    assert everything[0]["time"] < moment
    before = await events(stack, f"/threads/{thread_id}", to=everything[0]["time"])
    since = await events(stack, f"/threads/{thread_id}", **{"from": moment})
    assert before == everything[:1] and since == everything[1:]
    unescaped = f"{stack.url}/threads/{thread_id}/events?from={moment}"
    async with stack.http.get(unescaped) as answer:
        assert len((await answer.json())["events"]) == 3
    assert await events(stack, f"/threads/{thread_id}", to="2020-01-01T00:00:00Z") == []
    for first, last in (
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
        ("0001-01-01T00:00:00Z", "9999-12-31"),
    ):
        assert await events(stack, f"/threads/{thread_id}", **{"from": first, "to": last}) == everything
        assert await events(stack, f"/threads/{thread_id}", **{"from": last}) == []


async def test_a_stream_begins_at_the_start_and_goes_on_with_what_happens(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    await a_run(stack, thread_id)
    headers = {"accept": "text/event-stream"}
    async with asyncio.timeout(LIMIT_S):
        async with stack.http.get(f"{stack.url}/threads/{thread_id}/events", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            reading = read_events(answer)
            collected = [await anext(reading) for _ in range(4)]
            await a_run(stack, thread_id)
            collected += [await anext(reading) for _ in range(3)]
        assert [data for _, data, _ in collected] == await events(stack, f"/threads/{thread_id}")
        assert all(name == data["type"] and id == str(data["position"]["offset"]) for name, data, id in collected)
        headers["last-event-id"] = collected[4][2] or ""
        async with stack.http.get(f"{stack.url}/threads/{thread_id}/events", headers=headers) as answer:
            reading = read_events(answer)
            assert [await anext(reading) for _ in range(2)] == collected[5:]


async def test_a_stream_of_filtered_events_ends_with_the_thread(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    headers = {"accept": "text/event-stream"}
    async with asyncio.timeout(LIMIT_S):
        async with stack.http.get(
            f"{stack.url}/threads/{thread_id}/events", headers=headers, params={"type": "run.succeeded"}
        ) as answer:
            await a_run(stack, thread_id)
            reading = read_events(answer)
            assert (await anext(reading))[0] == "langlog.run.succeeded.v1"
            assert (await stack.call("DELETE", f"/threads/{thread_id}"))[0] == 204
            assert [event async for event in reading] == []


async def test_what_is_gone_is_404_and_leaves_nothing_in_the_index(stack: Stack) -> None:
    stack.answers["state_without_run"] = lambda _: Answer(id="", body=b'{"values":null}')
    nobody, thread_id = str(uuid.uuid4()), await a_thread(stack)
    run_id = await a_run(stack, thread_id)
    assert (await stack.call("GET", f"/threads/{nobody}/events"))[0] == 404
    assert (await stack.call("GET", f"/threads/{thread_id}/runs/{nobody}/events"))[0] == 404
    assert (await stack.call("POST", f"/threads/{nobody}/runs", RUN))[0] == 404
    assert (await stack.call("DELETE", f"/threads/{thread_id}/runs/{run_id}"))[0] == 204
    events_seen = await events(stack, f"/threads/{thread_id}/runs/{run_id}")
    assert short(events_seen)[-1] == "run.deleted", "a removed run is there as long as its thread"
    await stack.call("DELETE", f"/threads/{thread_id}")
    assert (await stack.call("GET", f"/threads/{thread_id}/events"))[0] == 404
    status, _ = await stack.call("POST", "/runs/wait", RUN)
    assert status == 200
    assert await stack.backbone.pool.fetchval("SELECT count(*) FROM thread_events") == 0


async def test_refused_commands_are_part_of_the_story(stack: Stack) -> None:
    release = asyncio.Event()

    async def slow(attempt: Attempt) -> None:
        await attempt.started()
        await release.wait()
        await attempt.finish({})

    stack.play = slow
    thread_id = await a_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", RUN)
    status, _ = await stack.call("POST", f"/threads/{thread_id}/runs", RUN | {"multitask_strategy": "reject"})
    assert status == 409
    events_seen = await events(stack, f"/threads/{thread_id}", type="command.rejected")
    assert [e["data"]["status"] for e in events_seen] == [409]
    release.set()
    await stack.call("GET", f"/threads/{thread_id}/runs/{run['run_id']}/join")


async def test_frames_are_counted_and_shown_when_asked_for(stack: Stack) -> None:
    from langlog_backbone.log import NewRecord
    from langlog_backbone.time.clock import now_iso
    from langlog_schemas import envelope, frames
    from langlog_schemas.frames import Frame, FrameBatch

    async def recorded(attempt: Attempt) -> None:
        await attempt.started()
        task = attempt.task
        batch = FrameBatch(task.run_id, task.attempt, [Frame(n, 7, n, "values", b'{"n":1}') for n in (1, 2)], True)
        event = ev.RunFrames(
            thread_id=task.thread_id, run_id=task.run_id, attempt=1, first_sequence=1, frames=frames.encode(batch)
        )
        headers = envelope.headers(
            id="f",
            type=event.TYPE,
            source="/test",
            time=now_iso(),
            subject=event.key,
            content_type="application/msgpack",
        )
        await stack.backbone.log.append([NewRecord(ev.RUN_EVENTS, event.key, ev.encode(event), headers)])
        await attempt.finish({})

    stack.play = recorded
    thread_id = await a_thread(stack)
    await a_run(stack, thread_id)
    (plain,) = await events(stack, f"/threads/{thread_id}", type="run.frames")
    assert plain["data"]["count"] == 2 and plain["data"]["events"] == {"values": 2}
    assert "frames" not in plain["data"]
    (shown,) = await events(stack, f"/threads/{thread_id}", type="run.frames", include="frames")
    assert [f["data"] for f in shown["data"]["frames"]] == [{"n": 1}, {"n": 1}]


async def test_what_makes_no_sense_is_422(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    bad: list[dict[str, Any]] = [
        {"from": "yesterday"},
        {"to": "13"},
        {"after": "x"},
        {"after": "-7"},
        {"include": "values"},
        {"type": ["a"] * 51},
    ]
    for query in bad:
        status, said = await stack.call("GET", f"/threads/{thread_id}/events", params=query)
        assert status == 422 and isinstance(said["detail"], str)
    for as_of in ("yesterday", "-3", "9" * 40):
        status, _ = await stack.call("GET", f"/threads/{thread_id}/state", params={"as_of": as_of})
        assert status == 422


async def test_a_page_is_cut_short_when_its_records_are_big(stack: Stack) -> None:
    thread_id = await a_thread(stack)
    for _ in range(18):
        await a_run(stack, thread_id)
    stack.gateway._core.audit._page_bytes = 1_000
    collected: list[dict[str, Any]] = []
    after: str | None = "-1"
    pages = 0
    while after is not None:
        _, page = await stack.call("GET", f"/threads/{thread_id}/events", params={"after": after, "limit": "1000"})
        collected, after, pages = collected + page["events"], page["next"], pages + 1
    assert len(collected) == 55 and pages >= 2


async def test_the_actor_is_the_authenticated_user(make_stack: Any) -> None:
    from pathlib import Path

    project = Path(__file__).parents[1] / "auth" / "project" / "langgraph.json"
    async with make_stack(project=project) as stack:
        mine = {"authorization": "alice"}
        _, thread = await stack.call("POST", "/threads", {}, headers=mine)
        path = f"/threads/{thread['thread_id']}/events"
        _, page = await stack.call("GET", path, headers=mine)
        assert [e["actor"] for e in page["events"]] == ["alice"]
        assert (await stack.call("GET", path, headers={"authorization": "bob"}))[0] == 404
        assert (await stack.call("GET", path))[0] in (401, 403)
