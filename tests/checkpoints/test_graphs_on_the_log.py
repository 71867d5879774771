"""Graphs behave on the log as on langgraph's in-memory saver: same values, same history, whatever is read from where."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from langlog_backbone.time.clock import new_id
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.runtime.command_sender import CommandSender
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import RunRecords
from langlog_schemas.messages import Task
from typing_extensions import TypedDict

from tests.checkpoints.unfenced import UnfencedRecords
from tests.stack.releases import current_langgraph

try:
    from langgraph.channels.delta import DeltaChannel
except ImportError:  # langgraph < 1.2
    DeltaChannel = None  # type: ignore[misc]

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])


def extend(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*(state or []), *(x for write in writes for x in write)]


class State(TypedDict, total=False):
    n: int
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[Any], add_messages]
    delta: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3) if DeltaChannel else operator.add]
    ask: bool
    kids: Annotated[list[str], operator.add]


class ChildState(TypedDict, total=False):
    kids: Annotated[list[str], operator.add]
    ask: bool


def child_step(state: ChildState) -> Any:
    return {"kids": ["answered: " + interrupt("who?")]} if state.get("ask") else {"kids": ["quiet"]}


async def count(state: State) -> Any:
    n = state.get("n", 0) + 1
    return {
        "n": n,
        "log": [f"count {n}"],
        "delta": [f"d{n}"],
        "messages": [HumanMessage(f"h{n}", id=f"h{n}"), AIMessage("a" * 3000, id=f"a{n}")],
    }


def fan(state: State) -> Any:
    if state["n"] % 3:
        return "count"
    return [Send("part", {"n": i}) for i in range(3)]


async def part(state: State) -> Any:
    return {"log": [f"part {state['n']}"], "delta": [f"p{state['n']}"]}


def build() -> StateGraph[Any, Any, Any, Any]:
    child = StateGraph(ChildState).add_node("child_step", child_step).add_edge(START, "child_step").compile()
    return (
        StateGraph(State)
        .add_node("count", count)
        .add_node("part", part)
        .add_node("child", child)
        .add_edge(START, "count")
        .add_conditional_edges("count", fan, ["count", "part"])
        .add_edge("part", "child")
        .add_edge("child", END)
    )


Savers = Callable[[str], Awaitable[BaseCheckpointSaver[str]]]


def plain(snapshot: Any) -> Any:
    """Return a snapshot's members without ids and times."""
    return (
        snapshot.values,
        snapshot.next,
        [(t.name, t.path, t.error, [i.value for i in t.interrupts], t.result) for t in snapshot.tasks],
        snapshot.metadata and (snapshot.metadata["source"], snapshot.metadata["step"]),
    )


async def history(saver: BaseCheckpointSaver[str], thread_id: str) -> list[Any]:
    graph = build().compile(checkpointer=saver)
    return [plain(s) async for s in graph.aget_state_history({"configurable": {"thread_id": thread_id}})]


class Runs:
    """Each run with a saver of its own, as workers have it: reads must wait for what earlier runs wrote."""

    def __init__(self, io: IoLoop) -> None:
        self.io = io
        self.thread_id = new_id()
        self.read_after = -1
        self.reader = CheckpointReader(io)

    def task(self) -> Task:
        return Task(
            run_id=new_id(),
            thread_id=self.thread_id,
            attempt=1,
            assistant_id="a",
            graph_id="g",
            kwargs=b"{}",
            metadata=b"{}",
            created_at="",
            fresh=self.read_after < 0,
            partition=self.io.backbone.log.partition_of(self.thread_id),
            read_after=self.read_after,
        )

    async def run(self, given: Any, **options: Any) -> Any:
        task = self.task()
        records = UnfencedRecords(self.io, task, self.thread_id)
        saver = LogCheckpointer(records, self.reader, task=task)
        graph = build().compile(checkpointer=saver)
        try:
            return await graph.ainvoke(given, {"configurable": {"thread_id": self.thread_id}}, **options)
        finally:
            await records.flush()
            self.read_after = records.last_offset(task.partition)

    async def everything(self) -> list[Any]:
        """The thread's history as the next run would see it."""
        assert self.read_after >= 0
        saver = LogCheckpointer(RunRecords(self.io, None, ""), self.reader, task=self.task())
        return await history(saver, self.thread_id)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_runs_give_the_same_results_and_history_as_in_memory(io: IoLoop, durability: Any) -> None:
    runs, memory = Runs(io), InMemorySaver()
    reference = build().compile(checkpointer=memory)
    for given in ({"n": 0}, {"log": ["again"]}, {"delta": ["extra"]}, {"ask": True}, Command(resume="me")):
        expected = await reference.ainvoke(given, {"configurable": {"thread_id": "t"}}, durability=durability)
        got = await runs.run(given, durability=durability)
        for entry in (expected, got):
            entry.pop("__interrupt__", None)
        assert got == expected
    assert got["kids"][-1] == "answered: me"
    assert await runs.everything() == await history(memory, "t")


async def test_a_delta_channel_survives_updates_branches_and_pruning(io: IoLoop) -> None:
    runs, memory = Runs(io), InMemorySaver()
    reader, sender = runs.reader, CommandSender(io)
    saver = LogCheckpointer(RunRecords(io, None, ""), reader, sender=sender)
    graphs = (build().compile(checkpointer=saver), build().compile(checkpointer=memory))
    config: Any = {"configurable": {"thread_id": runs.thread_id}}
    collected = []
    for graph in graphs:
        await graph.ainvoke({"n": 0}, config)
        await graph.aupdate_state(config, {"delta": ["u1"]}, as_node="count")
        past = [s async for s in graph.aget_state_history(config)][3]
        await graph.aupdate_state(past.config, {"delta": ["u2"]}, as_node="count")
        await graph.ainvoke(None, config)
        collected.append(
            [
                plain(await graph.aget_state(config)),
                [plain(s) async for s in graph.aget_state_history(config)],
                plain(await graph.aget_state(past.config)),
            ]
        )
    assert collected[0] == collected[1]
    before = plain(await graphs[0].aget_state(config))
    await saver.aprune([runs.thread_id])
    assert plain(await graphs[0].aget_state(config)) == before


@current_langgraph
async def test_a_delta_channel_stores_its_changes_and_not_its_value_every_time(io: IoLoop) -> None:
    runs = Runs(io)
    await runs.run({"n": 0})
    await runs.everything()
    blobs = await io.backbone.pool.fetchval(
        "SELECT count(*) FROM checkpoint_blobs WHERE thread_id = $1 AND channel = 'delta'", runs.thread_id
    )
    assert 0 < blobs < 3


async def test_large_and_awkward_values_come_back_as_they_were(io: IoLoop) -> None:
    runs = Runs(io)
    values = {"log": ["a\0b", "é", "x" * 50_000], "n": 0}
    got = await runs.run(values)
    assert got["log"][:3] == values["log"]
    (latest, *_) = await runs.everything()
    assert latest[0]["log"] == got["log"]
