"""Answers about graphs in JavaScript and their threads: those of `threads` and `graphs`, from the graph host.

Concurrency: on the I/O loop; what they read is read there. They append nothing: the writes of an update are captured, and
returned as the command that the gateway appends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_backbone.log import LogUnavailable
from langlog_backbone.values.json_shape import without_nul
from langlog_schemas import commands
from langlog_schemas.commands import UpdateState
from msgspec import Raw

from ..checkpoints.overlay import Overlay
from ..checkpoints.serde import OtherLanguage, json_cipher
from ..graph_host.checkpoint_calls import CheckpointCalls
from ..graph_host.jobs import HostLost
from ..graph_host.process import GraphHostError
from ..graph_host.questions import GraphFailed, QuestionRefused, query
from ..graph_host.run_body import config_json
from ..graph_host.store_calls import StoreCalls
from ..graphs.run_input import question_config
from ..graphs.schemas import MEMBERS
from ..runtime.records import CapturedRecords
from ..values.redaction import shown
from .captured_update import ThreadAfter, captured_update
from .graphs import DrawingQuestion, GraphQuestion, SubgraphsQuestion
from .threads import (
    CATCH_UP_S,
    HISTORY_TOO_LARGE,
    HistoryQuestion,
    ReadQuestion,
    Refused,
    StateQuestion,
    SuperstepsQuestion,
    ThreadQuestion,
    UpdateQuestion,
    WithoutRunQuestion,
)

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ..checkpoints.reader import CheckpointReader
    from ..graph_host.hosts import GraphHosts

NOT_IMPORTED = "the checkpoints of a graph in JavaScript cannot be imported: its thread stays at the source"


class HostedQueries:
    """Answers queries about hosted graphs; one per process."""

    def __init__(
        self, host: GraphHosts, reader: CheckpointReader, store: BaseStore | None, *, max_bytes: int = 100_000_000
    ) -> None:
        """``max_bytes``: as in `ThreadQueries`."""
        self._host = host
        self._reader = reader
        self._store = store
        self._max_bytes = max_bytes
        self._json = json_cipher(reader.serde)
        self._kinds: dict[type[Any], Callable[[Any], Awaitable[bytes]]] = {
            StateQuestion: self._state,
            HistoryQuestion: self._history,
            WithoutRunQuestion: self._without_run,
            UpdateQuestion: self._update,
            SuperstepsQuestion: self._supersteps,
            DrawingQuestion: self._drawing,
            SubgraphsQuestion: self._subgraphs,
            GraphQuestion: self._schemas,
        }

    def has(self, graph_id: str) -> bool:
        """Return whether the graph is one of the host's."""
        return graph_id in self._host.graph_ids

    async def answer(self, question: Any) -> bytes:
        """Answer a query. Raises Refused, and errors of reading."""
        answer = self._kinds.get(type(question))
        if answer is None:
            raise Refused(422, NOT_IMPORTED)
        try:
            return await answer(question)
        except QuestionRefused as error:
            raise Refused(error.status, error.detail) from None
        except GraphFailed as error:
            other = error.name == OtherLanguage.__name__
            raise Refused(409, str(error)) if other else Refused(500, f"{error.name}: {error}") from None
        except (HostLost, GraphHostError) as error:
            raise Refused(503, str(error)) from None

    # of threads

    async def _state(self, question: StateQuestion) -> bytes:
        await self._caught_up(question)
        answer = await self._query(
            "state", question, self._calls(question), subgraphs=question.subgraphs, select=question.select
        )
        state = _masked(answer)
        if not question.to_store or not self._json.any:
            return state
        return await self._sealed(state, question.encryption_context())

    async def _sealed(self, data: bytes, context: str) -> bytes:
        state = msgspec.json.decode(data)
        values = msgspec.json.encode(state["values"])
        state["values"] = Raw(await self._json.seal(values, context, "thread", "values"))
        for task in state["tasks"]:
            interrupts = msgspec.json.encode({"": task.get("interrupts") or []})
            task["interrupts"] = msgspec.json.decode(await self._json.seal_interrupts(interrupts, context))[""]
        return msgspec.json.encode(state)

    async def _history(self, question: HistoryQuestion) -> bytes:
        await self._caught_up(question)
        answer = await self._query(
            "history",
            question,
            self._calls(question),
            limit=question.limit,
            before=question.before,
            metadata=question.metadata,
            select=question.select,
        )
        states = [_masked({"body": state, "errors": answer["errors"]}) for state in answer["states"]]
        size = 0
        for number, state in enumerate(states, 1):
            size += len(state) + 1
            if size > self._max_bytes:
                raise Refused(413, HISTORY_TOO_LARGE.format(number, size, self._max_bytes))
        return b"[%b]" % b",".join(states)

    async def _without_run(self, question: WithoutRunQuestion) -> bytes:
        left = await self._reader.latest_without_run(question.thread_id, question.run_id)
        if left is None:
            return msgspec.json.encode({"values": None, "next": [], "interrupts": {}})
        known = Overlay()
        known.learn(left)
        known.learn_head(question.thread_id, "", left)
        answer = await self._query("state", question, self._calls(question, known), subgraphs=False, select=[])
        state = msgspec.json.decode(_masked(answer))
        interrupts = {task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]}
        return msgspec.json.encode({"values": state["values"], "next": state["next"], "interrupts": interrupts})

    async def _update(self, question: UpdateQuestion) -> bytes:
        return await self._updated(question, "update_state", values=question.values, as_node=question.as_node)

    async def _supersteps(self, question: SuperstepsQuestion) -> bytes:
        return await self._updated(question, "supersteps", supersteps=question.supersteps)

    async def _updated(self, question: UpdateQuestion | SuperstepsQuestion, kind: str, **body: Any) -> bytes:
        records = CapturedRecords()
        calls = CheckpointCalls(records, self._reader, overlay=Overlay(), configurable=question.caller.headers)
        at = {**question.config_at(), "metadata": question.metadata}
        answer = await self._query(kind, question, calls, at=at, **body)
        checkpoint = msgspec.json.decode(answer["checkpoint"])
        command = await self._command(question, records, answer, checkpoint.get("checkpoint_id"))
        return msgspec.json.encode({"checkpoint": checkpoint, "command": Raw(commands.encode(command))})

    async def _command(
        self, question: ThreadQuestion, records: CapturedRecords, answer: dict[str, Any], checkpoint_id: str | None
    ) -> UpdateState:
        """Return the captured checkpoints as a command, with the thread's state after them."""
        after = ThreadAfter(
            without_nul(answer["values"]), list(answer["next"]), without_nul(answer["interrupts"]), checkpoint_id
        )
        return await captured_update(question, records, after, self._json)

    async def _caught_up(self, question: ReadQuestion) -> None:
        if not question.busy:
            return
        with contextlib.suppress(TimeoutError, LogUnavailable):  # as of `ThreadQueries`
            async with asyncio.timeout(CATCH_UP_S):
                await self._reader.recorded_so_far(question.thread_id)

    def _calls(self, question: ThreadQuestion, known: Overlay | None = None) -> CheckpointCalls:
        configurable = question.config.get("configurable") or {}
        return CheckpointCalls(None, self._reader, overlay=known, configurable=configurable)

    async def _query(self, kind: str, question: ThreadQuestion, calls: CheckpointCalls, **body: Any) -> dict[str, Any]:
        named = {} if question.assistant_id is None else {"assistant_id": question.assistant_id}
        config = question_config(
            question.config, question.caller, thread_id=question.thread_id, graph_id=question.graph_id, **named
        )
        whole = {"graph_id": question.graph_id, "config": config_json(config), "at": question.config_at(), **body}
        return await query(self._host, kind, whole, calls, StoreCalls(self._store, config))

    # of graphs

    async def _drawing(self, question: DrawingQuestion) -> bytes:
        return await self._of_graph("graph", question, xray=question.xray)

    async def _subgraphs(self, question: SubgraphsQuestion) -> bytes:
        return await self._of_graph("subgraphs", question, namespace=question.namespace, recurse=question.recurse)

    async def _schemas(self, question: GraphQuestion) -> bytes:
        try:
            schemas = msgspec.json.decode(await self._of_graph("schemas", question))
        except GraphFailed:  # a function that fails for this config and user
            schemas = dict.fromkeys(MEMBERS)
        return msgspec.json.encode({"graph_id": question.graph_id, **schemas})

    async def _of_graph(self, kind: str, question: GraphQuestion, **body: Any) -> bytes:
        config = question.own_config
        whole = {"graph_id": question.graph_id, "config": config_json(config), **body}
        answer = await query(self._host, kind, whole, None, StoreCalls(self._store, config))
        return without_nul(answer["body"])


def _masked(answer: dict[str, Any]) -> bytes:
    """Return the state, with texts of errors as clients may see them."""
    data = without_nul(answer["body"])
    if not answer["errors"]:
        return data
    state = msgspec.json.decode(data)
    _mask(state)
    return msgspec.json.encode(state)


def _mask(state: dict[str, Any]) -> None:
    for task in state.get("tasks") or ():
        if task.get("error") is not None:
            task["error"] = shown(task["error"])
        if task.get("state") is not None:
            _mask(task["state"])
