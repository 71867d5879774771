"""Comparison of two executions of a run, step by step: writes of each node, changed channels, and differences. Pure.

Steps are matched by namespace (without the ids of tasks) and number, nodes by name, several of one name by their order. Ids that
are generated anew in each run (of messages without one, of interrupts) are not compared unless requested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_backbone.history.event_view import node_of
from langlog_schemas import checkpoints as cp

from ..checkpoints.serde import JAVASCRIPT, unpack, unpacked
from ..graphs.run_input import NULL_TASK
from ..values import encoding
from .recorded import Recorded
from .request import Difference, NodeDiff, StepDiff, Verdict

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

DIFFERENCES_MAX = 50
"""Maximum number of differences of one node or step; further ones are left out."""
VALUE_WIDTH = 400
"""Maximum number of characters of a shown value."""
TASKS = "__pregel_tasks"
PUSHED = "~__pregel_push, "
INTERRUPT = "__interrupt__"
OUTSIDE = "(input)"
"""Name for writes without a node: a command's."""

Key = tuple[str, int]
"""(namespace without task ids, step)"""
Bodies = Iterable[cp.CheckpointBody | cp.WritesBody]


class Step:
    def __init__(self) -> None:
        self.tasks: list[tuple[str, str, dict[str, list[Any]]]] = []
        """(node, task path, channel -> values written)"""
        self.changed: dict[str, Any] = {}

    def nodes(self) -> dict[str, dict[str, list[Any]]]:
        """Writes by node name; the second node of one name is ``name#2``."""
        writes_of: dict[str, dict[str, list[Any]]] = {}
        counts: dict[str, int] = {}
        for name, _, writes in sorted(self.tasks, key=lambda t: t[:2]):
            counts[name] = counts.get(name, 0) + 1
            writes_of[name if counts[name] == 1 else f"{name}#{counts[name]}"] = writes
        return writes_of


class Way:
    """One execution of a run. ``recorded``: all checkpoints that its writes may belong to."""

    def __init__(self, bodies: Bodies, recorded: Recorded, serde: SerializerProtocol) -> None:
        self._recorded = recorded
        self._serde = serde
        self.steps: dict[Key, Step] = {}
        for body in bodies:
            self.note(body)

    def note(self, body: cp.CheckpointBody | cp.WritesBody) -> None:
        """Add the next body, in log order."""
        if isinstance(body, cp.CheckpointBody):
            step = self._step(body.namespace, number(body))
            step.changed |= {b.channel: self._value(b.type, b.data) for b in body.blobs}
        else:
            self._note_writes(body)

    def _note_writes(self, body: cp.WritesBody) -> None:
        base = self._recorded.checkpoints.get((body.namespace, body.checkpoint_id))
        step = self._step(body.namespace, -1 if base is None else number(base) + 1)
        writes: dict[str, list[Any]] = {}
        for write in body.writes:
            writes.setdefault(write.channel, []).append(self._value(write.type, write.data))
        name = self._node(body, base)
        for known, path, earlier in step.tasks:  # a task's writes may be split over several records
            if (known, path) == (name, body.task_path):
                for channel, values in writes.items():
                    earlier.setdefault(channel, []).extend(values)
                return
        step.tasks.append((name, body.task_path, writes))

    def _step(self, namespace: str, number: int) -> Step:
        return self.steps.setdefault((bare(namespace), number), Step())

    def _node(self, body: cp.WritesBody, base: cp.CheckpointBody | None) -> str:
        name = node_of(body.task_path)
        if name is not None:
            return name
        if body.task_id == NULL_TASK:
            return OUTSIDE
        path = body.task_path.removeprefix(PUSHED).partition(", ")[0]
        if base is not None and path.isdigit() and TASKS in base.versions:  # sent: the packet names the node
            blob = self._recorded.blobs.get((base.namespace, TASKS, base.versions[TASKS]))
            sent = None if blob is None else _opened(self._serde, *blob)
            if isinstance(sent, list) and int(path) < len(sent):
                packet = sent[int(path)]
                return str(packet.get("node", "?") if isinstance(packet, dict) else getattr(packet, "node", "?"))
        return "(task)"

    def _value(self, kind: str, data: bytes) -> Any:
        return msgspec.json.decode(encoding.encode(_opened(self._serde, kind, data)))


