"""A checkpoint as it is stored: encoded, with its channel blobs and pending writes beside it. Nothing here runs graph code."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

Encoded = tuple[str, bytes]
"""The serde's (type, bytes), compressed where the type says so."""


UNPLACED = -1
"""Log position of a checkpoint whose place is not known: from a snapshot of an older release."""


class StoredWrite(NamedTuple):
    """One write of a task. Ordering them as tuples is the order in which they are applied."""

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
    """Where it is in the log (`langlog_schemas.checkpoints.log_position`): of two in a thread the newer one has the larger."""
    parent_id: str | None
    run_id: str | None
    type: str
    data: bytes
    metadata: str
    """JSON."""
    versions: dict[str, str]
    blobs: dict[str, Encoded] = {}
    writes: list[StoredWrite] = []


class Ancestor(msgspec.Struct):
    """What one ancestor holds of the channels that a lineage was asked for."""

    seeds: dict[str, Encoded]
    writes: list[StoredWrite]


def in_log_order(stored: StoredCheckpoint) -> tuple[int, str, str]:
    """Sorts checkpoints of one thread, oldest first."""
    return stored.log_position, stored.checkpoint_id, stored.namespace


def by_id(stored: StoredCheckpoint) -> tuple[str, str, str]:
    """Sorts checkpoints of several threads, whose log positions do not compare."""
    return stored.checkpoint_id, stored.namespace, stored.thread_id
