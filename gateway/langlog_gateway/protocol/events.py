"""Frames as events of the streaming protocol (wire contract §9.2). Pure: the same frame is the same event on every gateway.

A worker numbers its frames along the thread (`langlog_schemas.frames`), so an event's number, its id and its text follow from the
frame alone. For a run whose frames are lost, events are `derived` from its row: its end, and its last values; numbers between are
gaps then. An event is encoded once, for all its receivers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from langlog_schemas.frames import Frame
from langlog_schemas.runs.ends import FinalStatus, lifecycle
from langlog_schemas.runs.errors import Refusal

Namespace = tuple[str, ...]

SEPARATOR = "\ufffd"
"""Separator of the segments of a namespace in an event's id."""
INTERRUPT = "__interrupt__"
MESSAGE_MARK = b'"additional_kwargs"'
EMPTY_UNSAID = ("additional_kwargs", "response_metadata", "name", "tool_calls", "invalid_tool_calls", "usage_metadata")
"""Members of a message that are left out when empty."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode


class Event:
    """One event: the attributes that subscriptions select by, and its JSON."""

    __slots__ = ("_sdk", "_sse", "channel", "method", "namespace", "seq", "text")

    def __init__(self, seq: int, method: str, channel: str, namespace: Namespace, text: bytes) -> None:
        self.seq = seq
        self.method = method
        self.channel = channel
        """Channel for subscriptions: the method, except for ``input`` and ``custom:<name>``."""
        self.namespace = namespace
        self.text = text
        self._sse: bytes | None = None
        self._sdk: Event | None = None

    @property
    def for_sdk(self) -> Event:
        """Return the event for the Python SDK, which reads ``value`` of an interrupt where the protocol has ``payload``."""
        if self.method != "input.requested":
            return self
        if self._sdk is None:
            members = msgspec.json.decode(self.text)
            data = members["params"]["data"]
            data["value"] = data.get("payload")
            self._sdk = Event(self.seq, self.method, self.channel, self.namespace, _encode(members))
        return self._sdk

    @property
    def sse(self) -> bytes:
        """Return the event as a server-sent event."""
        if self._sse is None:
            self._sse = b"event: %b\ndata: %b\nid: %d\n\n" % (self.method.encode(), self.text, self.seq)
        return self._sse

    def __repr__(self) -> str:
        return f"Event({self.seq}, {self.channel!r}, {'|'.join(self.namespace)!r})"


class Name:
    """The parsed name of a frame: see `langlog_executor.frames.protocol_events`."""

    __slots__ = ("closing", "hint", "method", "namespace")

    def __init__(self, event: str) -> None:
        self.closing = event.startswith("@@")
        """About the end of the run: not delivered before the end is in the read model."""
        head, *namespace = event.lstrip("@").split("|")
        self.method, _, self.hint = head.partition("/")
        self.namespace: Namespace = tuple(namespace)


def event_of(run_id: str, frame: Frame) -> Event | None:
    """Return the event of a frame; None for a frame without a number."""
    if not frame.seq:
        return None
    name = Name(frame.event)
    data = shown_values(frame.data) if name.method == "values" else frame.data
    channel, id = name.method, frame.id
    match name.method:
        case "lifecycle" if name.hint:
            id = _known_id(run_id, "lc", name.namespace, name.hint)
        case "input.requested":
            channel, id = "input", _known_id(run_id, "input", name.namespace, name.hint)
        case "input.answered":
            channel, id = "input", _known_id(run_id, "answered", name.namespace, "")
        case "custom" if name.hint:
            channel = f"custom:{name.hint}"
    return _event(frame.seq, id, name.method, channel, name.namespace, frame.ms, data)


def _known_id(run_id: str, kind: str, namespace: Namespace, what: str) -> str:
    """Return the id of an event that happens once in a run."""
    return f"synth:{run_id}:{kind}|{SEPARATOR.join(namespace)}|{what}"


def _event(seq: int, id: str, method: str, channel: str, namespace: Namespace, ms: int, data: bytes) -> Event:
    text = (
        b'{"type":"event","event_id":%b,"seq":%d,"method":"%b","params":{"namespace":%b,"timestamp":%d,"data":%b}}'
        % (
            _encode(id),
            seq,
            method.encode(),
            _encode(namespace),
            ms,
            data,
        )
    )
    return Event(seq, method, channel, namespace, text)


def is_python_sdk(user_agent: str) -> bool:
    """Return whether a client is the Python SDK. Its WebSockets do not carry its own name."""
    return user_agent.startswith("langgraph-sdk-py/") or " websockets/" in user_agent


# --- values ----------------------------------------------------------------------------------


def shown_values(data: bytes) -> bytes:
    """Return state values without ``__interrupt__``, and messages without empty members."""
    if data[:1] != b"{" or (MESSAGE_MARK not in data and INTERRUPT.encode() not in data):
        return data
    members = _members.decode(data)
    members.pop(INTERRUPT, None)
    shown: dict[str, Any] = {
        name: _shown(msgspec.json.decode(raw)) if MESSAGE_MARK in bytes(raw) else raw for name, raw in members.items()
    }
    return _encode(shown)


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_message(item) for item in value]
    return _message(value)


def _message(value: Any) -> Any:
    if not isinstance(value, dict) or not {"type", "content", "additional_kwargs", "response_metadata"} <= value.keys():
        return value
    unsaid = {name for name in EMPTY_UNSAID if not value.get(name)}
    kept = {name: member for name, member in value.items() if name not in unsaid and name != "example"}
    return {"type": kept.pop("type"), **kept}


# --- runs whose frames are lost ------------------------------------------------------


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """An ended run: the facts from which events can be derived."""

    run_id: str
    graph_id: str
    status: FinalStatus
    first_event_number: int
    last_event_number: int
    ended_ms: int
    started_ms: int = 0
    error: str | None = None
    values: bytes | None = None
    """Values after the run: the output, or the thread's values if no run followed it."""
    pending: bool = False
    """It has stopped for a human, without further details."""
    refusal: Refusal | None = None
    """Refusal of its answer: the run never started."""
    answered: Sequence[str] = ()
    """The interrupts that a refused run would have answered by id."""


