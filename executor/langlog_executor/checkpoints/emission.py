"""How an encoded checkpoint, or encoded writes, become an event of the log and are known to their attempt. Nothing here opens a value.

Concurrency: as that of the saver that uses it; `RecordSink.emit` may be called from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langlog_schemas import checkpoints
from langlog_schemas.events import CheckpointWrites, CheckpointWritten

from .storable_checkpoint import storable
from .stored_checkpoint import StoredCheckpoint, StoredWrite

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..runtime.records import RecordSink
    from .overlay import Overlay


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

    def checkpoint(self, thread_id: str, body: checkpoints.CheckpointBody) -> None:
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

    def writes(self, thread_id: str, body: checkpoints.WritesBody) -> None:
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
