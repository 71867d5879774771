"""How an encoded checkpoint, or encoded writes, become an event of the log and are known to their attempt. Nothing here opens a value.

Before that it is checked (`storable`) that the projector can store them, because afterwards they are in the log. Addresses come from
graph code and from clients (``configurable``). One of another type, with a NUL character, or too long for an index of Postgres' would
park its thread. The run fails instead, and its thread stays usable.

Concurrency: as that of the saver that uses it; `RecordSink.emit` may be called from any thread.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
from langlog_schemas.checkpoints import CheckpointBody, WritesBody, decode_checkpoint, decode_writes, encode
from langlog_schemas.events import CheckpointWrites, CheckpointWritten

from .stored_checkpoint import StoredCheckpoint, StoredWrite

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..runtime.records import RecordSink
    from .overlay import Overlay

ADDRESS_BYTES_MAX = 2_000
"""Maximum bytes of the names that one index of Postgres holds together: namespace and channel, or namespace, checkpoint and task."""
UTF8_BYTES_MAX = 4
"""Maximum bytes of one character."""


class UnstorableCheckpoint(ValueError):
    """The checkpoint cannot be stored under this address."""

    for_clients = True


class CheckpointEmission:
    """``records`` None: of a saver that only reads."""

    def __init__(self, records: RecordSink | None, overlay: Overlay | None, task: Task | None) -> None:
        self._records = records
        self._overlay = overlay
        self._task = task

    @property
    def sink(self) -> RecordSink:
        """Return the sink of the run's records. Raises RuntimeError for a checkpointer that only reads."""
        if self._records is None:
            raise RuntimeError("this checkpointer only reads")
        return self._records

    def checkpoint(self, thread_id: str, body: CheckpointBody) -> None:
        """Raises UnstorableCheckpoint."""
        run_id, attempt = self._fence(thread_id)
        self.sink.emit(
            CheckpointWritten(thread_id=thread_id, run_id=run_id, attempt=attempt, body=storable(thread_id, body))
        )
        if self._overlay is not None:
            self._overlay.put(
                StoredCheckpoint(
                    thread_id=thread_id,
                    namespace=body.namespace,
                    checkpoint_id=body.checkpoint_id,
                    parent_id=body.parent_id,
                    run_id=body.run_id,
                    type=body.type,
                    data=body.data,
                    metadata=body.metadata.decode(),
                    versions=body.versions,
                    blobs={
                        blob.channel: (blob.type, blob.data) for blob in body.blobs if blob.channel in body.versions
                    },
                )
            )

    def writes(self, thread_id: str, body: WritesBody) -> None:
        """Raises UnstorableCheckpoint."""
        run_id, attempt = self._fence(thread_id)
        self.sink.emit(
            CheckpointWrites(thread_id=thread_id, run_id=run_id, attempt=attempt, body=storable(thread_id, body))
        )
        if self._overlay is not None:
            self._overlay.put_writes(
                thread_id,
                body.namespace,
                body.checkpoint_id,
                [StoredWrite(body.task_path, body.task_id, w.index, w.channel, w.type, w.data) for w in body.writes],
            )

    def _fence(self, thread_id: str) -> tuple[str | None, int]:
        """Run and attempt that an event belongs to; graph code may also write to threads that are not the run's."""
        if self._task is not None and self._task.thread_id == thread_id:
            return self._task.run_id, self._task.attempt
        return None, 0


def storable(thread_id: str, body: CheckpointBody | WritesBody) -> bytes:
    """Return the encoded body. Raises UnstorableCheckpoint."""
    data = encode(body)
    try:
        (decode_checkpoint if isinstance(body, CheckpointBody) else decode_writes)(data)
    except msgspec.ValidationError as error:
        raise UnstorableCheckpoint(f"a checkpoint cannot be stored as its config has it: {error}") from None
    addresses = _addresses(thread_id, body)
    if "\0" in (names := "".join(itertools.chain.from_iterable(addresses))):
        raise UnstorableCheckpoint("a checkpoint cannot be stored: its address has a NUL character in it")
    for address in addresses if len(names) * UTF8_BYTES_MAX > ADDRESS_BYTES_MAX else ():
        size = sum(len(name.encode()) for name in address)
        if size > ADDRESS_BYTES_MAX:
            raise UnstorableCheckpoint(
                f"a checkpoint cannot be stored: thread, namespace and name take {size} bytes, more than {ADDRESS_BYTES_MAX}"
            )
    return data


def _addresses(thread_id: str, body: CheckpointBody | WritesBody) -> list[tuple[str, ...]]:
    """Return the names of each row of the body."""
    namespace, checkpoint_id = body.namespace, body.checkpoint_id
    if isinstance(body, WritesBody):
        return [
            (thread_id, namespace, checkpoint_id, body.task_id, body.task_path),
            *[(thread_id, namespace, write.channel) for write in body.writes],
        ]
    return [
        (thread_id, namespace, checkpoint_id),
        (thread_id, namespace, body.parent_id or "", body.run_id or ""),
        *[(thread_id, namespace, blob.channel, blob.version) for blob in body.blobs],
        *[(thread_id, namespace, channel, version) for channel, version in body.versions.items()],
    ]
