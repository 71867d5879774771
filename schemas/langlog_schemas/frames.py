"""Stream frames: messages of a worker to the subscribers of a run, encoded once and passed on unchanged.

A frame is one SSE event (wire contract §6): a name (``values``, ``updates|child:…``), its data as JSON bytes,
and a sequence number within the attempt, from 1 without gaps, by which readers merge backlog and live frames.
Its public id is ``<milliseconds>-<n>``, growing along an attempt, and from one run of the thread to the next. A worker that was taken for
lost may go on beside the next attempt, and publish later than its first frames: each attempt has a span of ``n`` of its own, so that no two
frames have the same id, and an id says which attempt its frame is of (`attempt_in`).

Frames that are events of the streaming protocol (wire contract §9) also have their number there, ``seq``, which counts along the thread
(`numbered`). Those that only the protocol has begin with ``@``; from the first one that begins with ``@@`` on, the outcome of the
attempt, sent once its end is in the read model. The namespace follows the name: ``@messages|child:…``.
"""

from __future__ import annotations

import msgspec


class Frame(msgspec.Struct, frozen=True, array_like=True):
    sequence: int
    ms: int
    n: int
    event: str
    data: bytes
    seq: int = 0
    past: str = ""
    """Checkpoints of the whole graph that were written since the frame before this one, ids with spaces between them."""

    @property
    def id(self) -> str:
        return f"{self.ms}-{self.n}"


class FrameBatch(msgspec.Struct, frozen=True, array_like=True):
    """Frames of one attempt that were published together."""

    run_id: str
    attempt: int
    frames: list[Frame]
    resumable: bool = False
    floor: int = 0
    """The thread's last protocol number before the run."""


ATTEMPT_SPAN = 10_000_000
"""Protocol numbers, and values of ``n`` in one millisecond, that one attempt of a run may use: events of a lost attempt stay valid, under
numbers of its own."""


def attempt_in(n: int) -> int:
    """Return the number of attempts before the one of a frame, by the ``n`` of its id; 0 for all frames of older versions."""
    return n // ATTEMPT_SPAN


def numbered(event: str) -> bool:
    """Return whether a frame of this name is an event of the streaming protocol."""
    return event[:1] == "@" or event == "values" or event.startswith("values|")


def private(event: str) -> bool:
    """Return whether frames of this name are sent by the streaming protocol only."""
    return event[:1] == "@"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FrameBatch)


def encode(batch: FrameBatch) -> bytes:
    return _encoder.encode(batch)


def decode(data: bytes) -> FrameBatch:
    return _decoder.decode(data)