def derived(ending: Ending, after: int) -> list[Event]:
    """Return the events of a run whose frames are lost, after a number: its beginning, its values, its end.

    Numbers are the worker's: the end is the last event, or the last but one if values follow it.
    """
    if not ending.last_event_number:
        return []
    first, last, ms = ending.first_event_number, ending.last_event_number, ending.ended_ms
    interrupts = _open_interrupts(ending.values)
    events: list[Event] = []
    if first < last:
        events.append(running(ending.run_id, ending.graph_id, first, ending.started_ms or ms))
    if ending.refusal is not None and ending.answered and last - first > 1:
        id = _known_id(ending.run_id, "answered", (), "")
        data = _encode({"interrupt_ids": ending.answered})
        events.append(_event(first + 1, id, "input.answered", "input", (), ms, data))
    number = last
    if interrupts is not None:
        assert ending.values is not None
        number = last - 1 - len(interrupts)
        for interrupt in interrupts:
            wanted = interrupt.get("response_schema")
            data = _encode(
                {
                    "interrupt_id": interrupt.get("id"),
                    "payload": interrupt.get("value"),
                    **({} if wanted is None else {"response_schema": wanted}),
                }
            )
            id = _known_id(ending.run_id, "input", (), str(interrupt.get("id")))
            events.append(_event(number, id, "input.requested", "input", (), ms, data))
            number += 1
        events.append(_ended(ending, number, "interrupted"))
        events.append(_values(ending, last))
    else:
        if ending.values is not None and ending.status == "success" and last - first > 1:
            events.append(_values(ending, last - 1))
        events.append(_ended(ending, last, lifecycle(ending.status, waits=ending.pending)))
    return [event for event in events if event.seq > after and event.seq >= first]


def _open_interrupts(values: bytes | None) -> list[dict[str, Any]] | None:
    """Return the open interrupts in a run's values; None if it did not stop for a human."""
    if values is None or INTERRUPT.encode() not in values or values[:1] != b"{":
        return None
    raw = _members.decode(values).get(INTERRUPT)
    interrupts = None if raw is None else msgspec.json.decode(raw)
    return [i for i in interrupts if isinstance(i, dict)] if isinstance(interrupts, list) else None


def running(run_id: str, graph_id: str, seq: int, ms: int) -> Event:
    """Return the event of the beginning of a run whose first frames are lost."""
    return _lifecycle(run_id, seq, {"event": "running", "graph_name": graph_id}, ms)


def _ended(ending: Ending, seq: int, status: str) -> Event:
    data: dict[str, Any] = {"event": status, "graph_name": ending.graph_id}
    if status == "failed":
        # empty as the worker sends it for an exception without a text, which rows leave out
        data["error"] = ending.error or ""
    if ending.refusal is not None:
        data |= msgspec.structs.asdict(ending.refusal)
    return _lifecycle(ending.run_id, seq, data, ending.ended_ms)


def _lifecycle(run_id: str, seq: int, data: dict[str, Any], ms: int) -> Event:
    id = _known_id(run_id, "lc", (), data["event"])
    return _event(seq, id, "lifecycle", "lifecycle", (), ms, _encode(data))


def _values(ending: Ending, seq: int) -> Event:
    assert ending.values is not None
    id = f"{ending.ended_ms}-{seq}"
    return _event(seq, id, "values", "values", (), ending.ended_ms, shown_values(ending.values))


# --- where a run stands ----------------------------------------------------------------------------


def tree(events: Sequence[Event], run_id: str, graph_id: str) -> dict[str, Any]:
    """Return the tree of graphs of one run, as ``agent.getTree`` shows it, from the lifecycle events of its thread.

    Runs of a thread come one after the other: those before the run's beginning and after another's are left out. Before its
    beginning the run is shown as its graph alone.
    """
    nodes: dict[Namespace, dict[str, Any]] = {(): {"namespace": [], "status": "running", "graph_name": graph_id}}
    beginning = _known_id(run_id, "lc", (), "running")
    own = False
    for event in events:
        if event.channel != "lifecycle":
            continue
        members = msgspec.json.decode(event.text)
        data = members["params"]["data"]
        if not event.namespace and data["event"] == "running":
            own = members["event_id"] == beginning
            continue
        if not own:
            continue
        node = nodes.get(event.namespace)
        if node is None:
            node = nodes[event.namespace] = {"namespace": list(event.namespace), "status": "", "graph_name": ""}
            around = nodes.get(event.namespace[:-1], nodes[()])
            around.setdefault("children", []).append(node)
        node["status"] = "running" if data["event"] == "started" else data["event"]
        node["graph_name"] = data.get("graph_name") or node["graph_name"]
    return nodes[()]