def _opened(serde: SerializerProtocol, kind: str, data: bytes) -> Any:
    """Return a stored value; of a graph in JavaScript what its serializer has written, with messages as the API shows them."""
    own, plain = unpacked(serde, kind, data)
    if not own.startswith(JAVASCRIPT):
        return unpack(serde, kind, data)
    return _javascript(msgspec.json.decode(plain)) if own == JAVASCRIPT + "json" else plain


def _javascript(value: Any) -> Any:
    match value:
        case {"lc": 1, "type": "constructor", "id": [*_, str(name)], "kwargs": dict(members)}:
            return {"type": name, **{key: _javascript(each) for key, each in members.items()}}
        case dict():
            return {key: _javascript(each) for key, each in value.items()}
        case list():
            return [_javascript(each) for each in value]
    return value


def number(body: cp.CheckpointBody) -> int:
    """Return the number of the step that a checkpoint ends."""
    step = msgspec.json.decode(body.metadata or b"{}").get("step")
    return step if isinstance(step, int) else -1


def bare(namespace: str) -> str:
    """Return the namespace without task ids: ``child:6f…|inner:1a…`` -> ``child|inner``."""
    return "|".join(part.partition(":")[0] for part in namespace.split("|"))


def compare(recorded: Way, replayed: Way, *, strict: bool, among: Iterable[Key] | None = None) -> list[StepDiff]:
    """Return the compared steps of both, in order; ``among``: only these."""
    keys = sorted(among or {*recorded.steps, *replayed.steps}, key=lambda key: (key[1], key[0]))
    return [_step(key, recorded.steps.get(key), replayed.steps.get(key), strict=strict) for key in keys]


def _step(key: Key, recorded: Step | None, replayed: Step | None, *, strict: bool) -> StepDiff:
    if recorded is None or replayed is None:
        verdict: Verdict = "replayed only" if recorded is None else "recorded only"
        one = recorded or replayed
        assert one is not None
        return StepDiff(*key, verdict, [NodeDiff(name, verdict) for name in one.nodes()])
    before, after = recorded.nodes(), replayed.nodes()
    nodes = [_node(name, before.get(name), after.get(name), strict=strict) for name in dict.fromkeys([*before, *after])]
    differs = any(node.verdict != "same" for node in nodes)
    changed = [] if differs else differences(recorded.changed, replayed.changed, strict=strict)
    return StepDiff(*key, "different" if differs or changed else "same", nodes, changed)


def _node(
    name: str, recorded: Mapping[str, Any] | None, replayed: Mapping[str, Any] | None, *, strict: bool
) -> NodeDiff:
    if recorded is None or replayed is None:
        return NodeDiff(name, "replayed only" if recorded is None else "recorded only")
    diffs = differences(recorded, replayed, strict=strict)
    return NodeDiff(name, "different" if diffs else "same", diffs)


def differences(recorded: Any, replayed: Any, *, strict: bool) -> list[Difference]:
    """Return the differences of two JSON values, at most `DIFFERENCES_MAX`."""
    diffs: list[Difference] = []
    _differ(recorded, replayed, "", diffs, strict=strict)
    return diffs


_MISSING = object()


def _differ(a: Any, b: Any, path: str, into: list[Difference], *, strict: bool) -> None:
    if len(into) >= DIFFERENCES_MAX or a is b:
        return
    if isinstance(a, dict) and isinstance(b, dict):
        volatile = not strict and _volatile(a, path) and _volatile(b, path)
        for key in dict.fromkeys([*a, *b]):
            if not (volatile and key == "id"):
                inner = f"{path}.{key}" if path else str(key)
                _differ(a.get(key, _MISSING), b.get(key, _MISSING), inner, into, strict=strict)
    elif isinstance(a, list) and isinstance(b, list):
        for n in range(max(len(a), len(b))):
            _differ(
                a[n] if n < len(a) else _MISSING, b[n] if n < len(b) else _MISSING, f"{path}[{n}]", into, strict=strict
            )
    elif type(a) is not type(b) or a != b:
        into.append(Difference(path, _shown(a), _shown(b)))


def _volatile(value: dict[str, Any], path: str) -> bool:
    """Return whether the value's ``id`` is generated: that of a message, or of an interrupt."""
    return ("type" in value and "content" in value) or ("value" in value and path.startswith(INTERRUPT))


def _shown(value: Any) -> str | None:
    if value is _MISSING:
        return None
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"
