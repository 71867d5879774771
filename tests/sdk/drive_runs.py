"""Every method of ``client.runs``."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError

from tests.sdk.drive_threads import asked, counted
from tests.sdk.driver import Driver, drives

HOOK = "https://hooks.invalid/langlog"
"""Never resolves: that deliveries arrive is tested elsewhere."""
QUICK_S, QUICK_JOIN_S = 0.75, 5.0
"""Of a run that took no longer than the first, a join within the last of its creation gets all (`langlog_gateway.runs.streaming`)."""
TRIES = 40
"""To have such a run, and to join it in time, on a machine that is busy otherwise."""
HALFWAY: dict[str, Any] = {"interrupt_before": ["double"], "interrupt_after": []}
"""Stops the counter between its nodes."""


async def fresh(sdk: Driver) -> str:
    thread: str = (await sdk("threads.create"))["thread_id"]
    return thread


async def slow(sdk: Driver, **options: Any) -> tuple[str, str]:
    """Thread and run of a run that is inside its node and stays there."""
    thread = await fresh(sdk)
    created: list[Any] = []
    await sdk(
        "runs.stream",
        thread,
        "slow",
        input={"seconds": 60, "ticks": 1200, "label": "a"},
        stream_mode="custom",
        on_run_created=created.append,
        until=lambda part: part.event == "custom",
        **options,
    )
    return thread, created[0]["run_id"]


async def every_way_to_begin(sdk: Driver, method: str, values_of: Any) -> None:
    """Options that create, stream and wait share; ``values_of`` gives the run's final values."""

    async def values(thread: str | None, graph: str, **options: Any) -> Any:
        return await values_of(thread, await sdk(method, thread, graph, **options))

    new = str(uuid.uuid4())
    common: dict[str, Any] = {
        "metadata": {"m": 1},
        "webhook": HOOK,
        "multitask_strategy": "enqueue",
        "if_not_exists": "create",
        "on_completion": "keep",
        "after_seconds": 0.01,
        "langsmith_tracing": {"project_name": "p"},
        "durability": "sync",
        "strict_resume": False,
        "on_run_created": lambda created: None,
    }
    result = await values(new, "counter", input={"by": 2}, **common)
    assert result == {"by": 2, "total": 4, "log": ["add:2", "double"]}
    [run] = await sdk("runs.list", new)
    assert (run["status"], run["metadata"]["m"]) == ("success", 1)

    thread = await fresh(sdk)
    config = {"configurable": {"tone": "warm"}, "tags": ["t"], "recursion_limit": 7}
    seen = await values(thread, "contextual", input={"text": "x"}, config=config)
    assert (seen["saw_context"]["tone"], seen["saw_tags"], seen["saw_recursion_limit"]) == ("warm", ["t"], 7)
    seen = await values(thread, "contextual", input={"text": "x"}, context={"tone": "cool"})
    assert seen["saw_context"]["tone"] == "cool"

    thread = await fresh(sdk)
    await values(thread, "counter", input={"by": 1}, checkpoint_during=True, **HALFWAY)
    state = await sdk("threads.get_state", thread)
    assert state["next"] == ["double"]
    await values(thread, "counter", input=None)
    for which in ({"checkpoint": state["checkpoint"]}, {"checkpoint_id": state["checkpoint"]["checkpoint_id"]}):
        assert (await values(thread, "counter", input=None, **which))["log"] == ["add:1", "double"]

    thread = await asked(sdk)
    assert (await values(thread, "interrupting", command={"resume": "yes"}))["final"] == "draft of x -> yes"


@drives("runs.create")
async def create(sdk: Driver) -> None:
    async def values(thread: str | None, run: Any) -> Any:
        return await sdk("runs.join", thread or run["thread_id"], run["run_id"])

    await every_way_to_begin(sdk, "runs.create", values)
    thread = await fresh(sdk)
    run = await sdk(
        "runs.create", thread, "nested", input={}, stream_mode=["values"], stream_subgraphs=True, stream_resumable=True
    )
    assert (run["status"], run["kwargs"]["stream_mode"], run["kwargs"]["subgraphs"]) == ("pending", ["values"], True)
    stateless = await sdk("runs.create", None, "slow", input={"seconds": 60})
    assert (await sdk("threads.get", stateless["thread_id"]))["status"] == "busy"
    await sdk("runs.cancel", stateless["thread_id"], stateless["run_id"])


@drives("runs.wait")
async def wait(sdk: Driver) -> None:
    async def values(thread: str | None, answer: Any) -> Any:
        return answer

    await every_way_to_begin(sdk, "runs.wait", values)
    assert await sdk("runs.wait", None, "echo", input={"text": "a"}, on_disconnect="cancel") == {
        "text": "a",
        "echoed": "A",
    }
    with pytest.raises(Exception, match="bad luck"):
        await sdk("runs.wait", None, "failing", input={"message": "bad luck"})
    failed = await sdk("runs.wait", None, "failing", input={"message": "bad"}, raise_error=False)
    assert failed == {"__error__": {"error": "ValueError", "message": "bad"}}


