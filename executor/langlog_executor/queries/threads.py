"""Answers queries about one thread that need its graph: state, history, and the writes of a state update (wire contract §4).

Concurrency: coroutines of a graph loop; they read through a checkpointer of their own and append nothing. An update is returned
as the command that the gateway appends: only the decider decides whether it is accepted. When a worker dies during a query, nothing
has changed, and the gateway responds with 504.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateUpdate
from langlog_backbone.log import LogUnavailable
from langlog_schemas import commands
from langlog_schemas.commands import UpdateState
from msgspec import Raw

from ..checkpoints.checkpointer import LogCheckpointer
from ..checkpoints.overlay import Overlay
from ..checkpoints.serde import IntegerTooLarge, json_cipher
from ..graphs.misfits import lenient_copies, read_history, read_state
from ..graphs.run_input import Caller, build_command, question_config
from ..graphs.state_snapshot import checkpoint_of, selected, state_of
from ..runtime.records import CapturedRecords
from ..values import encoding
from ..values.interrupts import interrupts_of
from ..values.json_cipher import context_of, encryption_context
from .captured_update import ThreadAfter, captured_update

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.store.base import BaseStore

    from ..checkpoints.reader import CheckpointReader
    from ..graphs.loading import AnyGraph, Graphs


CATCH_UP_S = 2.0
"""Maximum seconds that a query about a thread with a run in flight waits for the read model."""


TOO_LARGE = "The answer is {}, more than the limit of {} bytes (LANGLOG_MAX_ANSWER_BYTES)"
HISTORY_TOO_LARGE = (
    "The first {} entries of the history are {} bytes, more than the limit of {} bytes for one answer "
    "(LANGLOG_MAX_ANSWER_BYTES). Request fewer entries by a smaller `limit`, and for the next ones with `before`."
)


class Refused(Exception):
    """The query cannot be answered. ``status`` as in HTTP."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class ThreadQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Members of all queries about a thread. ``config`` is passed to graph factories; the checkpoint defaults to the latest."""

    graph_id: str
    thread_id: str
    config: dict[str, Any] = {}
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: dict[str, Any] | None = None
    assistant_id: str | None = None
    caller: Caller = Caller()

    def encryption_context(self) -> str:
        """Return the encryption context of what is written: the caller's, or that of the thread's configuration."""
        return context_of({**(self.config.get("configurable") or {}), **self.caller.headers})

    def config_at(self, **more: Any) -> RunnableConfig:
        """Return the config that addresses the checkpoint."""
        configurable: dict[str, Any] = {"thread_id": self.thread_id, "checkpoint_ns": self.checkpoint_ns or ""}
        if self.checkpoint_id:
            configurable["checkpoint_id"] = self.checkpoint_id
        if self.checkpoint_map:
            configurable["checkpoint_map"] = self.checkpoint_map
        return {"configurable": {**configurable, **more}}


class ReadQuestion(ThreadQuestion, frozen=True, kw_only=True):
    """``busy``: a run of the thread may be executing. ``select``: as in `state_snapshot.selected`."""

    busy: bool = False
    select: list[str] = []


class StateQuestion(ReadQuestion, frozen=True, kw_only=True):
    """``to_store``: values and interrupts are sealed in the `encryption_context`, where the project seals JSON."""

    subgraphs: bool = False
    to_store: bool = False


class HistoryQuestion(ReadQuestion, frozen=True, kw_only=True):
    limit: int = 1
    before: str | None = None
    metadata: dict[str, Any] | None = None


class UpdateQuestion(ThreadQuestion, frozen=True, kw_only=True):
    """``metadata``: metadata of the new checkpoint about graph and thread."""

    values: Any = None
    as_node: str | None = None
    metadata: dict[str, Any] = {}


class Update(msgspec.Struct, frozen=True):
    values: Any = None
    command: dict[str, Any] | None = None
    as_node: str | None = None


class Superstep(msgspec.Struct, frozen=True):
    updates: list[Update]


class SuperstepsQuestion(ThreadQuestion, frozen=True, kw_only=True):
    supersteps: list[Superstep]
    metadata: dict[str, Any] = {}


class WithoutRunQuestion(ThreadQuestion, frozen=True, kw_only=True):
    run_id: str


