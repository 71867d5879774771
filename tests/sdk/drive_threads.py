"""Every method of ``client.threads``."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import NotFoundError

from tests.sdk.driver import Driver, drives


async def counted(sdk: Driver, by: int = 3) -> str:
    """A thread with a finished run of the counter on it."""
    thread: str = (await sdk("threads.create"))["thread_id"]
    await sdk("runs.wait", thread, "counter", input={"by": by})
    return thread


async def asked(sdk: Driver) -> str:
    """A thread that waits for a human."""
    thread: str = (await sdk("threads.create"))["thread_id"]
    await sdk("runs.wait", thread, "interrupting", input={"draft": "x"})
    return thread


@drives("threads.create")
async def create(sdk: Driver) -> None:
    name = str(uuid.uuid4())
    steps = [{"updates": [{"values": {"by": 2}, "as_node": "__start__"}]}]
    steps += [{"updates": [{"values": {"total": 5, "log": ["copied"]}, "as_node": "add"}]}]
    made = await sdk(
        "threads.create",
        thread_id=name,
        metadata={"k": 1},
        graph_id="counter",
        supersteps=steps,
        ttl=60,
        if_exists="raise",
    )
    assert (made["thread_id"], made["metadata"]["k"], made["metadata"]["graph_id"]) == (name, 1, "counter")
    state = await sdk("threads.get_state", name)
    assert (state["values"], state["next"]) == ({"by": 2, "total": 5, "log": ["copied"]}, ["double"])
    again = await sdk("threads.create", thread_id=name, if_exists="do_nothing", metadata={"k": 2})
    assert again["metadata"]["k"] == 1


@drives("threads.get")
async def get(sdk: Driver) -> None:
    made = await sdk("threads.create", ttl=60)
    assert await sdk("threads.get", made["thread_id"]) == made
    result = await sdk("threads.get", made["thread_id"], include=["ttl"])
    assert result["thread_id"] == made["thread_id"]
    assert result["ttl"]["strategy"] == "delete"


@drives("threads.update")
async def update(sdk: Driver) -> None:
    thread = (await sdk("threads.create", metadata={"a": 1}))["thread_id"]
    patched = await sdk("threads.update", thread, metadata={"b": 2}, ttl={"ttl": 5, "strategy": "delete"})
    assert patched["metadata"] == {"a": 1, "b": 2}
    assert await sdk("threads.update", thread, metadata={"b": 3}, return_minimal=True) is None
    assert (await sdk("threads.get", thread))["metadata"] == {"a": 1, "b": 3}


@drives("threads.delete")
async def delete(sdk: Driver) -> None:
    thread = await counted(sdk)
    await sdk("threads.delete", thread)
    with pytest.raises(NotFoundError):
        await sdk("threads.get", thread)


@drives("threads.search")
async def search(sdk: Driver) -> None:
    suite = str(uuid.uuid4())
    made = [(await sdk("threads.create", metadata={"suite": suite, "n": n}))["thread_id"] for n in range(3)]
    await sdk("runs.wait", made[1], "counter", input={"by": 7})
    wanted: dict[str, Any] = {"metadata": {"suite": suite}, "sort_by": "created_at", "sort_order": "asc"}
    assert [t["thread_id"] for t in await sdk("threads.search", **wanted, limit=10)] == made
    assert [t["thread_id"] for t in await sdk("threads.search", **wanted, limit=1, offset=1)] == made[1:2]
    [result] = await sdk(
        "threads.search",
        ids=made,
        status="idle",
        values={"total": 14},
        select=["thread_id", "values"],
        extract={"last": "values.log[-1]"},
    )
    assert result == {
        "thread_id": made[1],
        "values": {"by": 7, "total": 14, "log": ["add:7", "double"]},
        "extracted": {"last": "double"},
    }


@drives("threads.count")
async def count(sdk: Driver) -> None:
    suite = str(uuid.uuid4())
    for n in range(2):
        thread = (await sdk("threads.create", metadata={"suite": suite}))["thread_id"]
        await sdk("runs.wait", thread, "counter", input={"by": n})
    assert await sdk("threads.count", metadata={"suite": suite}) == 2
    assert await sdk("threads.count", metadata={"suite": suite}, status="idle", values={"by": 1}) == 1
    assert await sdk("threads.count", metadata={"suite": suite}, status="error") == 0


@drives("threads.copy")
async def copy(sdk: Driver) -> None:
    thread = await counted(sdk)
    copied = await sdk("threads.copy", thread)
    assert copied["thread_id"] != thread
    first, second = [await sdk("threads.get_history", t, limit=10) for t in (thread, copied["thread_id"])]
    assert [s["checkpoint_id"] for s in first] == [s["checkpoint_id"] for s in second]
    assert [s["values"] for s in first] == [s["values"] for s in second]
    await sdk("runs.wait", copied["thread_id"], "counter", input={"by": 1})
    assert (await sdk("threads.get_state", thread))["values"]["total"] == 6, "the copy goes its own way"


@drives("threads.prune")
async def prune(sdk: Driver) -> None:
    kept, gone = await counted(sdk), await counted(sdk)
    assert await sdk("threads.prune", [gone, str(uuid.uuid4())]) == {"pruned_count": 1}
    with pytest.raises(NotFoundError):
        await sdk("threads.get", gone)
    assert await sdk("threads.prune", [kept], strategy="keep_latest") == {"pruned_count": 1}
    assert len(await sdk("threads.get_history", kept, limit=10)) == 1
    assert (await sdk("threads.get_state", kept))["values"]["total"] == 6


@drives("threads.get_state")
async def get_state(sdk: Driver) -> None:
    thread = await counted(sdk)
    latest = await sdk("threads.get_state", thread, select=["values", "next"])
    assert (latest["values"]["total"], latest["next"]) == (6, [])
    middle = (await sdk("threads.get_history", thread, limit=10))[1]
    for which in ({"checkpoint": middle["checkpoint"]}, {"checkpoint_id": middle["checkpoint"]["checkpoint_id"]}):
        state = await sdk("threads.get_state", thread, **which)
        assert (state["values"]["total"], state["next"]) == (3, ["double"])
    thread = (await sdk("threads.create"))["thread_id"]
    await sdk("runs.wait", thread, "nested", input={"pause": True})
    [task] = (await sdk("threads.get_state", thread, subgraphs=True))["tasks"]
    assert task["state"]["values"] == {"pause": True, "child_only": "x"}
    [task] = (await sdk("threads.get_state", thread))["tasks"]
    assert task["state"] is None
    inside = await sdk("threads.get_state", thread, checkpoint=task["checkpoint"])
    assert inside["values"] == {"pause": True, "child_only": "x"}


@drives("threads.get_history")
async def get_history(sdk: Driver) -> None:
    thread = await counted(sdk)
    history = await sdk("threads.get_history", thread, limit=10)
    assert [state["metadata"]["step"] for state in history] == [2, 1, 0, -1]
    assert await sdk("threads.get_history", thread, limit=10, before=history[1]["checkpoint"]) == history[2:]
    assert await sdk("threads.get_history", thread, limit=10, metadata={"step": 1}) == history[1:2]
    # As langgraph's own `get_state_history`: a checkpoint's id leaves that checkpoint alone. AG-UI's client walks back by it.
    assert await sdk("threads.get_history", thread, limit=10, checkpoint=history[1]["checkpoint"]) == history[1:2]
    whole = await sdk("threads.get_history", thread, limit=10, checkpoint={"checkpoint_ns": ""}, select=["values"])
    assert [state["values"] for state in whole] == [state["values"] for state in history]


@drives("threads.update_state")
async def update_state(sdk: Driver) -> None:
    thread = await counted(sdk)
    first = await sdk("threads.update_state", thread, {"total": 10, "log": ["edit"]}, as_node="add")
    assert first["checkpoint"]["thread_id"] == thread
    assert (await sdk("threads.get_state", thread))["next"] == ["double"]
    middle = (await sdk("threads.get_history", thread, limit=10))[2]["checkpoint"]
    for which in ({"checkpoint": middle}, {"checkpoint_id": middle["checkpoint_id"]}):
        await sdk("threads.update_state", thread, {"log": ["branch"]}, as_node="add", **which)
        state = await sdk("threads.get_state", thread)
        assert state["values"]["log"] == ["add:3", "branch"]
        assert state["parent_checkpoint"]["checkpoint_id"] == middle["checkpoint_id"]


@drives("threads.join_stream")
async def join_stream(sdk: Driver) -> None:
    thread = (await sdk("threads.create"))["thread_id"]
    await sdk("runs.wait", thread, "echo", input={"text": "first"})
    run = (await sdk("runs.create", thread, "counter", input={"by": 1}, stream_mode="updates", stream_resumable=True))[
        "run_id"
    ]
    await sdk("runs.join", thread, run)

    def done(part: Any) -> bool:
        return bool(part.event == "metadata" and part.data.get("status") == "run_done" and part.data["run_id"] == run)

    parts = await sdk("threads.join_stream", thread, last_event_id="-", stream_mode="run_modes", until=done)
    assert [part.event for part in parts] == ["metadata", "updates", "updates", "metadata"]
    later = await sdk("threads.join_stream", thread, last_event_id=parts[1].id, until=done)
    assert [(part.event, part.data) for part in later] == [(part.event, part.data) for part in parts[2:]]
