"""Server-sent events: frames as bytes on the wire (wire contract §6.1). Pure.

Lines end in LF, where the recorded server has CRLF: the event-stream grammar allows both, and clients written by hand split at
an empty line. ``event``, ``data``, then ``id`` where there is one; a blank line between events. A batch is encoded once per way
of looking at it, however many clients read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from langlog_schemas.frames import Frame, FrameBatch, private
from msgspec import Struct

FrameId = tuple[int, int]
"""(milliseconds, n) of a frame's public id."""
FramePosition = tuple[int, int]
"""(attempt, sequence) of a frame of a run; of a run that is over, of its last one."""

HEARTBEAT = b": heartbeat\n\n"

UNKNOWN = -1


def missing(events: int) -> bytes:
    """Return a comment, which clients ignore: this many events of the run are no longer available; `UNKNOWN`: perhaps some are."""
    if events == UNKNOWN:
        return b": events may be missing here, neither Redis nor the log has what was before\n\n"
    return b": %d events are missing here, neither Redis nor the log has them\n\n" % events


HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def event(name: str, data: bytes, id: str | None = None) -> bytes:
    """Return one event; ``data`` is JSON in one line. Line breaks of the name, which may be a node's, become spaces."""
    if "\n" in name or "\r" in name:
        name = name.replace("\n", " ").replace("\r", " ")
    if id is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"event: %b\ndata: %b\nid: %b\n\n" % (name.encode(), data, id.encode())


def encode(frames: Iterable[Frame], *, ids: bool) -> bytes:
    return b"".join([event(f.event, f.data, f"{f.ms}-{f.n}" if ids else None) for f in frames])


Modes = frozenset[str]


def modes_of(text: Iterable[str]) -> Modes | None:
    """Return the event names of stream modes in a query (repeated, or separated by commas); None: all of them."""
    modes = {mode for value in text for mode in value.split(",") if mode}
    return frozenset("messages" if mode == "messages-tuple" else mode for mode in modes) or None


ALWAYS = frozenset({"metadata", "command", "error", "feedback"})
"""Events that pass every filter."""
WITHOUT_METADATA = "-metadata"
"""Among modes: leave `metadata` out too."""


def matches(name: str, modes: Modes) -> bool:
    """Return whether an event belongs to the modes: ``messages/partial`` is of mode messages, ``updates|ns`` of updates."""
    base = name.partition("|")[0].partition("/")[0]
    return base in modes or (base in ALWAYS and f"-{base}" not in modes)


Namespaces = frozenset[tuple[str, ...]]


def namespaces_of(texts: Iterable[str]) -> Namespaces | None:
    """Return the namespaces in a query: ``child:<task id>|inner:<task id>``, empty for the whole graph; None: all of them."""
    return frozenset(tuple(text.split("|")) if text else () for text in texts) or None


def within(frame: Frame, namespaces: Namespaces) -> bool:
    """Return whether the frame is of one of the namespaces itself, not of one inside it. ``child`` matches any task of that name."""
    name, *namespace = frame.event.split("|")
    if name in ALWAYS:
        return True
    if name == "events":
        namespace = _namespace_of_event(frame.data)
    return any(_same(namespace, wanted) for wanted in namespaces)


def _same(namespace: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(namespace) == len(wanted) and all(
        given in (step, step.partition(":")[0]) for step, given in zip(namespace, wanted, strict=True)
    )


class _Metadata(Struct):
    langgraph_checkpoint_ns: str | None = None


class _Event(Struct):
    metadata: _Metadata | None = None


_event_decoder = msgspec.json.Decoder(_Event)


def _namespace_of_event(data: bytes) -> list[str]:
    """Return the namespace of an event of mode ``events``: its metadata names the node, whose graph it is."""
    try:
        metadata = _event_decoder.decode(data).metadata
    except msgspec.MsgspecError:
        return []
    at = "" if metadata is None else metadata.langgraph_checkpoint_ns or ""
    return at.split("|")[:-1]


class Batch:
    """Frames of one attempt that arrived together, and their encodings so far."""

    __slots__ = ("_encoded", "attempt", "bytes", "floor", "frames", "resumable", "run_id")

    def __init__(self, batch: FrameBatch) -> None:
        self.run_id = batch.run_id
        self.attempt = batch.attempt
        self.frames = batch.frames
        self.resumable = batch.resumable
        self.floor = batch.floor
        self.bytes = sum(len(frame.data) for frame in batch.frames)
        self._encoded: dict[tuple[int, Modes | None, Namespaces | None, bool], bytes] = {}

    @property
    def first(self) -> int:
        return self.frames[0].sequence

    @property
    def last(self) -> int:
        return self.frames[-1].sequence

    @property
    def first_id(self) -> FrameId:
        return (self.frames[0].ms, self.frames[0].n)

    @property
    def last_id(self) -> FrameId:
        return (self.frames[-1].ms, self.frames[-1].n)

    def before(self, id: FrameId) -> Batch:
        """Return a batch of the frames with lower ids; it may have none."""
        frames = [frame for frame in self.frames if (frame.ms, frame.n) < id]
        return Batch(FrameBatch(self.run_id, self.attempt, frames, self.resumable, self.floor))

    def encoded(
        self,
        after: int = 0,
        modes: Modes | None = None,
        namespaces: Namespaces | None = None,
        *,
        ids: bool | None = None,
    ) -> bytes:
        """Return the encoded frames with a sequence number above ``after``. ``ids`` None: those of the run's own stream."""
        shown = self.resumable if ids is None else ids
        key = (max(after, self.first - 1), modes, namespaces, shown)
        data = self._encoded.get(key)
        if data is None:
            public = [f for f in self.frames if f.sequence > after and not private(f.event)]
            frames = [
                f
                for f in public
                if (modes is None or matches(f.event, modes)) and (namespaces is None or within(f, namespaces))
            ]
            data = self._encoded[key] = encode(frames, ids=shown)
        return data