class ThreadQueries:
    """Answers queries about threads; one per process."""

    def __init__(
        self, graphs: Graphs, reader: CheckpointReader, store: BaseStore | None, *, max_bytes: int = 100_000_000
    ) -> None:
        """``max_bytes``: maximum size of a history as JSON, in bytes."""
        self._max_bytes = max_bytes
        self._json = json_cipher(reader.serde)
        self._graphs = graphs
        self._reader = reader
        self._store = store

    # The state of the thread itself is read on the I/O loop before its graph is used, so that the graph loop need not return for
    # it. A subgraph's namespace, or a history, is read while the graph runs.

    async def before_state(self, question: StateQuestion) -> tuple[Overlay | None]:
        """Read, on the I/O loop, the checkpoint that `state` will need."""
        await self._caught_up(question)
        if question.checkpoint_ns:
            return (None,)
        known = Overlay()
        stored = await self._reader.checkpoint(question.thread_id, "", question.checkpoint_id or None, None)
        if stored is not None:
            known.learn(stored)
        if not question.checkpoint_id:
            known.learn_head(question.thread_id, "", stored)
        return (known,)

    async def state(self, question: StateQuestion, known: Overlay | None) -> bytes:
        saver = LogCheckpointer(None, self._reader, overlay=known)
        async with self._open(question, saver) as graph:
            snapshot, errors = await read_state(graph, _read_config(question, graph), subgraphs=question.subgraphs)
            state = encoding.encode(selected(state_of(snapshot, errors), question.select))
        if not question.to_store:
            return state
        return await self._sealed(state, question.encryption_context())

    async def _sealed(self, data: bytes, context: str) -> bytes:
        if not self._json.any:
            return data
        state = msgspec.json.decode(data)
        if "values" in state:
            values = msgspec.json.encode(state["values"])
            state["values"] = Raw(await self._json.seal(values, context, "thread", "values"))
        for task in state["tasks"]:
            interrupts = msgspec.json.encode({"": task.get("interrupts") or []})
            task["interrupts"] = msgspec.json.decode(await self._json.seal_interrupts(interrupts, context))[""]
        return msgspec.json.encode(state)

    async def before_history(self, question: HistoryQuestion) -> tuple[()]:
        """Read, on the I/O loop, the checkpoints that `history` will need."""
        await self._caught_up(question)
        return ()

    async def history(self, question: HistoryQuestion) -> bytes:
        saver = LogCheckpointer(None, self._reader)
        before: RunnableConfig | None = (
            {"configurable": {"checkpoint_id": question.before}} if question.before else None
        )
        async with self._open(question, saver) as graph:
            at = _read_config(question, graph)
            snapshots = read_history(graph, config=at, filter=question.metadata, before=before, limit=question.limit)
            states: list[bytes] = []
            size = 0
            async for snapshot, errors in snapshots:
                state = encoding.encode(selected(state_of(snapshot, errors), question.select))
                states.append(state)
                size += len(state) + 1
                if size > self._max_bytes:
                    raise Refused(413, HISTORY_TOO_LARGE.format(len(states), size, self._max_bytes))
            return b"[%b]" % b",".join(states)

    async def _caught_up(self, question: ReadQuestion) -> None:
        """Wait for the records of a run in flight: its stream may have shown them already."""
        if not question.busy:
            return
        with contextlib.suppress(TimeoutError, LogUnavailable):  # an answer that is a little old is better than none
            async with asyncio.timeout(CATCH_UP_S):
                await self._reader.recorded_so_far(question.thread_id)

    async def state_without_run(self, question: WithoutRunQuestion) -> bytes:
        """Return the thread's state without the run and its checkpoints."""
        left = await self._reader.io.call(self._reader.latest_without_run(question.thread_id, question.run_id))
        if left is None:
            return encoding.encode({"values": None, "next": [], "interrupts": {}})
        known = Overlay()
        known.learn(left)
        known.learn_head(question.thread_id, "", left)
        saver = LogCheckpointer(None, self._reader, overlay=known)
        async with self._open(question, saver) as graph:
            snapshot, _ = await read_state(graph, question.config_at())
            return encoding.encode(
                {"values": snapshot.values, "next": list(snapshot.next), "interrupts": interrupts_of(snapshot)}
            )

    async def update_state(self, question: UpdateQuestion) -> bytes:
        """Return the checkpoint that the update creates, and the command for it."""
        records = CapturedRecords()
        async with self._open(question, self._capturing(records), access="threads.update") as graph:
            await self._check_namespace(graph, question.checkpoint_ns)
            config = question.config_at()
            config["metadata"] = question.metadata
            with encryption_context(question.caller.headers):
                updated = await _applied(
                    graph, records, lambda one: one.aupdate_state(config, question.values, as_node=question.as_node)
                )
            checkpoint = checkpoint_of(updated) or {}
            command = await self._command(graph, question, records, checkpoint.get("checkpoint_id"))
        return msgspec.json.encode({"checkpoint": checkpoint, "command": Raw(commands.encode(command))})

    async def supersteps(self, question: SuperstepsQuestion) -> bytes:
        """Return the command that applies all supersteps."""
        steps = [[_state_update(update) for update in step.updates] for step in question.supersteps]
        records = CapturedRecords()
        async with self._open(question, self._capturing(records), access="threads.update") as graph:
            config = question.config_at()
            config["metadata"] = question.metadata
            with encryption_context(question.caller.headers):
                updated = await _applied(graph, records, lambda one: one.abulk_update_state(config, steps))
            checkpoint = checkpoint_of(updated) or {}
            command = await self._command(graph, question, records, checkpoint.get("checkpoint_id"))
        return msgspec.json.encode({"command": Raw(commands.encode(command))})

    def _capturing(self, records: CapturedRecords) -> LogCheckpointer:
        return LogCheckpointer(records, self._reader, overlay=Overlay())

    def _open(self, question: ThreadQuestion, saver: LogCheckpointer, *, access: str = "threads.read") -> Any:
        named = {} if question.assistant_id is None else {"assistant_id": question.assistant_id}
        return self._graphs.open(
            question.graph_id,
            question_config(
                question.config, question.caller, thread_id=question.thread_id, graph_id=question.graph_id, **named
            ),
            checkpointer=saver,
            store=self._store,
            access_context=access,  # type: ignore[arg-type]
            user=question.caller.auth_user,
        )

    async def _check_namespace(self, graph: AnyGraph, namespace: str | None) -> None:
        """Raise Refused if an update names a subgraph that the graph does not have."""
        if not namespace:
            return
        named = "|".join(part.partition(":")[0] for part in namespace.split("|") if not part.isdigit())
        async for _ in graph.aget_subgraphs(namespace=named, recurse=True):
            return
        raise Refused(400, f"Subgraph {named} not found")

    async def _command(
        self, graph: AnyGraph, question: ThreadQuestion, records: CapturedRecords, checkpoint_id: str | None
    ) -> UpdateState:
        """Return the captured checkpoints as a command, with the thread's state after them."""
        latest: RunnableConfig = {"configurable": {"thread_id": question.thread_id, "checkpoint_ns": ""}}
        snapshot, _ = await read_state(graph, latest)
        after = ThreadAfter(
            encoding.encode(snapshot.values),
            list(snapshot.next),
            encoding.encode(interrupts_of(snapshot)),
            checkpoint_id,
        )
        return await captured_update(question, records, after, self._json)


