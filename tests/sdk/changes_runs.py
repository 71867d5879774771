"""Effects of each option of ``client.runs``."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.sdk.options import Change, Options, Scene, Way, the_answer

HOOK = "https://hooks.invalid/langlog"
STRANGER = "f" * 32
ASK = {"assistant_id": "interrupting", "input": {"draft": "x"}}
COUNT = {"assistant_id": "counter", "input": {"by": 2}}
GATES = TemporaryDirectory(prefix="langlog-gates-")
LONG = {"assistant_id": "gated", "input": lambda s: {"gate": str(gate(s))}}
"""It lasts until it has been left, and its gate is opened or it is cancelled."""
FAR_S = 86_400
LOOK_S = 0.05


# --- scenes --------------------------------------------------------------------------------------


async def on_a_thread(scene: Scene) -> None:
    thread = (await scene.client.threads.create())["thread_id"]
    scene.about["thread"] = scene.name("thread", thread)
    scene.args = {"thread_id": thread, "assistant_id": "echo", "input": {"text": "a"}}


async def on_no_thread(scene: Scene) -> None:
    await on_a_thread(scene)
    scene.args |= {"thread_id": None, "metadata": {"suite": scene.suite}}


async def on_a_counted_thread(scene: Scene) -> None:
    await on_a_thread(scene)
    await scene.client.runs.wait(scene.thread, "counter", input={"by": 3})
    scene.about["middle"] = (await scene.client.threads.get_history(scene.thread))[1]["checkpoint"]
    scene.args |= {"assistant_id": "counter", "input": None}


async def on_an_asking_thread(scene: Scene) -> None:
    await on_a_thread(scene)
    await scene.client.runs.wait(scene.thread, "interrupting", input={"draft": "x"})
    scene.args = {"thread_id": scene.thread, "assistant_id": "interrupting"}


async def on_a_busy_thread(scene: Scene) -> None:
    await on_a_thread(scene)
    await scene.client.runs.create(scene.thread, "echo", input={"text": "later"}, after_seconds=FAR_S)
    scene.leave_with = partial(scene.client.threads.delete, scene.thread)


async def on_an_unknown_thread(scene: Scene) -> None:
    await on_a_thread(scene)
    scene.args["thread_id"] = scene.about["thread"] = str(uuid.uuid4())


# --- what is looked at -----------------------------------------------------------------------------


async def late(scene: Scene, thread: str, run: str) -> bool:
    """Whether the run began after a delay that was asked for. On a busy machine any run may begin late."""
    events = (await scene.client.http.get(f"/threads/{thread}/runs/{run}/events"))["events"]
    (due,) = (event["data"].get("not_before") for event in events if event["type"] == "langlog.run.created.v1")
    began = [event["time"] for event in events if event["type"] == "langlog.run.started.v1"]
    return due is not None and any(datetime.fromisoformat(at) >= datetime.fromisoformat(due) for at in began)


async def outcome(scene: Scene, given: Options, answer: Any) -> Any:
    """The answer, and what the run has left: itself, the thread's state and past, what was kept."""
    client, thread = scene.client, given.get("thread_id")
    members: dict[str, Any] = {"answer": answer}
    if isinstance(answer, list):
        members["answer"] = [
            [part["type"], part["data"]] if isinstance(part, dict) else [part.event, part.data] for part in answer
        ]
        members["ids"] = [None if isinstance(part, dict) else part.id is not None for part in answer]
        members["form"] = sorted({type(part).__name__ for part in answer})
    if isinstance(answer, dict) and "run_id" in answer and "status" in answer:
        members["values"] = await client.runs.join(answer["thread_id"], answer["run_id"])
        replay = client.runs.join_stream(answer["thread_id"], answer["run_id"], last_event_id="-1")
        members["events"] = [[part.event, part.id is not None] async for part in replay]
    if "on_run_created" in given:
        members["notified"] = len(scene.notified)
    if thread is None:
        members["kept"] = await client.threads.count(metadata={"suite": scene.suite})
        return members
    runs = await client.runs.list(thread)
    members["late"] = await late(scene, thread, runs[0]["run_id"])
    state: Any = await client.threads.get_state(thread)
    members["run"] = {name: runs[0][name] for name in ("status", "metadata", "kwargs", "assistant_id")}
    members["runs"] = len(runs)
    members["state"] = {"values": state["values"], "next": state["next"]}
    members["past"] = len(await client.threads.get_history(thread, limit=100))
    members["webhooks"] = (await client.http.get(f"/threads/{thread}/runs/{runs[0]['run_id']}/webhooks")) != []
    return members


