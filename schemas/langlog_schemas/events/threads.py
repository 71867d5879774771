"""Events of threads: their creation, updates and deletion, and their checkpoints."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..commands import ABSENT, Metadata, Ttl
from ..rules.provenance import Provenance
from .base import Event, ThreadStatus


class ThreadEvent(Event, kw_only=True, frozen=True):
    thread_id: str

    @property
    def key(self) -> str:
        return self.thread_id


class ThreadCreated(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "thread.created.v1"
    metadata: Metadata = {}
    config: Metadata = {}
    ttl: Ttl | None = None
    existed: bool = False
    """``if_exists: do_nothing`` met an existing thread: the answer is that thread, nothing changed."""
    provenance: Provenance | None = None
    """Set for an imported thread: its ``created_at`` is the thread's."""


class ThreadUpdated(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "thread.updated.v1"
    metadata: Metadata
    ttl: Ttl | None = None
    provenance: Provenance | None = None
    """Set if the change is imported."""


class ThreadDeleted(ThreadEvent, kw_only=True, frozen=True):
    """The thread was deleted with its runs and checkpoints. ``active``: (run id, attempt) that a worker may still hold."""

    TYPE: ClassVar[str] = "thread.deleted.v1"
    active: list[tuple[str, int]] = []


class StateUpdated(ThreadEvent, kw_only=True, frozen=True):
    """State changed through the API, not by a run: see `commands.UpdateState`."""

    TYPE: ClassVar[str] = "thread.state_updated.v1"
    checkpoints: list[bytes]
    values: Raw
    status: ThreadStatus
    interrupts: Raw = Raw(b"{}")
    checkpoint_id: str | None = None
    checkpoints_only: bool = False
    error: Raw = ABSENT
    """The thread's error, as JSON; absent: no error."""
    provenance: Provenance | None = None
    """Set if the state is imported: its ``updated_at`` is the thread's, unless the event has checkpoints only."""


class CheckpointsDeleted(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "checkpoint.deleted.v1"
    run_ids: list[str] | None = None
    keep_latest: bool = False