@drives("runs.stream")
async def stream(sdk: Driver) -> None:
    async def values(thread: str | None, parts: Any) -> Any:
        return parts[-1].data

    await every_way_to_begin(sdk, "runs.stream", values)
    parts = await sdk(
        "runs.stream",
        None,
        "nested",
        input={},
        stream_mode=["updates", "custom"],
        stream_subgraphs=True,
        stream_resumable=True,
        on_disconnect="continue",
    )
    names = [part.event for part in parts]
    assert names[0] == "metadata"
    assert any(name.startswith("custom|child:") for name in names)
    assert all(part.id for part in parts)
    again = await sdk("runs.stream", None, "echo", input={"text": "a"}, stream_mode="updates", version="v2")
    assert [part["type"] for part in again] == ["metadata", "updates"]
    keys = await sdk("runs.stream", None, "echo", input={"text": "a"}, feedback_keys=["thumbs"])
    assert keys[0].event == "metadata"


@drives("runs.create_batch")
async def create_batch(sdk: Driver) -> None:
    runs = await sdk(
        "runs.create_batch",
        [{"assistant_id": "echo", "input": {"text": str(n)}, "on_completion": "keep"} for n in range(3)],
    )
    assert len({run["thread_id"] for run in runs}) == 3
    collected = [await sdk("runs.join", run["thread_id"], run["run_id"]) for run in runs]
    assert [values["echoed"] for values in collected] == ["0", "1", "2"]


@drives("runs.list")
async def list_runs(sdk: Driver) -> None:
    thread = await fresh(sdk)
    for n in range(3):
        await sdk("runs.wait", thread, "counter", input={"by": n})
    runs = await sdk("runs.list", thread)
    assert [run["kwargs"]["input"]["by"] for run in runs] == [2, 1, 0]
    assert await sdk("runs.list", thread, limit=1, offset=1, status="success") == runs[1:2]
    assert await sdk("runs.list", thread, status="error") == []
    assert await sdk("runs.list", thread, limit=1, select=["run_id"]) == [{"run_id": runs[0]["run_id"]}]


@drives("runs.get")
async def get(sdk: Driver) -> None:
    thread = await counted(sdk)
    [run] = await sdk("runs.list", thread)
    assert await sdk("runs.get", thread, run["run_id"]) == run
    with pytest.raises(NotFoundError):
        await sdk("runs.get", thread, str(uuid.uuid4()))


@drives("runs.join")
async def join(sdk: Driver) -> None:
    thread = await fresh(sdk)
    run = await sdk("runs.create", thread, "slow", input={"seconds": 0.2, "label": "a"})
    values = await sdk("runs.join", thread, run["run_id"])
    assert values["done"] == ["begin:a", "slept:a"]
    assert await sdk("runs.join", thread, run["run_id"]) == values, "also after its end"


@drives("runs.join_stream")
async def join_stream(sdk: Driver) -> None:
    thread, run = await slow(sdk, stream_resumable=True)
    whole = await sdk("runs.join_stream", thread, run, last_event_id="-1", until=lambda part: part.event == "custom")
    assert [part.event for part in whole] == ["metadata", "custom"]
    only_new = {"last_event_id": "no id: from now on", "stream_mode": ["custom"]}
    live = await sdk("runs.join_stream", thread, run, **only_new, until=lambda part: True)
    assert live[-1].event == "custom"
    await sdk("runs.join_stream", thread, run, cancel_on_disconnect=True, until=lambda part: True)
    await sdk("runs.join", thread, run)
    assert (await sdk("runs.get", thread, run))["status"] == "interrupted"
    for _ in range(TRIES):
        thread, began = await fresh(sdk), time.monotonic()
        quick = (await sdk("runs.create", thread, "echo", input={"text": "a"}))["run_id"]
        await sdk("runs.join", thread, quick)
        received = await sdk("runs.join_stream", thread, quick)
        times = await sdk("runs.get", thread, quick)
        took = datetime.fromisoformat(times["updated_at"]) - datetime.fromisoformat(times["created_at"])
        if took < timedelta(seconds=QUICK_S) and time.monotonic() - began < QUICK_JOIN_S:
            assert [part.event for part in received][:1] == ["metadata"], (
                "the run was over before the client could join"
            )
            assert received[-1].event == "values"
            break


@drives("runs.cancel")
async def cancel(sdk: Driver) -> None:
    thread, run = await slow(sdk)
    with pytest.raises(ConflictError):
        await sdk("runs.create", thread, "echo", input={"text": "a"}, multitask_strategy="reject")
    await sdk("runs.cancel", thread, run, wait=True, action="interrupt")
    assert (await sdk("runs.get", thread, run))["status"] == "interrupted"
    thread, run = await slow(sdk)
    await sdk("runs.cancel", thread, run, wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await sdk("runs.get", thread, run)


@drives("runs.cancel_many")
async def cancel_many(sdk: Driver) -> None:
    thread, run = await slow(sdk)
    second = (await sdk("runs.create", thread, "echo", input={"text": "a"}))["run_id"]
    await sdk("runs.cancel_many", thread_id=thread, run_ids=[run, second], action="interrupt")
    for name in (run, second):
        await sdk("runs.join", thread, name)
        assert (await sdk("runs.get", thread, name))["status"] == "interrupted"
    thread, run = await slow(sdk)
    await sdk("runs.cancel_many", status="all", action="rollback")
    await sdk("runs.join", thread, run)
    with pytest.raises(NotFoundError):
        await sdk("runs.get", thread, run)


@drives("runs.delete")
async def delete(sdk: Driver) -> None:
    thread = await counted(sdk)
    [run] = await sdk("runs.list", thread)
    await sdk("runs.delete", thread, run["run_id"])
    assert await sdk("runs.list", thread) == []
    assert (await sdk("threads.get_state", thread))["values"] == {}
