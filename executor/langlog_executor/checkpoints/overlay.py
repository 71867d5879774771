"""Checkpoints that one attempt has written or read, so that it need not wait for the projection to read them again.

No other process writes checkpoints of a thread while a run is in flight on it, so a checkpoint that was read stays valid for the attempt.
Values are kept encoded: a checkpoint that is read back shares nothing with the values that nodes change. When more than
`KEPT_BYTES` have gathered, all but the latest checkpoint of each namespace is dropped (`thinned`): then reads query
the read model. Used by the threads of one run, one at a time per step. It dies with the attempt.
"""

from __future__ import annotations

from .stored_checkpoint import Encoded, StoredCheckpoint, StoredWrite, in_log_order

KEPT_BYTES = 16_000_000
"""Encoded bytes that one attempt keeps before it drops older checkpoints."""

APPENDED = 1 << 62
"""First log position of checkpoints that this attempt has appended: beyond all positions in the read model."""

Space = tuple[str, str]
"""(thread, namespace)"""


class Overlay:
    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self.thinned = False
        """Whether some written checkpoints were dropped."""
        self._room = kept_bytes
        self._bytes = 0
        self._checkpoints: dict[Space, dict[str, StoredCheckpoint]] = {}
        self._blobs: dict[tuple[str, str, str, str], Encoded] = {}
        self._writes: dict[tuple[str, str, str], dict[tuple[str, int], StoredWrite]] = {}
        self._heads: dict[Space, StoredCheckpoint | None] = {}
        self._appended = APPENDED

    def put(self, checkpoint: StoredCheckpoint) -> None:
        """Add a checkpoint written by this attempt; its ``blobs`` are those of new versions. One that is written again
        keeps its position."""
        known = self._checkpoints.get((checkpoint.thread_id, checkpoint.namespace), {}).get(checkpoint.checkpoint_id)
        self._appended += 1
        checkpoint.log_position = self._appended if known is None else known.log_position
        for channel, blob in checkpoint.blobs.items():
            self._blobs[checkpoint.thread_id, checkpoint.namespace, channel, checkpoint.versions[channel]] = blob
        self._keep(checkpoint)
        if self._bytes > self._room:
            self._thin()

    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: list[StoredWrite]) -> None:
        """Add writes. An existing ordinary write (index from 0) stays; a special one is replaced."""
        cached = self._writes.setdefault((thread_id, namespace, checkpoint_id), {})
        for write in writes:
            key = (write.task_id, write.idx)
            if write.idx < 0 or key not in cached:
                cached[key] = write
                self._bytes += len(write.data)

    def learn(self, checkpoint: StoredCheckpoint) -> None:
        """Add a checkpoint from the read model, complete with blobs and writes."""
        space = (checkpoint.thread_id, checkpoint.namespace)
        if checkpoint.checkpoint_id not in self._checkpoints.get(space, {}):
            self._keep(checkpoint)
            cached = self._writes.setdefault((*space, checkpoint.checkpoint_id), {})
            for write in checkpoint.writes:
                key = (write.task_id, write.idx)
                if write.idx >= 0 or key not in cached:
                    cached[key] = write

    def learn_head(self, thread_id: str, namespace: str, checkpoint: StoredCheckpoint | None) -> None:
        """Record the latest checkpoint of a namespace in the read model; None: it has none."""
        self._heads.setdefault((thread_id, namespace), checkpoint)

    def learn_blob(self, key: tuple[str, str, str, str], blob: Encoded) -> None:
        self._blobs.setdefault(key, blob)

    def knows_head(self, thread_id: str, namespace: str) -> bool:
        return (thread_id, namespace) in self._heads

    def latest(self, thread_id: str, namespace: str) -> str | None:
        """Return the id of the latest known checkpoint."""
        space = (thread_id, namespace)
        known = [*self._checkpoints.get(space, {}).values()]
        head = self._heads.get(space)
        if head is not None:
            known.append(head)
        return max(known, key=in_log_order).checkpoint_id if known else None

    def get(self, thread_id: str, namespace: str, checkpoint_id: str) -> StoredCheckpoint | None:
        """Return the checkpoint with its writes, in order, and its known blobs; None if it is not here."""
        stored = self._checkpoints.get((thread_id, namespace), {}).get(checkpoint_id)
        if stored is None:
            return None
        blobs = {
            channel: blob
            for channel, version in stored.versions.items()
            if (blob := self._blobs.get((thread_id, namespace, channel, version))) is not None
        }
        return StoredCheckpoint(
            thread_id=thread_id,
            namespace=namespace,
            checkpoint_id=checkpoint_id,
            log_position=stored.log_position,
            parent_id=stored.parent_id,
            run_id=stored.run_id,
            type=stored.type,
            data=stored.data,
            metadata=stored.metadata,
            versions=stored.versions,
            blobs=blobs,
            writes=sorted(self._writes.get((thread_id, namespace, checkpoint_id), {}).values()),
        )

    def blob(self, key: tuple[str, str, str, str]) -> Encoded | None:
        return self._blobs.get(key)

    def all(self, thread_id: str | None, namespace: str | None) -> list[StoredCheckpoint]:
        """Return every known checkpoint, of a thread and namespace if given."""
        return [
            stored
            for (thread, space), cached in list(self._checkpoints.items())
            if (thread_id is None or thread == thread_id) and (namespace is None or space == namespace)
            for checkpoint_id in list(cached)
            if (stored := self.get(thread, space, checkpoint_id)) is not None
        ]

    def merge_writes(self, checkpoint: StoredCheckpoint) -> None:
        """Add this attempt's writes to a checkpoint from the read model."""
        mine = self._writes.get((checkpoint.thread_id, checkpoint.namespace, checkpoint.checkpoint_id))
        if mine:
            merged = {(w.task_id, w.idx): w for w in checkpoint.writes}
            for key, write in mine.items():
                if write.idx < 0 or key not in merged:
                    merged[key] = write
            checkpoint.writes = sorted(merged.values())

    def forget(self, thread_id: str) -> None:
        """Drop everything about a thread whose checkpoints were removed."""
        for cached in (self._checkpoints, self._blobs, self._writes, self._heads):
            for key in [k for k in cached if k[0] == thread_id]:
                del cached[key]  # type: ignore[arg-type]

    def _thin(self) -> None:
        """Keep the latest checkpoint of each namespace with its blobs and writes."""
        checkpoints, blobs, writes = self._checkpoints, self._blobs, self._writes
        self.thinned = True
        self._checkpoints, self._blobs, self._writes, self._bytes = {}, {}, {}, 0
        for (thread_id, namespace), cached in checkpoints.items():
            newest = max(cached.values(), key=in_log_order)
            latest = newest.checkpoint_id
            self._checkpoints[thread_id, namespace] = {latest: newest}
            self._bytes += len(newest.data)
            for channel, version in newest.versions.items():
                blob = blobs.get((thread_id, namespace, channel, version))
                if blob is not None:
                    self._blobs[thread_id, namespace, channel, version] = blob
                    self._bytes += len(blob[1])
            if (thread_id, namespace, latest) in writes:
                self._writes[thread_id, namespace, latest] = writes[thread_id, namespace, latest]
        # one state may need more than half of the bound: thinning at every step would keep nothing and cost much
        self._room = max(self._room, 2 * self._bytes)

    def _keep(self, checkpoint: StoredCheckpoint) -> None:
        thread_id, namespace = checkpoint.thread_id, checkpoint.namespace
        self._bytes += len(checkpoint.data) + sum(len(data) for _, data in checkpoint.blobs.values())
        for channel, blob in checkpoint.blobs.items():
            self._blobs.setdefault((thread_id, namespace, channel, checkpoint.versions[channel]), blob)
        self._checkpoints.setdefault((thread_id, namespace), {})[checkpoint.checkpoint_id] = checkpoint
