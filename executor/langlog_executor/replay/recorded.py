"""A thread's checkpoints, folded from its events in memory, still encoded. Pure.

Like the projector, for one thread and without Postgres: for showing the past and running it again. Events have to
come in log order, without duplicates and stale ones (see `langlog_schemas.consumer.Follower`). A thread whose first events
were cut from the log begins with its rows of a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from langlog_backbone.history.thread_snapshot import log_order
from langlog_schemas import checkpoints as cp
from langlog_schemas import events as ev
from langlog_schemas.snapshots import TableRows, rows_of

from ..checkpoints.overlay import Overlay
from ..checkpoints.stored_checkpoint import Encoded, StoredCheckpoint, StoredWrite

EVERYTHING = 1 << 62
"""Byte limit of an overlay without a bound."""

REPLACED = "replaced "
"""Prefix, in the read model, of the checkpoint id of a special write that a later run has replaced."""

Spot = tuple[str, str]
"""(namespace, checkpoint id)"""


class Recorded:
    def __init__(self, thread_id: str, snapshot: Sequence[TableRows] = ()) -> None:
        self.thread_id = thread_id
        self.checkpoints: dict[Spot, cp.CheckpointBody] = {}
        """Checkpoints, in log order."""
        self.writes: dict[Spot, dict[tuple[str, int], tuple[StoredWrite, str | None]]] = {}
        """Checkpoint -> its writes, with the run that made them."""
        self.blobs: dict[tuple[str, str, str], Encoded] = {}
        """(namespace, channel, version) -> value"""
        self._replaced: dict[tuple[Spot, str, int], list[tuple[StoredWrite, str | None]]] = {}
        """Special write -> those of earlier runs that it replaces, oldest first."""
        self._runs: dict[Spot, str | None] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        self._begin(snapshot)

    def note(self, event: ev.AnyEvent) -> cp.CheckpointBody | cp.WritesBody | None:  # noqa: C901 - one case an event
        """Fold an event; return the checkpoint or writes in it, if any."""
        match event:
            case ev.CheckpointWritten():
                return self._checkpoint(cp.decode_checkpoint(event.body), event.run_id)
            case ev.CheckpointWrites():
                return self._write(cp.decode_writes(event.body), event.run_id)
            case ev.CheckpointSteps():
                for one in event.events():
                    self.note(one)
            case ev.CheckpointPart():
                parts = self._parts.setdefault(event.blob_id, {})
                parts[event.index] = event.body
                if len(parts) < event.count:
                    return None
                body = b"".join(parts[n] for n in range(event.count))
                del self._parts[event.blob_id]
                if event.whole == ev.CheckpointWritten.TYPE:
                    return self._checkpoint(cp.decode_checkpoint(body), event.run_id)
                return self._write(cp.decode_writes(body), event.run_id)
            case ev.StateUpdated():
                for encoded in event.checkpoints:
                    bundle = cp.decode_bundle(encoded)
                    if bundle.checkpoint is not None:
                        self._checkpoint(bundle.checkpoint, None)
                    for writes in bundle.writes:
                        self._write(writes, None)
            case ev.RunEnded() if event.deletes_thread:
                self._clear()
            case ev.RunRolledBack() | ev.RunDeleted():
                self._remove({event.run_id})
            case ev.CheckpointsDeleted() if event.run_ids is not None:
                self._remove(set(event.run_ids))
            case ev.CheckpointsDeleted() if not event.keep_latest:
                self._clear()
            case ev.ThreadDeleted():
                self._clear()
            case _:
                pass
        return None

    def head(self, namespace: str = "") -> str | None:
        """Return the id of the latest checkpoint of a namespace: the last one in the log."""
        return next((id for ns, id in reversed(self.checkpoints) if ns == namespace), None)

    def stored(self, spot: Spot) -> StoredCheckpoint:
        """Return a checkpoint with its blobs and writes. Raises KeyError."""
        body = self.checkpoints[spot]
        versions = body.versions
        blobs = {c: blob for c, v in versions.items() if (blob := self.blobs.get((body.namespace, c, v))) is not None}
        return StoredCheckpoint(
            thread_id=self.thread_id,
            namespace=body.namespace,
            checkpoint_id=body.checkpoint_id,
            parent_id=body.parent_id,
            run_id=self._runs[spot],
            type=body.type,
            data=body.data,
            metadata=body.metadata.decode() or "{}",
            versions=versions,
            blobs=blobs,
            writes=sorted(write for write, _ in self.writes.get(spot, {}).values()),
        )

    def overlay(self) -> Overlay:
        """Return everything as an overlay for a checkpointer."""
        overlay = Overlay(EVERYTHING)
        for number, spot in enumerate(self.checkpoints):
            checkpoint = self.stored(spot)
            checkpoint.log_position = number
            overlay.learn(checkpoint)
        return overlay

    def drop_writes(self, spot: Spot, run_id: str) -> None:
        """Drop the writes of a run on a checkpoint; those that they replaced come back."""
        self._drop(spot, {run_id})

    def _begin(self, snapshot: Sequence[TableRows]) -> None:
        for row in sorted(rows_of(snapshot, "checkpoints"), key=log_order):
            metadata, versions = row["metadata"].encode(), msgspec.json.decode(row["versions"])
            self.checkpoints[row["ns"], row["checkpoint_id"]] = cp.CheckpointBody(
                row["ns"], row["checkpoint_id"], row["parent_id"], row["type"], row["data"], metadata, versions, []
            )
            self._runs[row["ns"], row["checkpoint_id"]] = row["run_id"]
        for row in rows_of(snapshot, "checkpoint_blobs"):
            self.blobs[row["ns"], row["channel"], row["version"]] = (row["type"], row["data"])
        replaced: list[tuple[int, Spot, StoredWrite, str | None]] = []
        ordinals = {row["run_id"]: int(row["ordinal"]) for row in rows_of(snapshot, "runs")}
        for row in rows_of(snapshot, "checkpoint_writes"):
            write = StoredWrite(
                row["task_path"], row["task_id"], int(row["idx"]), row["channel"], row["type"], row["data"]
            )
            spot, run_id = (row["ns"], row["checkpoint_id"]), row["run_id"]
            if write.idx < 0 and spot[1].startswith(REPLACED):
                task_id = write.task_id.removesuffix(f" {run_id or ''}")
                spot = (spot[0], spot[1].removeprefix(REPLACED))
                replaced.append((ordinals.get(run_id, -1), spot, write._replace(task_id=task_id), run_id))
                continue
            self.writes.setdefault(spot, {})[write.task_id, write.idx] = (write, run_id)
        for _, spot, write, run_id in sorted(replaced, key=lambda one: one[0]):
            self._replaced.setdefault((spot, write.task_id, write.idx), []).append((write, run_id))
        for row in rows_of(snapshot, "checkpoint_parts"):
            self._parts.setdefault(row["blob_id"], {})[int(row["idx"])] = row["data"]

    def _checkpoint(self, body: cp.CheckpointBody, run_id: str | None) -> cp.CheckpointBody:
        spot = body.namespace, body.checkpoint_id
        known = self.checkpoints.get(spot)
        if known is None:
            self._runs[spot] = body.run_id or run_id
        else:  # as in the read model: a checkpoint that is written again keeps its parent, its run and its position
            body = msgspec.structs.replace(body, parent_id=known.parent_id)
        self.checkpoints[spot] = body
        for blob in body.blobs:
            self.blobs[body.namespace, blob.channel, blob.version] = (blob.type, blob.data)
        return body

    def _write(self, body: cp.WritesBody, run_id: str | None) -> cp.WritesBody:
        spot = body.namespace, body.checkpoint_id
        recorded = self.writes.setdefault(spot, {})
        for w in body.writes:
            key = (body.task_id, w.index)
            earlier = recorded.get(key)
            if w.index < 0 and earlier is not None and earlier[1] != run_id:
                self._replaced.setdefault((spot, *key), []).append(earlier)
            if w.index < 0 or earlier is None:
                recorded[key] = (StoredWrite(body.task_path, body.task_id, w.index, w.channel, w.type, w.data), run_id)
        return body

    def _remove(self, runs: set[str]) -> None:
        for spot in [spot for spot, run_id in self._runs.items() if run_id in runs]:
            del self.checkpoints[spot], self._runs[spot]
            self.writes.pop(spot, None)
        for spot in self.writes:
            self._drop(spot, runs)

    def _drop(self, spot: Spot, runs: set[str]) -> None:
        recorded = self.writes.get(spot, {})
        for key in [key for key, (_, run_id) in recorded.items() if run_id in runs]:
            earlier = [one for one in self._replaced.pop((spot, *key), []) if one[1] not in runs]
            if earlier:
                recorded[key] = earlier.pop()
                self._replaced[(spot, *key)] = earlier
            else:
                del recorded[key]

    def _clear(self) -> None:
        for recorded in (self.checkpoints, self.writes, self.blobs, self._runs, self._parts, self._replaced):
            recorded.clear()
