"""Tables that older releases and the shallow class of the published saver made are carried over as well."""

from __future__ import annotations

import uuid
import warnings
from types import ModuleType

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.shallow import ShallowPostgresSaver
from langgraph.types import Command

from tests.imports.conftest import client, run_import
from tests.imports.test_postgres_source import INPUTS, answered_state, state_of
from tests.stack.server import LiveServer

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])


def test_tables_of_older_releases_are_read(database: str, graphs: ModuleType, target: LiveServer) -> None:
    threads = {name: str(uuid.uuid4()) for name in ("nested", "joined", "sending")}
    expected = {}
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        for name, thread_id in threads.items():
            graph = getattr(graphs, name).copy({"checkpointer": saver})
            config = {"configurable": {"thread_id": thread_id}, "metadata": {"graph_id": name}}
            graph.invoke(INPUTS[name], config)
            expected[name] = state_of(graph, thread_id)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE checkpoint_writes DROP COLUMN task_path")
        connection.execute("DELETE FROM checkpoint_migrations WHERE v > 8")  # the one that adds it
    report = run_import(database, target)
    assert report["counts"]["threads"] == {"imported": 3, "unchanged": 0, "refused": 0}, report
    for name, thread_id in threads.items():
        assert answered_state(target, thread_id) == expected[name], name
    runs = client(target).runs
    assert runs.wait(threads["nested"], "nested", command={"resume": "leafy"})["said"] == "leafy"
    assert runs.wait(threads["joined"], "joined", command={"resume": "B"})["log"] == ["a", "b1", "answer B", "c"]


def test_the_latest_checkpoints_of_the_shallow_saver_are_read(
    database: str, graphs: ModuleType, target: LiveServer
) -> None:
    threads = {name: str(uuid.uuid4()) for name in ("agent", "nested", "joined", "sending", "planning")}
    expected = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with ShallowPostgresSaver.from_conn_string(database) as saver:
            saver.setup()
            for name, thread_id in threads.items():
                graph = getattr(graphs, name).copy({"checkpointer": saver})
                config = {"configurable": {"thread_id": thread_id}, "metadata": {"graph_id": name}}
                graph.invoke(INPUTS[name], config)
                expected[name] = state_of(graph, thread_id)
    report = run_import(database, target)
    assert report["counts"]["threads"] == {"imported": len(threads), "unchanged": 0, "refused": 0}, report
    for name, thread_id in threads.items():
        assert answered_state(target, thread_id) == expected[name], name
    runs = client(target).runs
    assert runs.wait(threads["nested"], "nested", command={"resume": "leafy"})["said"] == "leafy"
    assert runs.wait(threads["joined"], "joined", command={"resume": "B"})["log"] == ["a", "b1", "answer B", "c"]
    assert runs.wait(threads["planning"], "planning", command={"resume": True})["done"] == ["pack", "go"]
    again = run_import(database, target)
    assert again["counts"]["threads"]["refused"] == 0, again


def test_sent_tasks_of_checkpoints_before_version_4_are_read(
    database: str, graphs: ModuleType, target: LiveServer
) -> None:
    thread_id = str(uuid.uuid4())
    config = {"configurable": {"thread_id": thread_id}, "metadata": {"graph_id": "sending"}}
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        graph = graphs.sending.copy({"checkpointer": saver, "interrupt_before_nodes": ["square"]})
        graph.invoke(INPUTS["sending"], config)
        with psycopg.connect(database, autocommit=True) as connection:  # as langgraph 0.4 wrote them
            connection.execute(
                """UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{v}', '3') #- '{channel_versions,__pregel_tasks}'"""
            )
            connection.execute("DELETE FROM checkpoint_blobs WHERE channel = '__pregel_tasks'")
        expected = state_of(graph, thread_id)
    assert expected[0]["next"] == ["square"] * 3
    report = run_import(database, target)
    assert report["counts"]["threads"]["imported"] == 1, report
    assert answered_state(target, thread_id) == expected
    assert client(target).runs.wait(thread_id, "sending", input=None)["squares"] == [1, 4, 9]


def test_values_that_are_kept_as_differences_are_the_same_and_go_on(
    database: str, graphs: ModuleType, target: LiveServer
) -> None:
    thread_id = str(uuid.uuid4())
    config = {"configurable": {"thread_id": thread_id}, "metadata": {"graph_id": "growing"}}
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        graph = graphs.growing.copy({"checkpointer": saver})
        for n in range(4):
            graph.invoke({"log": [f"input {n}"]}, config)
            graph.invoke(Command(resume=n), config)
        graph.invoke({"log": ["last"]}, config)
        expected = state_of(graph, thread_id)
    assert len(expected[0]["values"]["log"]) == 14
    report = run_import(database, target)
    assert report["counts"]["threads"]["imported"] == 1 and not report["issues"], report
    assert answered_state(target, thread_id) == expected
    ended = client(target).runs.wait(thread_id, "growing", command={"resume": "now"})
    assert ended["log"] == [*expected[0]["values"]["log"], "answer now"]


def test_tables_of_the_same_names_that_are_not_the_savers_are_left_alone(database: str, target: LiveServer) -> None:
    with PostgresSaver.from_conn_string(database) as saver, psycopg.connect(database, autocommit=True) as connection:
        saver.setup()
        connection.execute("CREATE TABLE store (id int, shelf text)")
        report = run_import(database, target)
        assert report["remarks"] == ["the database has no table of the store"]
        connection.execute("ALTER TABLE checkpoint_blobs DROP COLUMN version")
        report = run_import(database, target, code=1)
        assert "has a table checkpoint_blobs without version: it is not the published saver's" in report["stopped"]