async def _applied(
    graph: AnyGraph, records: CapturedRecords, update: Callable[[AnyGraph], Awaitable[RunnableConfig]]
) -> RunnableConfig:
    """Return the result of an update, also of a state that the graph itself refuses: otherwise nothing could repair it. Raises
    Refused."""
    try:
        return await update(graph)
    except InvalidUpdateError as error:
        raise Refused(400, str(error)) from None
    except IntegerTooLarge as error:
        raise Refused(422, f"The update cannot be stored: {error}") from None
    except Exception:
        for lenient in lenient_copies(graph):
            records.events.clear()
            try:
                return await update(lenient)
            except InvalidUpdateError as error:
                raise Refused(400, str(error)) from None
            except Exception:  # noqa: S112 -- the first error is the one that says what is wrong
                continue
        raise


def _read_config(question: ThreadQuestion, graph: AnyGraph) -> RunnableConfig:
    """Return the config to read from. A `RemoteGraph` that is a node elsewhere sends the namespace of its own task, which
    is dropped here."""
    steps = (question.checkpoint_ns or "").split("|")
    known = {name for name, _ in graph.get_subgraphs()} if ":" in steps[0] else set()
    while steps and ":" in steps[0] and steps[0].partition(":")[0] not in known:
        del steps[0]
    return msgspec.structs.replace(question, checkpoint_ns="|".join(steps)).config_at()


def _state_update(update: Update) -> StateUpdate:
    values: Any = build_command(update.command) if update.command else update.values
    return StateUpdate(values=values, as_node=update.as_node)
