"""Effects of each option of ``client.threads``."""

from __future__ import annotations

import uuid
from typing import Any

from tests.sdk.changes_runs import other, unknown
from tests.sdk.options import Change, Options, Scene, Way, nothing, the_answer

STEPS = [
    {"updates": [{"values": {"by": 2}, "as_node": "__start__"}]},
    {"updates": [{"values": {"total": 5, "log": ["copied"]}, "as_node": "add"}]},
]


async def counted(scene: Scene) -> None:
    """A thread with two runs of the counter, and one that waits inside a subgraph."""
    thread = (await scene.client.threads.create(metadata={"suite": scene.suite, "n": 1}))["thread_id"]
    scene.about["thread"] = scene.name("thread", thread)
    for by in (3, 4):
        await scene.client.runs.wait(thread, "counter", input={"by": by})
    scene.about["past"] = await scene.client.threads.get_history(thread, limit=100)
    for place, state in enumerate(scene.past):
        scene.name(f"checkpoint {place}", state["checkpoint"]["checkpoint_id"])
    scene.args = {"thread_id": thread}


async def nested(scene: Scene) -> None:
    thread = (await scene.client.threads.create())["thread_id"]
    scene.about["thread"] = scene.name("thread", thread)
    await scene.client.runs.wait(thread, "nested", input={"pause": True})
    state: Any = await scene.client.threads.get_state(thread)
    scene.about["inside"] = {"checkpoint_ns": state["tasks"][0]["checkpoint"]["checkpoint_ns"]}
    scene.args = {"thread_id": thread}


async def several(scene: Scene) -> None:
    """Three threads of one suite: one has run, one has failed."""
    made = [await scene.client.threads.create(metadata={"suite": scene.suite, "n": n}) for n in range(3)]
    ids = scene.about["ids"] = [thread["thread_id"] for thread in made]
    for place, id in enumerate(ids):
        scene.name(f"thread {place}", id)
    await scene.client.runs.wait(ids[1], "counter", input={"by": 7})
    await scene.client.runs.wait(ids[0], "failing", input={"message": "m"}, raise_error=False)
    scene.args = {"metadata": {"suite": scene.suite}, "sort_by": "created_at", "sort_order": "asc"}


async def to_count(scene: Scene) -> None:
    await several(scene)
    scene.args = {"metadata": {"suite": scene.suite}}


async def to_prune(scene: Scene) -> None:
    await counted(scene)
    scene.args = {"thread_ids": [scene.thread]}


async def with_ttl(scene: Scene) -> None:
    await counted(scene)
    await scene.client.threads.update(scene.thread, metadata={}, ttl=60)


async def resumable(scene: Scene) -> None:
    """A thread with a run that can be followed afterwards."""
    await counted(scene)
    run: Any = await scene.client.runs.create(
        scene.thread, "counter", input={"by": 1}, stream_mode="updates", stream_resumable=True
    )
    await scene.client.runs.join(scene.thread, run["run_id"])
    parts = [part async for part in scene.client.runs.join_stream(scene.thread, run["run_id"], last_event_id="-1")]
    scene.about["first"] = parts[0].id
    scene.args |= {"last_event_id": "-"}


def done(part: Any) -> bool:
    return part.event == "state_update" or bool(part.data and part.data.get("status") == "run_done")


async def made(scene: Scene, given: Options, answer: Any) -> Any:
    """The thread as it was made, with its state and its time to live."""
    thread: Any = await scene.client.threads.get(answer["thread_id"], include=["ttl"])
    state: Any = await scene.client.threads.get_state(answer["thread_id"])
    return {"thread": thread, "values": state["values"], "id": scene.known.get(answer["thread_id"])}


async def changed(scene: Scene, given: Options, answer: Any) -> Any:
    thread: Any = await scene.client.threads.get(scene.thread, include=["ttl"])
    ttl = thread.get("ttl")
    minutes = None if ttl is None else ttl["ttl_minutes"]
    return {"answer": answer, "metadata": thread["metadata"], "ttl": minutes}


async def state_now(scene: Scene, given: Options, answer: Any) -> Any:
    state: Any = await scene.client.threads.get_state(scene.thread)
    return {"values": state["values"], "next": state["next"], "parent": state["parent_checkpoint"]}


async def pruned(scene: Scene, given: Options, answer: Any) -> Any:
    left = await scene.client.threads.count(metadata={"suite": scene.suite})
    return {"answer": answer, "left": left}


