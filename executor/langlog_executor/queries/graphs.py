"""Answers about a graph itself: its drawing, its subgraphs, its schemas (wire contract §2). Coroutines of a graph loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..graphs.drawings import drawing
from ..graphs.run_input import Caller, question_config
from ..graphs.schemas import schemas_of, subgraph_schemas
from ..values import encoding

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from langchain_core.runnables import RunnableConfig
    from langgraph.store.base import BaseStore

    from ..graphs.loading import AnyGraph, Graphs


class GraphQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A query about a graph. ``config`` is passed to graph factories."""

    graph_id: str
    config: dict[str, Any] = {}
    assistant_id: str | None = None
    caller: Caller = Caller()

    @property
    def own_config(self) -> RunnableConfig:
        """Return the config with which the caller's graph is made."""
        named = {} if self.assistant_id is None else {"assistant_id": self.assistant_id}
        return question_config(self.config, self.caller, graph_id=self.graph_id, **named)


class DrawingQuestion(GraphQuestion, frozen=True, kw_only=True):
    """A query for a drawing. ``xray``: whether, or how deep, subgraphs are expanded."""

    xray: bool | int = False


class SubgraphsQuestion(GraphQuestion, frozen=True, kw_only=True):
    namespace: str | None = None
    recurse: bool = False


class GraphQueries:
    """Answers queries about graphs; one per process."""

    def __init__(self, graphs: Graphs, store: BaseStore | None = None) -> None:
        """``store``: for factories that use it."""
        self._graphs = graphs
        self._store = store

    async def graph(self, question: DrawingQuestion) -> bytes:
        """Return ``{nodes, edges}``."""
        async with self._open(question) as graph:
            return encoding.encode(await drawing(graph, xray=question.xray))

    async def subgraphs(self, question: SubgraphsQuestion) -> bytes:
        """Return name (with ``recurse`` also ``outer|inner``) -> schemas; empty when no subgraph has that name."""
        async with self._open(question) as graph:
            return encoding.encode(await subgraph_schemas(graph, question.namespace, recurse=question.recurse))

    async def schemas(self, question: GraphQuestion) -> bytes:
        schemas = await schemas_of(
            self._graphs, question.graph_id, question.own_config, self._store, user=question.caller.auth_user
        )
        return encoding.encode({"graph_id": question.graph_id, **schemas})

    def _open(self, question: GraphQuestion) -> AbstractAsyncContextManager[AnyGraph]:
        return self._graphs.open(
            question.graph_id,
            question.own_config,
            store=self._store,
            access_context="assistants.read",
            user=question.caller.auth_user,
        )
