"""A worker's registration of its graphs at start equals its answers to queries."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from langlog_backbone.log import NewRecord
from langlog_backbone.project.config import GraphSpec, Project
from langlog_executor.graphs.loading import load_graphs
from langlog_executor.queries.graphs import DrawingQuestion, GraphQueries, GraphQuestion, SubgraphsQuestion
from langlog_executor.worker import announcement
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

GRAPHS = Path(__file__).parents[1] / "contract" / "graphs"


class Log:
    def __init__(self) -> None:
        self.records: list[NewRecord] = []

    async def append(self, records: list[NewRecord]) -> None:
        self.records += records


def project() -> Project:
    named = {"nested": "nested.py:graph", "configurable": "configurable.py:make_graph", "agent": "agent.py:graph"}
    specs = {
        name: GraphSpec(graph_id=name, position=n, source=f"./{where.split(':')[0]}", attribute=where.split(":")[1])
        for n, (name, where) in enumerate(named.items())
    }
    return Project(file=GRAPHS / "langgraph.json", graphs=specs, config={})


async def announced() -> tuple[dict[str, ev.GraphRegistered], Any]:
    graphs, log = load_graphs(project()), Log()
    await announcement.announce(SimpleNamespace(log=log), graphs)  # type: ignore[arg-type]
    members = {}
    for record in log.records:
        if record.topic == ev.GRAPH_EVENTS:
            event = ev.decode(ev.GraphRegistered.TYPE, record.value)
            assert isinstance(event, ev.GraphRegistered)
            members[event.graph_id] = event
    return members, GraphQueries(graphs)


async def test_drawings_by_depth_subgraphs_and_schemas_are_those_that_a_worker_answers() -> None:
    events, queries = await announced()
    for graph_id, event in events.items():
        for depth in range(len(event.drawings)):
            asked = await queries.graph(DrawingQuestion(graph_id=graph_id, xray=depth or False))
            assert msgspec.json.decode(asked) == event.drawings[depth]
        whole = await queries.graph(DrawingQuestion(graph_id=graph_id, xray=True))
        assert msgspec.json.decode(whole) == event.drawings[-1]
        subgraphs = await queries.subgraphs(SubgraphsQuestion(graph_id=graph_id, recurse=True))
        assert msgspec.json.decode(subgraphs) == event.subgraphs
        schemas = await queries.schemas(GraphQuestion(graph_id=graph_id))
        assert msgspec.json.decode(schemas) == {"graph_id": graph_id, **event.schemas}
    assert len(events["nested"].drawings) == 3
    assert sorted(events["nested"].subgraphs or {}) == ["child", "child|inner"]


async def test_only_what_a_factory_makes_may_differ_by_config() -> None:
    events, _ = await announced()
    assert {graph_id: event.static for graph_id, event in events.items()} == {
        "nested": True,
        "configurable": False,
        "agent": True,
    }


async def test_a_default_assistant_is_made_with_the_projects_defaults() -> None:
    plain = project()
    config = {"configurable": {"suffix": "!"}, "tags": ["t"]}
    spec = msgspec.structs.replace(plain.graphs["configurable"], config=config, context={"suffix": "!"})
    ids = set()
    for given in (plain, msgspec.structs.replace(plain, graphs={**plain.graphs, "configurable": spec})):
        log = Log()
        await announcement.announce(SimpleNamespace(log=log), load_graphs(given))  # type: ignore[arg-type]
        (record,) = [
            record
            for record in log.records
            if record.topic == cmd.TOPIC and b'"graph_id":"configurable"' in record.value
        ]
        ids.add(record.headers["ce_id"])
    command = cmd.decode(cmd.CreateAssistant.TYPE, record.value)
    assert isinstance(command, cmd.CreateAssistant)
    assert (command.config, command.context, command.if_exists) == (config, {"suffix": "!"}, "update")
    assert len(ids) == 2, "other defaults are another command"


async def test_a_graph_too_big_to_describe_is_announced_without_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement, "DESCRIPTION_BYTES_MAX", 10)
    events, _ = await announced()
    assert all(event.drawings == [] and event.subgraphs is None and event.schemas for event in events.values())
