"""The request to a process that runs a past run again, and its answer. Between `langlog replay` and
`langlog_executor.replay.run`;
nothing here imports graph code.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec
from langlog_schemas.messages import Task
from langlog_schemas.snapshots import TableRows

Verdict = Literal["same", "different", "recorded only", "replayed only"]


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``events``: type and body of all events of the thread up to the end of the run, as far as it counts; ``snapshot``: what
    the thread was before them, where its first events were cut from the log."""

    project: str
    """Path of ``langgraph.json``."""
    task: Task
    events: list[tuple[str, bytes]]
    snapshot: list[TableRows] = []
    store_until: str
    """Time of the store's state (ISO 8601)."""
    graph: str | None = None
    """``path:graph`` instead of the project's graph; an absolute path, or a module."""
    from_checkpoint: str | None = None
    strict: bool = False
    """Compare generated ids of messages and interrupts too."""


class Difference(msgspec.Struct, frozen=True):
    """Two values at one path; JSON, truncated when long. None: no value."""

    path: str
    recorded: str | None
    replayed: str | None


class NodeDiff(msgspec.Struct, frozen=True):
    """Writes of one node in a step."""

    name: str
    verdict: Verdict
    differences: list[Difference] = []


class StepDiff(msgspec.Struct, frozen=True):
    """Comparison of a step. ``differences``: of channels, unless the nodes' writes show them already."""

    namespace: str
    step: int
    verdict: Verdict
    nodes: list[NodeDiff] = []
    differences: list[Difference] = []


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a replay. ``problem``: reason why the run could not be replayed."""

    steps: list[StepDiff] = []
    recorded: str = ""
    """Recorded outcome of the run, in words."""
    replayed: str = ""
    differences: list[Difference] = []
    """Differences of the values at the end."""
    store_writes: list[str] = []
    """Writes to the store that were not made: ``namespace/key``."""
    problem: str | None = None

    @property
    def same(self) -> bool:
        return (
            self.problem is None
            and self.recorded == self.replayed
            and not self.differences
            and all(step.verdict == "same" for step in self.steps)
        )


encode = msgspec.msgpack.Encoder().encode
decode_step = msgspec.msgpack.Decoder(StepDiff).decode
decode_request = msgspec.msgpack.Decoder(ReplayRequest).decode
decode_replayed = msgspec.msgpack.Decoder(Replayed).decode

STEP, END = b"s", b"e"
"""Kinds of parts of an answer: a completed step, or the result, which is the last part."""
_HEAD = struct.Struct("!cI")
HEAD_BYTES = _HEAD.size


def framed(kind: bytes, body: bytes) -> bytes:
    """Return an encoded part: kind, length (big-endian, 4 bytes), msgpack."""
    return _HEAD.pack(kind, len(body)) + body


def head(data: bytes) -> tuple[bytes, int]:
    """Return kind and length of the part that follows."""
    kind, length = _HEAD.unpack(data)
    return kind, length
