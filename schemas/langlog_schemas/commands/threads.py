"""Commands to threads."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import Raw

from ..rules.provenance import Provenance
from .base import ABSENT, Body, IdleStatus, Metadata

TTL_MAX_MINUTES = 100 * 366 * 1440.0
"""A hundred years. Longer values are cut to this, so that a datetime can hold the result."""


class Ttl(msgspec.Struct, frozen=True, omit_defaults=True):
    """Time to live of a thread: ``ttl`` minutes after its last change."""

    ttl: float
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadCommand(Body, kw_only=True, frozen=True):
    thread_id: str
    visible: Metadata | None = None
    """The caller's filters (`filters`): for the caller, a thread that does not match does not exist."""

    @property
    def key(self) -> str:
        return self.thread_id


class CreateThread(ThreadCommand, kw_only=True, frozen=True):
    """Create a thread. ``fresh``: the id was minted for this command, so no thread with it can exist."""

    TYPE: ClassVar[str] = "thread.create.v1"
    metadata: Metadata = {}
    ttl: Ttl | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    fresh: bool = False
    config: Metadata = {}
    """The thread's ``config``, if the thread is imported."""
    provenance: Provenance | None = None
    """Set for an imported thread."""


class PatchThread(ThreadCommand, kw_only=True, frozen=True):
    """Merge metadata one level deep; set the TTL when given."""

    TYPE: ClassVar[str] = "thread.patch.v1"
    metadata: Metadata = {}
    ttl: Ttl | None = None
    metadata_limit: int | None = None
    """Maximum size of the merged metadata as JSON, in bytes. A larger result is refused. None: no limit."""
    provenance: Provenance | None = None
    """Set if the changes are imported."""


class DeleteThread(ThreadCommand, kw_only=True, frozen=True):
    """Remove the thread with all that belongs to it; runs in flight are stopped."""

    TYPE: ClassVar[str] = "thread.delete.v1"


class CheckpointChunk(msgspec.Struct, frozen=True):
    """Piece ``index`` of ``count`` of an encoded checkpoint, or of its writes, that is too large for one record."""

    blob_id: str
    """Id of the encoded body, the same in all of its pieces."""
    index: int
    count: int
    whole: Literal["checkpoint.written.v1", "checkpoint.writes.v1"]
    body: bytes


class UpdateState(ThreadCommand, kw_only=True, frozen=True):
    """Add checkpoints that a worker has prepared for a state update (wire contract §4).

    Refused with 409 while a run is in flight. ``checkpoints`` are encoded
    `langlog_schemas.checkpoints` bodies, in order.
    """

    TYPE: ClassVar[str] = "thread.update_state.v1"
    checkpoints: list[bytes]
    values: Raw
    next: list[str] = []
    interrupts: Raw = Raw(b"{}")
    checkpoint_id: str | None = None
    checkpoints_only: bool = False
    """Set when checkpoints are copied into a thread: they change neither its status nor its values."""
    status: IdleStatus | None = None
    """New status of the thread. None: derived from ``next``."""
    error: Raw = ABSENT
    """New ``error`` of the thread, as JSON; absent: no error."""
    chunk: CheckpointChunk | None = None
    """A piece of a large checkpoint. Such a command carries nothing else; all pieces precede the command that follows the checkpoint."""
    provenance: Provenance | None = None
    """Set if the state is imported. With ``updated_at`` the thread gets that time, unless the command has checkpoints only."""


class DeleteCheckpoints(ThreadCommand, kw_only=True, frozen=True):
    """Remove checkpoints: all of the thread, those of some runs, or all but the latest of each namespace."""

    TYPE: ClassVar[str] = "thread.delete_checkpoints.v1"
    run_ids: list[str] | None = None
    keep_latest: bool = False


class ExpireThread(ThreadCommand, kw_only=True, frozen=True):
    """Delete the thread if its TTL has passed. The decider checks; it does nothing before that time or while runs are in flight."""

    TYPE: ClassVar[str] = "thread.expire.v1"