def notified(scene: Scene) -> Any:
    scene.about["notified"] = []
    return scene.notified.append


COMMON: dict[str, Change] = {
    "thread_id": Change("run", None, lambda s: s.thread, {"metadata": lambda s: {"suite": s.suite}}),
    "assistant_id": Change("state.values", "counter", "echo"),
    "input": Change("state.values.echoed", {"text": "b"}),
    "command": Change("state.values.final", {"resume": "yes"}, None, set=on_an_asking_thread),
    "metadata": Change("run.metadata.m", {"m": 1}),
    "config": Change(
        "state.values.saw_tags",
        {"tags": ["t"], "recursion_limit": 7},
        None,
        {"assistant_id": "contextual"},
    ),
    "context": Change("state.values.saw_context.tone", {"tone": "cool"}, None, {"assistant_id": "contextual"}),
    "checkpoint": Change("past", lambda s: s.middle, set=on_a_counted_thread),
    "checkpoint_id": Change("past", lambda s: s.middle["checkpoint_id"], set=on_a_counted_thread),
    "checkpoint_during": Change("past", False, None, COUNT),
    "durability": Change("past", "exit", None, COUNT),
    "interrupt_before": Change("state.next", ["double"], None, COUNT),
    "interrupt_after": Change("state.next", ["add"], None, COUNT),
    "webhook": Change("webhooks", HOOK),
    "multitask_strategy": Change("error", "reject", "rollback", set=on_a_busy_thread),
    "if_not_exists": Change("error", "create", set=on_an_unknown_thread),
    "on_completion": Change("kept", "keep", set=on_no_thread),
    "after_seconds": Change("late", 1),
    "on_run_created": Change("notified", lambda s: notified(s)),
    "strict_resume": Change(
        "run.status",
        True,
        None,
        {"command": {"resume": {STRANGER: "yes"}}},
        set=on_an_asking_thread,
    ),
}


async def under_way(scene: Scene) -> None:
    """Returns once the thread's run is inside its first node."""
    while not await scene.client.runs.list(scene.thread, status="running"):
        await asyncio.sleep(LOOK_S)  # another process begins it, and tells nobody but its stream


def gate(scene: Scene) -> Path:
    return Path(GATES.name) / scene.suite


async def what_became_of_it(scene: Scene, given: Options, answer: Any) -> Any:
    """The status of the thread's run, once it is over: its gate stays closed where it is to be cancelled."""
    [run] = await scene.client.runs.list(scene.thread)
    try:
        if given.get("on_disconnect") == "cancel":
            await scene.client.runs.join(scene.thread, run["run_id"])
    finally:
        gate(scene).touch()
    await scene.client.runs.join(scene.thread, run["run_id"])
    return {"status": (await scene.client.runs.get(scene.thread, run["run_id"]))["status"]}


def at_custom(part: Any) -> bool:
    return bool(part.event == "custom")


async def left(scene: Scene, given: Options, answer: Any) -> Any:
    if given.get("assistant_id") == "gated":
        return await what_became_of_it(scene, given, answer)
    return await outcome(scene, given, answer)


NESTED = {"assistant_id": "nested", "input": {}, "stream_mode": "updates"}
WAIT = {
    **COMMON,
    "strict_resume": COMMON["strict_resume"]._replace(
        more={"command": {"resume": {STRANGER: "yes"}}, "raise_error": False}
    ),
    "raise_error": Change("error", False, None, {"assistant_id": "failing", "input": {"message": "m"}}),
    "on_disconnect": Change("status", "cancel", None, {**LONG, "_leave": lambda s: under_way}),
}
STREAM = {
    **COMMON,
    "stream_mode": Change("answer", "updates"),
    "stream_subgraphs": Change("answer", True, None, NESTED),
    "stream_resumable": Change("ids", True),
    "feedback_keys": Change("answer", ["thumbs"]),
    "version": Change("form", "v2"),
    "on_disconnect": Change("status", "cancel", None, {**LONG, "stream_mode": "custom", "_until": lambda s: at_custom}),
}
CREATE = {
    **COMMON,
    "stream_mode": Change("events", "updates", None, {"stream_resumable": True}),
    "stream_subgraphs": Change("events", True, None, {**NESTED, "stream_resumable": True}),
    "stream_resumable": Change("events", True),
}


async def batch(scene: Scene) -> None:
    scene.args = {"payloads": [{"assistant_id": "echo"}]}


# --- runs that are there --------------------------------------------------------------------------


