"""Stream frames: what a worker tells those who watch a run, encoded once and carried as it is.

A frame is one SSE event of API.md section 6: a name (``values``, ``updates|child:…``), its data as JSON bytes,
and a sequence number within the attempt, from 1 without gaps, by which readers merge backlog and live frames.
Its public id is ``<milliseconds>-<n>``, growing along the thread.
"""

from __future__ import annotations

import msgspec


class Frame(msgspec.Struct, frozen=True, array_like=True):
    sequence: int
    ms: int
    n: int
    event: str
    data: bytes

    @property
    def id(self) -> str:
        return f"{self.ms}-{self.n}"


class FrameBatch(msgspec.Struct, frozen=True, array_like=True):
    """Frames of one attempt that were published together."""

    run_id: str
    attempt: int
    frames: list[Frame]
    resumable: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FrameBatch)


def encode(batch: FrameBatch) -> bytes:
    return _encoder.encode(batch)


def decode(data: bytes) -> FrameBatch:
    return _decoder.decode(data)
