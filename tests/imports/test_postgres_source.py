"""Threads in the tables of the published Postgres saver are carried over as they are, and run on."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.store.postgres import PostgresStore
from langlog_executor.checkpoints.published_saver import FIRST_PAGE, PAGE, PAGE_BYTES, next_page
from langlog_executor.values import encoding

from tests.imports.conftest import client, history, run_import
from tests.stack.server import LiveServer

INPUTS: dict[str, Any] = {
    "agent": {"messages": [("user", "add 2 3")]},
    "nested": {"trail": []},
    "joined": {"log": []},
    "planning": {"done": []},
    "sending": {"items": [1, 2, 3]},
}
NAMED = "customer-42"
"""A thread id that is no UUID."""


def shown(value: Any) -> Any:
    return json.loads(encoding.encode(value))


def state_of(graph: Any, thread_id: str) -> list[dict[str, Any]]:
    """Return the parts of a history that must be equal."""
    return [
        {
            "values": shown(one.values),
            "next": list(one.next),
            "checkpoint_id": one.config["configurable"]["checkpoint_id"],
            "created_at": one.created_at,
            "tasks": [(task.id, task.name, shown([i.id for i in task.interrupts])) for task in one.tasks],
        }
        for one in graph.get_state_history({"configurable": {"thread_id": thread_id}})
    ]


def answered_state(target: LiveServer, thread_id: str) -> list[dict[str, Any]]:
    return [
        {
            "values": one["values"],
            "next": one["next"],
            "checkpoint_id": one["checkpoint"]["checkpoint_id"],
            "created_at": one["created_at"],
            "tasks": [(task["id"], task["name"], [i["id"] for i in task["interrupts"]]) for task in one["tasks"]],
        }
        for one in history(target, thread_id)
    ]


def test_threads_of_the_published_saver_are_the_same_and_run_on(
    database: str, graphs: ModuleType, target: LiveServer
) -> None:
    threads = {name: str(uuid.uuid4()) for name in INPUTS} | {"asking": NAMED}
    expected = {}
    with PostgresSaver.from_conn_string(database) as saver, PostgresStore.from_conn_string(database) as store:
        saver.setup()
        store.setup()
        store.put(("users", "u1"), "k", {"text": "hello"})
        for name, thread_id in threads.items():
            graph = getattr(graphs, name).copy({"checkpointer": saver})
            config = {"configurable": {"thread_id": thread_id}, "metadata": {"graph_id": name}}
            graph.invoke(INPUTS.get(name, {"draft": "letter"}), config)
            expected[name] = state_of(graph, thread_id)

    looked = run_import(database, target, "--dry-run")
    assert looked["counts"]["threads"]["imported"] == len(threads), looked
    report = run_import(database, target)
    assert report["counts"]["threads"] == {"imported": len(threads), "unchanged": 0, "refused": 0}, report
    assert report["issues"] == []
    assert "x@" not in report["source"]
    api = client(target)
    (named,) = api.threads.search(metadata={"original_thread_id": NAMED})
    here = threads | {"asking": named["thread_id"]}
    for name, thread_id in here.items():
        assert answered_state(target, thread_id) == expected[name], name
    assert api.store.get_item(["users", "u1"], "k")["value"] == {"text": "hello"}

    again = run_import(database, target)
    assert again["counts"]["threads"] == {"imported": 0, "unchanged": len(threads), "refused": 0}

    assert api.threads.get(here["nested"])["status"] == "interrupted"
    assert api.runs.wait(here["asking"], "asking", command={"resume": "yes"})["final"] == "draft of letter -> yes"
    assert api.runs.wait(here["nested"], "nested", command={"resume": "leafy"})["said"] == "leafy"
    assert api.runs.wait(here["joined"], "joined", command={"resume": "B"})["log"] == ["a", "b1", "answer B", "c"]
    assert api.runs.wait(here["planning"], "planning", command={"resume": True})["done"] == ["pack", "go"]
    said = api.runs.wait(here["agent"], "agent", input={"messages": [{"role": "user", "content": "add 4 5"}]})
    assert [m["content"] for m in said["messages"]][-2] == "9"


def test_pages_of_large_checkpoints_have_few_of_them() -> None:
    assert next_page(FIRST_PAGE, 0) == PAGE
    assert next_page(FIRST_PAGE, FIRST_PAGE * 1_000) == PAGE
    assert next_page(FIRST_PAGE, PAGE_BYTES) == FIRST_PAGE
    assert next_page(FIRST_PAGE, 10 * PAGE_BYTES) == 1


def test_what_was_pickled_is_never_unpickled_and_reported(
    database: str, graphs: ModuleType, target: LiveServer, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    pickled = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    good, bad = str(uuid.uuid4()), str(uuid.uuid4())
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        for thread_id in (good, bad):
            graph = graphs.agent.copy({"checkpointer": saver})
            graph.invoke(INPUTS["agent"], {"configurable": {"thread_id": thread_id}})
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "UPDATE checkpoint_blobs SET type = 'pickle', blob = %s WHERE thread_id = %s AND channel = 'messages'",
            (pickled, bad),
        )
    report = run_import(database, target, "--graph", "agent", code=1)
    (issue,) = report["issues"]
    assert issue["id"] == bad and issue["lost"] and "pickle" in issue["reason"]
    assert report["counts"]["threads"]["imported"] == 1
    assert not mark.exists()
    assert [thread["thread_id"] for thread in client(target).threads.search()] == [good]  # nothing is made of the other
    assert [m["type"] for m in client(target).threads.get_state(good)["values"]["messages"]] == [
        "human", "ai", "tool", "ai",
    ]  # fmt: skip


def test_a_database_without_the_tables_or_away_is_one_line(database: str, target: LiveServer) -> None:
    report = run_import(database, target, code=1)
    assert "has no table checkpoints" in report["stopped"]
    gone = run_import("postgresql://user:secret@127.0.0.1:1/none", target, code=1)
    assert "cannot connect to postgresql://127.0.0.1:1/none" in gone["stopped"]
    assert "secret" not in json.dumps(gone)
