"""Arguments of a graph for a task: kwargs to input, config and options; and later attempts."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Send
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import read_project
from langlog_executor.graphs.loading import Graphs, load_graphs
from langlog_executor.graphs.run_input import (
    NULL_TASK,
    Kwargs,
    build_command,
    build_config,
    build_context,
    build_input,
    read_kwargs,
    resumed_input,
)
from langlog_executor.values import encoding
from langlog_executor.values.auth_user import AuthUser
from langlog_executor.values.redaction import hidden
from pydantic import BaseModel

from tests.executor.test_run_stream import CONTRACT, streamed, task_for


def kwargs(**members: Any) -> Kwargs:
    task = task_for({"assistant_id": "echo"})
    return read_kwargs(msgspec.structs.replace(task, kwargs=json.dumps(members).encode()))


def test_a_command_wins_over_input() -> None:
    assert build_input(kwargs(input={"a": 1}, command={"resume": 2})) == Command(resume=2)
    assert build_input(kwargs(input={"a": 1}, command=None)) == {"a": 1}
    assert build_input(kwargs(input=None)) is None


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"resume": None},
        {"update": None, "goto": None},
        {"goto": []},
        {"update": {}},
        {"update": [], "resume": None},
        {"unknown": 1},
    ],
)
def test_a_command_of_no_effect_counts_as_none(command: dict[str, Any]) -> None:
    """The library fails for a command of nothing, by an error about a variable of its own."""
    assert build_input(kwargs(input={"a": 1}, command=command)) == {"a": 1}
    assert build_input(kwargs(command=command)) is None


@pytest.mark.parametrize(
    ("command", "built"),
    [
        ({"goto": "n"}, Command(goto="n")),
        ({"goto": {"node": "n", "input": {"a": 1}}}, Command(goto=Send("n", {"a": 1}))),
        ({"goto": ["n", {"node": "m", "input": 2}]}, Command(goto=["n", Send("m", 2)])),
        ({"update": {"a": 1}}, Command(update={"a": 1})),
        ({"update": [["a", 1], ["a", 2]]}, Command(update=[("a", 1), ("a", 2)])),
        ({"resume": False}, Command(resume=False)),
    ],
)
def test_commands_are_built_as_the_library_takes_them(command: dict[str, Any], built: Command[Any]) -> None:
    assert build_command(command) == built


@pytest.mark.parametrize(
    ("members", "durability"),
    [
        ({}, "async"),
        ({"checkpoint_during": False}, "exit"),
        ({"checkpoint_during": True}, "async"),
        ({"checkpoint_during": False, "durability": "sync"}, "sync"),
    ],
)
def test_durability_wins_over_the_deprecated_member(members: dict[str, Any], durability: str) -> None:
    assert kwargs(**members).durable == durability


def test_no_stream_mode_is_values_and_one_is_a_list() -> None:
    assert kwargs(stream_mode=[]).modes == ["values"]
    assert kwargs(stream_mode="updates").modes == ["updates"]


@pytest.mark.parametrize(("given", "read"), [("*", "*"), (["*"], "*"), (["a"], ["a"]), ([], None), (None, None)])
def test_interrupts_are_nodes_or_all_of_them(given: Any, read: Any) -> None:
    assert kwargs(interrupt_before=given).before == read
    assert kwargs(interrupt_after=given).after == read


def test_the_config_names_this_run_and_its_own_graph() -> None:
    task = task_for({"assistant_id": "echo"})
    stale = json.dumps({"graph_id": "another", "k": 1}).encode()
    task = msgspec.structs.replace(task, metadata=stale, attempt=3)
    config: Any = build_config(task, read_kwargs(task), Settings())
    assert config["metadata"]["graph_id"] == "echo"
    assert config["metadata"]["k"] == 1
    assert config["metadata"]["run_attempt"] == 3
    assert config["metadata"]["run_id"] == str(config["run_id"]) == task.run_id
    assert "recursion_limit" not in config


def test_the_config_carries_what_the_library_reads_of_it() -> None:
    given = {"max_concurrency": 2, "run_name": "mine", "recursion_limit": 7, "tags": ["t"]}
    task = task_for({"assistant_id": "echo"})
    config: Any = build_config(task, msgspec.structs.replace(read_kwargs(task), config=given), Settings())
    assert {name: config[name] for name in given} == given


def test_the_user_has_attributes_and_keys_and_is_json() -> None:
    user = AuthUser({"identity": "alice", "permissions": ["user"], "team": "blue"})
    assert (user.identity, user["identity"], user.display_name) == ("alice", "alice", "alice")
    assert (user.team, user.permissions, user.is_authenticated) == ("blue", ["user"], True)
    with pytest.raises(AttributeError):
        _ = user.nothing
    assert json.loads(encoding.encode(user)) == {"identity": "alice", "permissions": ["user"], "team": "blue"}


@dataclasses.dataclass
class Declared:
    tone: str = "neutral"


class Model(BaseModel):
    tone: str = "neutral"


class Open(BaseModel, extra="allow"):
    tone: str = "neutral"


def test_context_keys_that_the_schema_does_not_declare_are_left_out() -> None:
    context = {"tone": "warm", "zzz": 1}
    assert build_context(context, Declared) == {"tone": "warm"}
    assert build_context(context, Model) == {"tone": "warm"}
    assert build_context(context, Open) == context
    assert build_context(None, Declared) == {}


# --- later attempts --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    return load_graphs(read_project(CONTRACT / "graphs" / "langgraph.json"))


async def latest(saver: InMemorySaver, thread_id: str) -> Any:
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    return await saver.aget_tuple(config)


async def test_an_attempt_without_a_checkpoint_of_its_run_starts_with_the_input() -> None:
    task = task_for({"assistant_id": "counter", "input": {"by": 2}})
    assert resumed_input(task, read_kwargs(task), None) == ({"by": 2}, False)


async def test_an_attempt_whose_run_has_a_checkpoint_goes_on_from_it(graphs: Graphs) -> None:
    saver = InMemorySaver()
    task = task_for({"assistant_id": "counter", "input": {"by": 2}, "interrupt_before": ["double"]})
    config = build_config(task, read_kwargs(task), Settings())
    async with graphs.open("counter", checkpointer=saver) as graph:
        await graph.ainvoke({"by": 2}, config, interrupt_before=["double"])
    saved = await latest(saver, task.thread_id)
    assert resumed_input(task, read_kwargs(task), saved) == (None, True)


async def test_an_attempt_after_another_run_of_the_thread_starts_with_its_input(graphs: Graphs) -> None:
    saver = InMemorySaver()
    before, task = (task_for({"assistant_id": "counter", "input": {"by": 2}}) for _ in range(2))
    async with graphs.open("counter", checkpointer=saver) as graph:
        await graph.ainvoke({"by": 2}, build_config(before, read_kwargs(before), Settings()))
    saved = await latest(saver, before.thread_id)
    assert resumed_input(task, read_kwargs(task), saved) == ({"by": 2}, False)


@pytest.mark.parametrize(
    ("command", "stored"),
    [
        ({"resume": "yes"}, [("__resume__", "yes")]),
        ({"update": {"draft": "other"}}, [("draft", "other")]),
        ({"update": {"draft": "other"}, "resume": 1}, [("draft", "other"), ("__resume__", 1)]),
    ],
)
async def test_a_command_that_is_stored_already_is_not_applied_again(
    command: dict[str, Any], stored: list[tuple[str, Any]], graphs: Graphs
) -> None:
    """The first attempt died after it had put the command's writes on the checkpoint of the run before."""
    saver = InMemorySaver()
    before = task_for({"assistant_id": "interrupting", "input": {"draft": "D"}})
    task = task_for({"assistant_id": "interrupting", "command": command})
    async with graphs.open("interrupting", checkpointer=saver) as graph:
        await graph.ainvoke({"draft": "D"}, build_config(before, read_kwargs(before), Settings()))
    saved = await latest(saver, before.thread_id)
    assert resumed_input(task, read_kwargs(task), saved) == (build_command(command), False)
    saver.put_writes(saved.config, stored[:-1], NULL_TASK)
    assert resumed_input(task, read_kwargs(task), await latest(saver, before.thread_id))[0] == build_command(command)
    saver.put_writes(saved.config, stored, NULL_TASK)
    assert resumed_input(task, read_kwargs(task), await latest(saver, before.thread_id)) == (None, False)


