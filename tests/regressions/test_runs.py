"""Defects of other servers: ended runs that start again, interrupts that cannot be resumed, slots held by runs that do not run."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from .conftest import LIMIT_S, SLOTS, Server

TEXT = '{"__interrupt__": [{"value": "approve?", "id": "00000000000000000000000000000000"}]}'


@pytest.mark.parametrize("cancelled", ["before", "after"])
async def test_a_cancelled_run_is_not_revived_when_its_worker_dies(
    server: Server, client: LangGraphClient, cancelled: str
) -> None:
    runs: dict[Any, tuple[str, str]] = {}
    gate = str(uuid.uuid4())
    try:
        for action in ("interrupt", "rollback"):
            thread = (await client.threads.create())["thread_id"]
            runs[action] = thread, (await client.runs.create(thread, "stuck", input={"gate": gate}))["run_id"]
            # one by one: begun at once on the loop of their graph, the first to block would hold the other up
            await server.entered(gate, len(runs))
        if cancelled == "after":
            server.kill_worker()
        for action, (thread, run) in runs.items():
            await client.runs.cancel(thread, run, action=action)
        if cancelled == "before":
            server.kill_worker()
        server.end_leases()
        for thread, run in runs.values():
            async with asyncio.timeout(LIMIT_S):
                await client.runs.join(thread, run)
        assert (await client.runs.get(*runs["interrupt"]))["status"] == "interrupted"
        with pytest.raises(NotFoundError):
            await client.runs.get(*runs["rollback"])
        for thread, _ in runs.values():
            # what runs next is not the dead, and there is room for it
            assert (await client.runs.wait(thread, "echo", input={"text": "next"}))["echoed"] == "NEXT"  # type: ignore[call-overload]
        assert server.executions(gate) == len(runs)
    finally:
        server.open(gate)  # whatever failed, the next test finds free slots


async def test_an_interrupt_that_a_waiter_was_told_of_can_be_resumed_at_once(client: LangGraphClient) -> None:
    async def once() -> None:
        thread = (await client.threads.create())["thread_id"]
        for turn in range(3):
            answer: Any = await client.runs.wait(thread, "interrupting", input={"draft": str(turn)})
            (interrupt,) = answer["__interrupt__"]
            resume: Any = {"resume": {interrupt["id"]: "yes"}}
            resumed: Any = await client.runs.wait(thread, "interrupting", command=resume)
            assert resumed["final"] == f"draft of {turn} -> yes"

    await asyncio.gather(*(once() for _ in range(5)))


async def test_an_interrupt_seen_on_a_stream_can_be_resumed_while_the_stream_is_open(client: LangGraphClient) -> None:
    for turn in range(5):
        thread = (await client.threads.create())["thread_id"]
        resumed, asked = None, None
        stream = client.runs.stream(thread, "interrupting", input={"draft": str(turn)}, stream_mode="updates")
        async for part in stream:
            if part.event == "updates" and "__interrupt__" in part.data:
                asked = (await client.threads.get_state(thread))["interrupts"]
                resumed = await client.runs.create(thread, "interrupting", command={"resume": "yes"})
        assert resumed is not None
        assert asked, "who looks for it finds it, although the run is not over yet"
        values: Any = await client.runs.join(thread, resumed["run_id"])
        assert values["final"] == f"draft of {turn} -> yes"


async def test_an_interrupt_seen_on_the_thread_or_its_state_can_be_resumed_at_once(client: LangGraphClient) -> None:
    for turn in range(5):
        thread = (await client.threads.create())["thread_id"]
        await client.runs.create(thread, "interrupting", input={"draft": str(turn)})
        async with asyncio.timeout(LIMIT_S):
            while not (await client.threads.get(thread)).get("interrupts"):
                pass  # as fast as can be: the moment it shows is the moment it is tried
        state = await client.threads.get_state(thread)
        assert state["next"] == ["ask"]
        resumed: Any = await client.runs.wait(
            thread,
            "interrupting",
            command={"resume": {state["interrupts"][0]["id"]: "yes"}},
            multitask_strategy="reject",
        )
        assert resumed["final"] == f"draft of {turn} -> yes"


@pytest.mark.parametrize("stateless", [False, True])
async def test_a_thread_made_by_a_run_honours_its_ttl(client: LangGraphClient, stateless: bool) -> None:
    """That it is gone when the time is over: ``tests/ttl/test_threads.py``."""
    made: list[Any] = []
    if stateless:
        await client.runs.wait(None, "counter", input={"by": 1}, on_completion="keep", on_run_created=made.append)
        thread = made[0]["thread_id"]
    else:
        thread = str(uuid.uuid4())
        await client.runs.wait(thread, "counter", input={"by": 1}, if_not_exists="create")
    result: Any = await client.threads.get(thread, include=["ttl"])
    assert (result["ttl"]["strategy"], result["ttl"]["ttl_minutes"]) == ("delete", 60)
    assert _time(result["ttl"]["expires_at"]) - _time(result["updated_at"]) == timedelta(minutes=60)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_run_that_cannot_start_occupies_no_slot(server: Server, client: LangGraphClient, thread: str) -> None:
    gate = str(uuid.uuid4())
    first = await client.runs.create(thread, "gated", input={"gate": gate})
    await server.entered(gate)
    waiting = [await client.runs.create(thread, "counter", input={"by": 1}) for _ in range(2 * SLOTS)]
    delayed = [await client.runs.create(None, "counter", input={"by": 1}, after_seconds=600) for _ in range(2 * SLOTS)]
    for _ in range(2 * SLOTS):
        refused: Any = await client.runs.wait(None, "unstartable", input={}, raise_error=False)
        assert refused == {"__error__": {"error": "RuntimeError", "message": "no such model"}}
    async with asyncio.timeout(LIMIT_S):
        for _ in range(2 * SLOTS):
            assert await client.runs.wait(None, "echo", input={"text": "a"}) == {"text": "a", "echoed": "A"}
    assert {(await client.runs.get(thread, run["run_id"]))["status"] for run in waiting} == {"pending"}
    server.open(gate)
    await client.runs.join(thread, waiting[-1]["run_id"])
    assert (await client.runs.get(thread, first["run_id"]))["status"] == "success"
    for run in delayed:
        await client.runs.cancel(run["thread_id"], run["run_id"])


async def test_deleting_a_run_leaves_later_checkpoints_readable(client: LangGraphClient, thread: str) -> None:
    for by in (1, 2, 3):
        # what only the first one writes stays part of all later states
        await client.runs.wait(thread, "counter", input={"by": by} if by == 1 else {})
    runs = await client.runs.list(thread)
    state = await client.threads.get_state(thread)
    history = await client.threads.get_history(thread, limit=100)
    for run in reversed(runs[1:]):
        await client.runs.delete(thread, run["run_id"])
    assert await client.threads.get_state(thread) == state
    kept = [entry for entry in history if _run_of(entry) == runs[0]["run_id"]]
    result = await client.threads.get_history(thread, limit=100)
    assert [entry["values"] for entry in result] == [entry["values"] for entry in kept]
    for entry in kept:
        checkpoint: Any = entry["checkpoint"]
        at: Any = await client.threads.get_state(thread, checkpoint=checkpoint)
        assert (at["values"], at["next"]) == (entry["values"], entry["next"])
    values: Any = await client.runs.wait(thread, "counter", input={})
    assert values["total"] == 2 * (state["values"]["total"] + 1)  # type: ignore[call-overload]
    assert values["log"][:-2] == state["values"]["log"]  # type: ignore[call-overload]


def _run_of(entry: Any) -> str:
    run_id: str = entry["metadata"]["run_id"]
    return run_id


@pytest.mark.parametrize("mode", ["values", "updates", "messages-tuple", "debug"])
async def test_a_message_that_merely_contains_interrupt_like_text_is_no_interrupt(
    client: LangGraphClient, thread: str, mode: Any
) -> None:
    said: Any = {"messages": [{"role": "user", "content": TEXT}]}
    async for part in client.runs.stream(thread, "agent", input=said, stream_mode=mode):
        assert not isinstance(part.data, dict) or "__interrupt__" not in part.data
    await _not_interrupted(client, thread)


async def test_a_value_that_looks_like_an_interrupt_is_none(client: LangGraphClient, thread: str) -> None:
    values: Any = await client.runs.wait(thread, "returning", input={"text": TEXT})
    assert "__interrupt__" not in values
    assert "__interrupt__" in values["value"]
    await _not_interrupted(client, thread)


async def _not_interrupted(client: LangGraphClient, thread: str) -> None:
    result = await client.threads.get(thread)
    assert (result["status"], result["interrupts"]) == ("idle", {})
    state: Any = await client.threads.get_state(thread)
    assert (state["next"], state["interrupts"]) == ([], [])
    (run,) = await client.runs.list(thread)
    assert run["status"] == "success"


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_thread_that_waits_for_a_human_still_does_after_a_cancelled_run(
    client: LangGraphClient, thread: str, action: Any
) -> None:
    """A search for threads that wait for an answer finds it again, and a client can answer."""
    await client.runs.wait(thread, "interrupting", input={"draft": "x"})
    before = await client.threads.get(thread)
    later = await client.runs.create(thread, "interrupting", input={"draft": "y"}, after_seconds=600)
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.cancel(thread, later["run_id"], action=action)
    result = await client.threads.get(thread)
    assert (result["status"], result["interrupts"]) == ("interrupted", before["interrupts"])
    assert [t["thread_id"] for t in await client.threads.search(ids=[thread], status="interrupted")] == [thread]
    values: Any = await client.runs.wait(thread, "interrupting", command={"resume": "yes"})
    assert values["final"] == "draft of x -> yes"


async def test_a_thread_still_asks_what_it_asked_before_a_run_whose_graph_never_opened(
    client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "interrupting", input={"draft": "x"})
    before = await client.threads.get(thread)
    await client.runs.wait(thread, "unstartable", input={}, raise_error=False)
    result = await client.threads.get(thread)
    assert (result["status"], result["interrupts"]) == ("error", before["interrupts"])
    values: Any = await client.runs.wait(thread, "interrupting", command={"resume": "yes"})
    assert values["final"] == "draft of x -> yes"
