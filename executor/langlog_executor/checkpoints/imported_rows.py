"""Checkpoints from the tables of the library's own Postgres saver: all namespaces, with pending writes.

Values come as the bytes that the saver's serializer wrote. They are read by the project's own serializer, which executes no code:
pickled values are refused, classes that the project does not allow come back as plain data. Then they are packed anew, so that
compression and encryption are those of this server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from .published_saver import PARTS_TYPE
from .serde import ProjectSerializer, unpack

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from .checkpointer import LogCheckpointer

PICKLED = "pickle"


class UnreadableValue(ValueError):
    """A stored value that must not or cannot be read: the thread cannot be imported."""


class Blob(msgspec.Struct):
    """The value of a channel at the version of the checkpoint that it comes with."""

    channel: str
    type: str
    data: bytes


class PendingWrite(msgspec.Struct):
    task_id: str
    channel: str
    type: str
    data: bytes


class Part(msgspec.Struct):
    """A value of a list whose values are stored apart."""

    type: str
    data: bytes


class StoredRow(msgspec.Struct):
    """One checkpoint. ``blobs``: values whose version was not part of an earlier checkpoint of the import."""

    checkpoint_id: str
    checkpoint: dict[str, Any]
    """The library's checkpoint as JSON, without ``channel_values``."""
    checkpoint_ns: str = ""
    parent_id: str | None = None
    metadata: dict[str, Any] = {}
    channels: list[str] = []
    """Channels that have a value."""
    blobs: list[Blob] = []
    writes: list[PendingWrite] = []


_parts = msgspec.json.Decoder(list[Part]).decode


async def add_row(saver: LogCheckpointer, thread_id: str, row: StoredRow) -> None:
    """Put the checkpoint into the saver. Raises UnreadableValue."""
    serde = saver.serde
    values: dict[str, Any] = dict.fromkeys(row.channels)
    versions: dict[str, Any] = row.checkpoint.get("channel_versions") or {}
    new = {}
    for blob in row.blobs:
        what = f"channel {blob.channel} of checkpoint {row.checkpoint_id}"
        values[blob.channel] = _value(serde, what, blob.type, blob.data)
        new[blob.channel] = versions.get(blob.channel, "")
    checkpoint = cast("Any", {**row.checkpoint, "id": row.checkpoint_id, "channel_values": values})
    metadata = cast("Any", row.metadata)
    await saver.aput(_config(thread_id, row.checkpoint_ns, row.parent_id), checkpoint, metadata, new)
    tasks: dict[str, list[tuple[str, Any]]] = {}
    for write in row.writes:
        what = f"a write to {write.channel} on checkpoint {row.checkpoint_id}"
        tasks.setdefault(write.task_id, []).append((write.channel, _value(serde, what, write.type, write.data)))
    for task_id, writes in tasks.items():
        await saver.aput_writes(_config(thread_id, row.checkpoint_ns, row.checkpoint_id), writes, task_id)


def _config(thread_id: str, namespace: str, id: str | None) -> RunnableConfig:
    at = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {"configurable": at if id is None else {**at, "checkpoint_id": id}}


def _value(serde: SerializerProtocol, what: str, kind: str, data: bytes) -> Any:
    if kind == PARTS_TYPE:
        return [_value(serde, what, part.type, part.data) for part in _parts(data)]
    if kind.partition("+")[0] == PICKLED:
        raise UnreadableValue(f"{what} was stored by pickle, which would execute code when it is read")
    try:
        return unpack(serde, kind, data)
    except Exception as error:
        hint = ": set LANGGRAPH_AES_KEY to the key of the source" if "+" in kind else ""
        raise UnreadableValue(f"{what} cannot be read ({kind}; {type(error).__name__}: {error}){hint}") from None


def refused_classes(serde: SerializerProtocol) -> list[str]:
    """Return the classes whose values were restored as plain data so far."""
    return serde.allowed.refused if isinstance(serde, ProjectSerializer) else []
