"""Events of threads: their creation, updates and deletion, and their checkpoints."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..commands import Metadata, Ttl
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


class ThreadUpdated(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "thread.updated.v1"
    metadata: Metadata
    ttl: Ttl | None = None


class ThreadDeleted(ThreadEvent, kw_only=True, frozen=True):
    """The thread is gone with runs and checkpoints. ``active``: (run id, attempt) that a worker may still hold."""

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


class CheckpointsDeleted(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "checkpoint.deleted.v1"
    run_ids: list[str] | None = None
    keep_latest: bool = False
