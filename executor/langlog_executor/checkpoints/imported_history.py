"""Checkpoints from another server's API: the entries of ``GET /threads/{thread_id}/history``.

The API shows values, next steps, tasks and metadata, and leaves out versions of channels and versions seen by nodes. These are derived
anew from the graph, so that the library comes to the same next steps and to the same ids of tasks and interrupts, which follow from
checkpoint, step, name and triggers. Ids of checkpoints, their order and their parents stay.

Inputs of ``Send`` tasks are not shown either: the conditional edges that sent them are evaluated again, with the state that
they saw. What cannot be derived so is noted, not invented: tasks that a node sent by itself (``Command``), channels outside
of the values, answers that a node received before it raised its next interrupt.

Pure but for the saver, which reads parents that exist here and captures writes (`LogCheckpointer` over `CapturedRecords`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec
from langgraph.channels.named_barrier_value import NamedBarrierValue, NamedBarrierValueAfterFinish
from langgraph.pregel._algo import task_path_str
from langgraph.pregel._checkpoint import empty_checkpoint
from langgraph.pregel._write import PASSTHROUGH, ChannelWrite, ChannelWriteEntry
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from ..values import encoding
from ..values.library_features import DeltaChannel, DeltaSnapshot
from .imported_values import ValueReader

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple
    from langgraph.pregel import Pregel
    from langgraph.pregel._read import PregelNode

    from .checkpointer import LogCheckpointer

START, ERROR, INTERRUPT, NO_WRITES, RETURN = "__start__", "__error__", "__interrupt__", "__no_writes__", "__return__"
TASKS = "__pregel_tasks"
PULL, PUSH = "__pregel_pull", "__pregel_push"
PUSH_PATH = 3
"""Parts of the path of a task that was sent by an edge or a node."""
HIDDEN = ("__", "branch:to:", "join:")
"""Prefixes of channels that the library uses internally."""


class Address(msgspec.Struct):
    """Address of a checkpoint."""

    checkpoint_id: str
    checkpoint_ns: str = ""


class EntryTask(msgspec.Struct):
    """A task of a history entry. ``result`` absent: the server does not show it."""

    id: str
    name: str
    path: list[Any] = []
    error: Any = None
    interrupts: list[dict[str, Any]] = []
    result: Any = None


class Entry(msgspec.Struct):
    """One entry of a thread's history (wire contract §4). ``known``: it exists here already; its tasks show which nodes its
    children come after."""

    checkpoint: Address
    values: Any = None
    next: list[str] = []
    tasks: list[EntryTask] = []
    metadata: dict[str, Any] | None = None
    created_at: str | None = None
    parent_checkpoint: Address | None = None
    leaf: bool = False
    """No other checkpoint has it as its parent: a run may continue from it."""
    known: bool = False


class Position(msgspec.Struct):
    """The parts of a checkpoint that are needed to create its children."""

    versions: dict[str, Any]
    values: dict[str, Any]
    """Channel -> value, as the API shows it."""
    barriers: dict[str, frozenset[str]]
    ran: list[str]


class ImportedHistory:
    """Creates the checkpoints of one graph or subgraph, parents first. ``notes``: what was left out, and why."""

    def __init__(self, graph: Pregel[Any, Any, Any, Any], saver: LogCheckpointer, thread_id: str) -> None:
        self._graph, self._saver, self._thread_id = graph, saver, thread_id
        self._values = ValueReader()
        self._positions: dict[str, Position] = {}
        self.notes: list[str] = []

    async def add(self, entry: Entry) -> None:
        """Put the checkpoint into the saver, with the writes of its tasks."""
        id, namespace = entry.checkpoint.checkpoint_id, entry.checkpoint.checkpoint_ns
        if entry.known:
            stored = await self._saver.aget_tuple(self._config(namespace, id))
            if stored is not None:
                self._positions[id] = _position_of(stored, entry)
            return
        parent_id = entry.parent_checkpoint.checkpoint_id if entry.parent_checkpoint is not None else None
        parent = await self._parent(namespace, parent_id)
        shown = self._shown(entry.values)
        number = 1 + max((_number(version) for version in parent.versions.values()), default=0)
        version = f"{number:016}.{hashlib.sha256(id.encode()).hexdigest()[:12]}"
        versions, values = dict(parent.versions), {}
        changed: dict[str, Any] = {}
        for channel, value in shown.items():
            spec = self._graph.channels[channel]
            if channel not in parent.versions or parent.values.get(channel, msgspec.UNSET) != value:
                versions[channel] = changed[channel] = version
            read = self._values.read(value, spec)
            values[channel] = DeltaSnapshot(read) if isinstance(spec, DeltaChannel) else read
        for channel in [c for c in parent.values if c not in shown]:
            versions.pop(channel, None)
        barriers = self._barriers(parent)
        for channel, seen in barriers.items():
            if seen and seen != self._names(channel):
                values[channel] = (
                    (set(seen), False)
                    if isinstance(self._graph.channels[channel], NamedBarrierValueAfterFinish)
                    else set(seen)
                )
                if seen != parent.barriers.get(channel):
                    versions[channel] = changed[channel] = version
            else:
                versions.pop(channel, None)
        due = self._due(entry)
        for name, channel in due.items():
            if channel in shown:
                continue
            values[channel] = self._input(entry, name) if channel == START else None
            versions[channel] = changed[channel] = version
        sent = await self._sent(entry, parent, values)
        if sent:
            values[TASKS] = sent
            versions[TASKS] = changed[TASKS] = version
        checkpoint = empty_checkpoint()
        checkpoint["id"] = id
        checkpoint["ts"] = entry.created_at or checkpoint["ts"]
        checkpoint["channel_values"] = values
        checkpoint["channel_versions"] = versions
        checkpoint["versions_seen"] = {
            name: {trigger: versions[trigger] for trigger in node.triggers if trigger in versions}
            for name, node in self._graph.nodes.items()
            if name not in due
        }
        await self._saver.aput(
            self._config(namespace, parent_id), checkpoint, cast("Any", entry.metadata or {}), changed
        )
        await self._put_writes(entry)
        self._positions[id] = Position(versions, shown, barriers, _names(entry))

    async def _put_writes(self, entry: Entry) -> None:
        at = self._config(entry.checkpoint.checkpoint_ns, entry.checkpoint.checkpoint_id)
        for task in entry.tasks:
            writes = list(self._writes(entry, task))
            if writes:
                await self._saver.aput_writes(at, writes, task.id, task_path_str(tuple(task.path)))

    def _config(self, namespace: str, id: str | None) -> RunnableConfig:
        at = {"thread_id": self._thread_id, "checkpoint_ns": namespace}
        return {"configurable": at if id is None else {**at, "checkpoint_id": id}}

    async def _parent(self, namespace: str, id: str | None) -> Position:
        if id is not None and id not in self._positions:
            stored = await self._saver.aget_tuple(self._config(namespace, id))
            if stored is not None:
                self._positions[id] = _position_of(stored, None)
        return self._positions.get(id or "") or Position({}, {}, {}, [])

    def _shown(self, values: Any) -> dict[str, Any]:
        """Return channel -> value, for channels of the graph."""
        keys = self._graph.stream_channels_asis
        if isinstance(keys, str):
            return {} if values is None else {keys: values}
        if not isinstance(values, dict):
            return {}
        unknown = [name for name in values if name not in self._graph.channels]
        if unknown:
            self._note(f"the graph here has no channel {', '.join(sorted(unknown))}")
        return {name: value for name, value in values.items() if name in self._graph.channels}

    def _due(self, entry: Entry) -> dict[str, str]:
        """Return next node -> the channel that triggers it."""
        pulled = [task.name for task in entry.tasks if not task.path or task.path[0] == PULL]
        names = pulled if entry.tasks else entry.next
        due = {}
        for name in names:
            node = self._graph.nodes.get(name)
            if node is None:
                self._note(f"the graph here has no node {name}, the next step of {entry.checkpoint.checkpoint_id}")
                continue
            due[name] = _trigger(name, node)
        return due

    async def _sent(self, entry: Entry, parent: Position, values: dict[str, Any]) -> list[Send]:
        """Return the inputs of the checkpoint's ``Send`` tasks; none, with a note, when the edges now send something else."""
        names = [
            task.name for task in entry.tasks if task.path and task.path[0] == PUSH and len(task.path) == PUSH_PATH
        ]
        if not names:
            return []
        branches = getattr(getattr(self._graph, "builder", None), "branches", {})
        state = {name: value for name, value in values.items() if not name.startswith(HIDDEN)}
        sent: list[Send] = []
        try:
            for node in dict.fromkeys(parent.ran):
                for branch in branches.get(node, {}).values():
                    chosen = await branch.path.ainvoke(self._typed(state))
                    several = chosen if isinstance(chosen, list | tuple) else [chosen]
                    sent += [one for one in several if isinstance(one, Send)]
        except Exception as error:  # the project's code may raise anything
            self._note(f"a conditional edge failed when it was evaluated again ({type(error).__name__}: {error})")
            sent = []
        if [one.node for one in sent] == names:
            return sent
        if entry.leaf:
            self._note(
                f"checkpoint {entry.checkpoint.checkpoint_id} waits in {len(names)} tasks that were sent an input (Send), "
                "which the API does not show: they do not run on"
            )
        else:
            self._note("past steps of tasks that were sent an input (Send) are shown without these tasks")
        return []

    def _typed(self, state: dict[str, Any]) -> Any:
        """Return the state as the graph's functions receive it."""
        schema = getattr(getattr(self._graph, "builder", None), "state_schema", dict)
        if isinstance(schema, type) and (issubclass(schema, BaseModel) or is_dataclass(schema)):
            return schema(**state)
        return state

    def _input(self, entry: Entry, name: str) -> Any:
        """Return the input of a run, as far as it is shown: the writes of its first step."""
        task = next((task for task in entry.tasks if task.name == name), None)
        result = task.result if task is not None else None
        if result is None and entry.leaf:
            self._note(f"checkpoint {entry.checkpoint.checkpoint_id} waits with an input that the API does not show")
        return self._read_writes(result) if isinstance(result, dict) else {} if result is None else result

    def _read_writes(self, result: dict[str, Any]) -> dict[str, Any]:
        return {name: self._read(name, value) for name, value in result.items()}

    def _read(self, channel: str, value: Any) -> Any:
        spec = self._graph.channels.get(channel)
        return self._values.read(value, spec)

    def _barriers(self, parent: Position) -> dict[str, frozenset[str]]:
        """Return, for channels that wait for several nodes, the nodes that have run."""
        gathered = {}
        for channel, spec in self._graph.channels.items():
            if not isinstance(spec, NamedBarrierValue | NamedBarrierValueAfterFinish):
                continue
            consumed = any(channel in self._graph.nodes[name].triggers for name in self._ran(parent))
            before = frozenset() if consumed else parent.barriers.get(channel, frozenset())
            gathered[channel] = before | self._names(channel).intersection(parent.ran)
        return gathered

    def _ran(self, parent: Position) -> list[str]:
        return [name for name in parent.ran if name in self._graph.nodes]

    def _names(self, channel: str) -> frozenset[str]:
        return frozenset(cast("Any", self._graph.channels[channel]).names)

    def _writes(self, entry: Entry, task: EntryTask) -> Iterator[tuple[str, Any]]:
        """Yield the writes of a task. For a checkpoint that a run may continue from, only if they are complete."""
        yield from self._results(entry, task)
        if task.error is not None:
            yield ERROR, task.error if isinstance(task.error, str) else encoding.encode_text(task.error)
        if task.interrupts:
            yield INTERRUPT, tuple(_interrupt(one) for one in task.interrupts)

    def _results(self, entry: Entry, task: EntryTask) -> Iterator[tuple[str, Any]]:
        if task.result is None:
            return
        steps: list[tuple[str, Any]] = []
        if entry.leaf:
            steps_known = self._steps_after(task.name)
            if steps_known is None:
                self._note(f"{task.name} had finished at {entry.checkpoint.checkpoint_id}: it is executed again")
                return
            steps = steps_known
        if not isinstance(task.result, dict):
            yield RETURN, task.result
        elif not task.result:
            yield NO_WRITES, None
        else:
            for channel, value in task.result.items():
                several = isinstance(value, dict) and value.keys() == {"$writes"}
                for one in value["$writes"] if several else [value]:
                    yield channel, self._read(channel, one)
        yield from steps

    def _steps_after(self, name: str) -> list[tuple[str, Any]] | None:
        """Return the writes of a node that name the next steps, if these are always the same; None: they depend on what it returned."""
        node = self._graph.nodes.get(name)
        builder = getattr(self._graph, "builder", None)
        if node is None or builder is None or getattr(builder.nodes.get(name), "ends", None):
            return None
        steps: list[tuple[str, Any]] = []
        for writer in node.flat_writers:
            if not isinstance(writer, ChannelWrite):
                return None
            steps += [
                (write.channel, write.value)
                for write in writer.writes
                if isinstance(write, ChannelWriteEntry) and write.value is not PASSTHROUGH
            ]
        return steps

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def hidden_channels(graph: Pregel[Any, Any, Any, Any]) -> list[str]:
    """Return the graph's own channels that a state does not show."""
    keys = graph.stream_channels_asis
    shown = {keys} if isinstance(keys, str) else set(keys)
    return sorted(name for name in graph.channels if name not in shown and not name.startswith(HIDDEN))


def _position_of(stored: CheckpointTuple, entry: Entry | None) -> Position:
    values = stored.checkpoint["channel_values"]
    barriers = {
        name: frozenset(value[0] if isinstance(value, tuple) else value)
        for name, value in values.items()
        if name.startswith("join:")
    }
    return Position(
        dict(stored.checkpoint["channel_versions"]),
        {name: _as_shown(value) for name, value in values.items() if not name.startswith(HIDDEN)},
        barriers,
        [] if entry is None else _names(entry),
    )


def _as_shown(value: Any) -> Any:
    return msgspec.json.decode(encoding.encode(value.value if isinstance(value, DeltaSnapshot) else value))


def _names(entry: Entry) -> list[str]:
    return [task.name for task in entry.tasks] or entry.next


def _trigger(name: str, node: PregelNode) -> str:
    triggers = list(node.triggers)
    return next((t for t in triggers if t in (f"branch:to:{name}", START)), triggers[0])


def _number(version: Any) -> int:
    return version if isinstance(version, int) else int(str(version).partition(".")[0])


def _interrupt(shown: Mapping[str, Any]) -> Interrupt:
    return Interrupt(value=shown.get("value"), id=str(shown.get("id") or ""))
