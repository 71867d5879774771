"""Bodies of `checkpoint.written` and `checkpoint.writes`, in msgpack.

Values inside are ``(type, bytes)`` pairs that the checkpoint serde returned; only workers
decode them. Only channels with a new version travel (``blobs``); the reader finds
the others under the version that the checkpoint names.
"""

from __future__ import annotations

import msgspec

Version = str | int | float


class ChannelBlob(msgspec.Struct, frozen=True, array_like=True):
    """The value of one channel at one version. ``type`` "empty": the channel has no value."""

    channel: str
    version: str
    type: str
    data: bytes


class CheckpointBody(msgspec.Struct, frozen=True, array_like=True):
    """One checkpoint: ``checkpoint`` is the serde's pair for it without ``channel_values``.

    ``metadata`` is JSON (it is searched by containment); ``versions`` maps every channel that the checkpoint holds a
    value of to its version, as text.
    """

    namespace: str
    checkpoint_id: str
    parent_id: str | None
    type: str
    data: bytes
    metadata: bytes
    versions: dict[str, str]
    blobs: list[ChannelBlob]
    run_id: str | None = None


class Write(msgspec.Struct, frozen=True, array_like=True):
    """One write of a task. ``index`` is negative for special channels (WRITES_IDX_MAP)."""

    index: int
    channel: str
    type: str
    data: bytes


class WritesBody(msgspec.Struct, frozen=True, array_like=True):
    """Writes of one task, pending on a checkpoint."""

    namespace: str
    checkpoint_id: str
    task_id: str
    task_path: str
    writes: list[Write]


class Bundle(msgspec.Struct, frozen=True):
    """A checkpoint and the writes on it, as `UpdateState.checkpoints` holds them (either may be absent)."""

    checkpoint: CheckpointBody | None = None
    writes: list[WritesBody] = []


POSITION_INDEX_BITS = 20
"""Bits of a log position that number the checkpoints of one event."""


def log_position(offset: int, index: int = 0) -> int:
    """Return a checkpoint's position in its thread's partition. The newest checkpoint of a thread has the largest.

    ``offset``: of the event in ``run-events`` that completed it; ``index``: among the checkpoints of that event. Checkpoint ids
    do not give an order: workers make them from their own clocks, which differ.
    """
    return (offset << POSITION_INDEX_BITS) + min(index, (1 << POSITION_INDEX_BITS) - 1)


_encoder = msgspec.msgpack.Encoder()
_checkpoint = msgspec.msgpack.Decoder(CheckpointBody)
_writes = msgspec.msgpack.Decoder(WritesBody)
_bundle = msgspec.msgpack.Decoder(Bundle)


def encode(body: CheckpointBody | WritesBody | Bundle) -> bytes:
    return _encoder.encode(body)


def decode_checkpoint(data: bytes) -> CheckpointBody:
    return _checkpoint.decode(data)


def decode_writes(data: bytes) -> WritesBody:
    return _writes.decode(data)


def decode_bundle(data: bytes) -> Bundle:
    return _bundle.decode(data)