async def events(scene: Scene, given: Options, answer: Any) -> Any:
    return [part.event for part in answer]


def fixed(s: Scene) -> str:
    return s.name("fixed", str(uuid.uuid4()))


async def taken(scene: Scene) -> None:
    """A thread of a name that is given again."""
    await counted(scene)


STATE = {
    "thread_id": other("thread"),
    "checkpoint": Change("values.log", lambda s: s.past[3]["checkpoint"]),
    "checkpoint_id": Change("values.log", lambda s: s.past[3]["checkpoint"]["checkpoint_id"]),
    "subgraphs": Change("tasks.*.state", True, set=nested),
    "select": Change("tasks", ["values.total", "next"]),
}

THREADS: dict[str, Way] = {
    "threads.create": Way(
        nothing,
        made,
        {
            "metadata": Change("thread.metadata.k", {"k": 1}),
            "thread_id": Change("id", lambda s: fixed(s)),
            "if_exists": Change("error", "do_nothing", None, {"thread_id": lambda s: s.thread}, set=taken),
            "supersteps": Change("values.total", STEPS, None, {"graph_id": "counter"}),
            "graph_id": Change("thread.metadata.graph_id", "counter"),
            "ttl": Change("thread.ttl", 60),
        },
    ),
    "threads.get": Way(with_ttl, the_answer, {"thread_id": other("thread"), "include": Change("ttl", ["ttl"])}),
    "threads.update": Way(
        counted,
        changed,
        {
            "thread_id": other("thread")._replace(more={"metadata": {"b": 1}}),
            "metadata": Change("metadata.b", {"b": 2}, {}),
            "ttl": Change("ttl", 5, None, {"metadata": {}}),
            "return_minimal": Change("answer", True, None, {"metadata": {}}),
        },
    ),
    "threads.delete": Way(counted, the_answer, {"thread_id": other("thread")}),
    "threads.search": Way(
        several,
        the_answer,
        {
            "metadata": Change("length", lambda s: {"suite": s.suite, "n": 1}, lambda s: {"suite": s.suite}),
            "values": Change("length", {"total": 14}),
            "ids": Change("length", lambda s: s.ids[:1]),
            "status": Change("length", "error"),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
            "sort_by": Change("*.thread_id", "state_updated_at"),
            "sort_order": Change("*.thread_id", "desc", "asc"),
            "select": Change("*.metadata", ["thread_id"]),
            "extract": Change("*.extracted", {"last": "values.log[-1]"}),
        },
    ),
    "threads.count": Way(
        to_count,
        the_answer,
        {
            "metadata": Change("answer", lambda s: {"suite": s.suite, "n": 1}, lambda s: {"suite": s.suite}),
            "values": Change("answer", {"total": 14}),
            "status": Change("answer", "error"),
        },
    ),
    "threads.copy": Way(counted, the_answer, {"thread_id": other("thread")}),
    "threads.prune": Way(
        to_prune,
        pruned,
        {
            "thread_ids": Change("answer.pruned_count", lambda s: [unknown(s)], lambda s: [s.thread]),
            "strategy": Change("left", "keep_latest"),
        },
    ),
    "threads.get_state": Way(counted, the_answer, STATE),
    "threads.get_history": Way(
        counted,
        the_answer,
        {
            "thread_id": other("thread"),
            "limit": Change("length", 1),
            "before": Change("length", lambda s: s.past[3]["checkpoint"]),
            "metadata": Change("length", {"step": 1}),
            "checkpoint": Change("*.values", lambda s: s.inside, set=nested),
            "select": Change("*.tasks", ["values.total"]),
        },
    ),
    "threads.update_state": Way(
        counted,
        state_now,
        {
            "thread_id": other("thread")._replace(more={"values": {"total": 1}}),
            "values": Change("values.total", {"total": 1}, {}),
            "as_node": Change("next", "add", None, {"values": {"total": 1}}),
            "checkpoint": Change("parent", lambda s: s.past[3]["checkpoint"], None, {"values": {"total": 1}}),
            "checkpoint_id": Change(
                "parent", lambda s: s.past[3]["checkpoint"]["checkpoint_id"], None, {"values": {"total": 1}}
            ),
        },
    ),
    "threads.join_stream": Way(
        resumable,
        events,
        {
            "last_event_id": Change("length", lambda s: s.first, "-", {"_until": lambda s: done}),
            "stream_mode": Change("length", "lifecycle", None, {"_until": lambda s: done}),
        },
    ),
}