async def test_the_stream_of_a_run_in_error_ends_with_the_error(graphs: Graphs) -> None:
    events, ended = await streamed(graphs, task_for({"assistant_id": "failing", "input": {"message": "bad"}}))
    assert events[-1] == ("error", {"error": "ValueError", "message": "bad"})
    assert (ended.outcome, json.loads(ended.values or b"null")) == ("error", {"message": "bad", "reached": "first"})


async def test_messages_of_exceptions_carry_no_credentials(graphs: Graphs) -> None:
    message = "cannot reach postgresql://user:secret@db:5432/x and redis://:pw@r"
    _, ended = await streamed(graphs, task_for({"assistant_id": "failing", "input": {"message": message}}))
    assert ended.error is not None
    assert ended.error.message == "cannot reach postgresql://***@db:5432/x and redis://***@r"


async def test_a_run_that_waits_for_a_human_reports_values_question_and_next(graphs: Graphs) -> None:
    task = task_for({"assistant_id": "interrupting", "input": {"draft": "D"}})
    _, ended = await streamed(graphs, task)
    assert (ended.outcome, ended.next) == ("success", ["ask"])
    assert json.loads(ended.values or b"") == {"draft": "draft of D"}
    (asked,) = json.loads(ended.output or b"")["__interrupt__"]
    ((_, stored),) = json.loads(ended.interrupts).items()
    assert asked == {**stored[0], "response_schema": None}


async def test_a_run_stopped_before_a_node_has_next_and_no_question(graphs: Graphs) -> None:
    task = task_for({"assistant_id": "counter", "input": {"by": 2}, "interrupt_before": ["double"]})
    _, ended = await streamed(graphs, task)
    assert (ended.next, ended.output, json.loads(ended.interrupts)) == (["double"], None, {})


def test_credentials_are_hidden_in_whatever_form_drivers_name_them() -> None:
    assert hidden("postgresql+asyncpg://ada:p@ss@db:5432/x") == "postgresql+asyncpg://***@db:5432/x"
    assert hidden("host=db user=ada password=hunter2 port=1") == "host=db user=ada password=*** port=1"
    assert hidden("GET https://x/y?api_key=abc&n=1") == "GET https://x/y?api_key=***&n=1"
    for harmless in ("token: expected ','", "ask ada@example.org", "https://example.org/@ada", "secret"):
        assert hidden(harmless) == harmless