async def with_runs(scene: Scene) -> None:
    """A thread with three runs that are over, one of them failed."""
    await on_a_thread(scene)
    await scene.client.runs.wait(scene.thread, "failing", input={"message": "m"}, raise_error=False)
    await scene.client.runs.wait(scene.thread, "counter", input={"by": 1})
    options: Any = {"stream_mode": ["values", "updates"], "stream_resumable": True}
    parts = [part async for part in scene.client.runs.stream(scene.thread, "counter", input={"by": 2}, **options)]
    scene.about["second"] = parts[1].id
    runs = await scene.client.runs.list(scene.thread)
    scene.about["run"] = scene.name("run", runs[0]["run_id"])
    scene.args = {"thread_id": scene.thread}


async def with_a_run(scene: Scene) -> None:
    await with_runs(scene)
    scene.args["run_id"] = scene.run


async def with_a_run_under_way(scene: Scene) -> None:
    await on_a_thread(scene)
    run = await scene.client.runs.create(scene.thread, "slow", input={"seconds": 3, "ticks": 30}, stream_mode="custom")
    scene.about["run"] = scene.name("run", run["run_id"])
    await under_way(scene)
    scene.about["under_way"] = True
    scene.args = {"thread_id": scene.thread, "run_id": run["run_id"]}


async def to_cancel_many(scene: Scene) -> None:
    await with_a_run_under_way(scene)
    scene.args = {"thread_id": scene.thread, "run_ids": [scene.run]}


async def to_cancel_by_status(scene: Scene) -> None:
    await with_a_run_under_way(scene)
    scene.args = {}


async def stopped(scene: Scene, given: Options, answer: Any) -> Any:
    await scene.client.runs.join(scene.thread, scene.run)
    runs = await scene.client.runs.list(scene.thread)
    return {"answer": answer, "statuses": [run["status"] for run in runs]}


async def events(scene: Scene, given: Options, answer: Any) -> Any:
    if scene.about.get("under_way"):
        return await stopped(scene, given, None)
    return [part.event for part in answer]


def unknown(s: Scene) -> str:
    return str(uuid.uuid4())


def other(name: str) -> Change:
    """An id of which there is nothing."""
    return Change("error", lambda s: unknown(s), lambda s: getattr(s, name))


def silent(name: str) -> Change:
    """The same where the answer is one all the same (wire contract §5.2)."""
    return Change("__error__", lambda s: unknown(s), lambda s: getattr(s, name))


ONE = {"thread_id": other("thread"), "run_id": other("run")}

RUNS: dict[str, Way] = {
    "runs.create": Way(on_a_thread, outcome, CREATE),
    "runs.wait": Way(on_a_thread, left, WAIT),
    "runs.stream": Way(on_a_thread, left, STREAM),
    "runs.create_batch": Way(
        batch,
        the_answer,
        {"payloads": Change("length", [{"assistant_id": "echo"}] * 2, [{"assistant_id": "echo"}])},
    ),
    "runs.list": Way(
        with_runs,
        the_answer,
        {
            "thread_id": other("thread"),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
            "status": Change("length", "error"),
            "select": Change("*.kwargs", ["run_id", "status"]),
        },
    ),
    "runs.get": Way(with_a_run, the_answer, ONE),
    "runs.delete": Way(with_a_run, the_answer, ONE),
    "runs.join": Way(with_a_run, the_answer, {"thread_id": silent("thread"), "run_id": silent("run")}),
    "runs.join_stream": Way(
        with_a_run,
        events,
        {
            "thread_id": Change("length", lambda s: unknown(s), lambda s: s.thread, {"last_event_id": "-1"}),
            "run_id": Change("length", lambda s: unknown(s), lambda s: s.run, {"last_event_id": "-1"}),
            "last_event_id": Change("length", lambda s: s.second, "-1"),
            "stream_mode": Change("length", "updates", None, {"last_event_id": "-1"}),
            "cancel_on_disconnect": Change(
                "statuses", True, set=with_a_run_under_way, more={"_until": lambda s: at_custom}
            ),
        },
    ),
    "runs.cancel": Way(
        with_a_run_under_way,
        stopped,
        {
            "thread_id": other("thread"),
            "run_id": other("run"),
            "wait": Change("answer", True),
            "action": Change("statuses", "rollback"),
        },
    ),
    "runs.cancel_many": Way(
        to_cancel_many,
        stopped,
        {
            "thread_id": other("thread"),
            "run_ids": Change("error", lambda s: [unknown(s)], lambda s: [s.run]),
            "status": Change("error", "running", "pending", set=to_cancel_by_status),
            "action": Change("statuses", "rollback"),
        },
    ),
}
