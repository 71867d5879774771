"""A stored checkpoint: encoded, with its channel blobs and pending writes beside it. Nothing here runs graph code."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

Encoded = tuple[str, bytes]
"""The serde's (type, bytes); the type marks compressed bytes."""


UNPLACED = -1
"""Log position of a checkpoint whose position is unknown: from a snapshot of an older release."""


class StoredWrite(NamedTuple):
    """One write of a task. The order of these tuples is the order in which writes are applied."""

    task_path: str
    task_id: str
    idx: int
    channel: str
    type: str
    data: bytes


class StoredCheckpoint(msgspec.Struct, kw_only=True):
    """``versions`` names every channel that has a value; ``blobs`` holds those values that were read along."""

    thread_id: str
    namespace: str
    checkpoint_id: str
    log_position: int = UNPLACED
    """Position in the log (`langlog_schemas.checkpoints.log_position`): of two checkpoints of a thread the newer one has the larger."""
    parent_id: str | None
    run_id: str | None
    type: str
    data: bytes
    metadata: str
    """Metadata as JSON."""
    versions: dict[str, str]
    blobs: dict[str, Encoded] = {}
    writes: list[StoredWrite] = []


class Ancestor(msgspec.Struct):
    """Values and writes of one ancestor, for the channels of a lineage."""

    seeds: dict[str, Encoded]
    writes: list[StoredWrite]


def in_log_order(stored: StoredCheckpoint) -> tuple[int, str, str]:
    """Return a sort key for checkpoints of one thread, oldest first."""
    return stored.log_position, stored.checkpoint_id, stored.namespace


def by_id(stored: StoredCheckpoint) -> tuple[str, str, str]:
    """Return a sort key for checkpoints of several threads, whose log positions are not comparable."""
    return stored.checkpoint_id, stored.namespace, stored.thread_id
