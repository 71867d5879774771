"""Events of assistants, crons, store namespaces and graphs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from ..commands import Metadata, StoreOp
from ..rules.cron_authority import CronAuthority
from ..rules.provenance import Provenance
from .base import ASSISTANT_EVENTS, CRON_EVENTS, GRAPH_EVENTS, STORE_EVENTS, Event


class AssistantVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an assistant."""

    version: int
    graph_id: str
    config: Metadata
    context: Metadata
    metadata: Metadata
    name: str
    description: str | None
    created_at: str


class AssistantEvent(Event, kw_only=True, frozen=True):
    TOPIC: ClassVar[str] = ASSISTANT_EVENTS
    assistant_id: str

    @property
    def key(self) -> str:
        return self.assistant_id


class AssistantRejected(AssistantEvent, kw_only=True, frozen=True):
    """A command to an assistant that changed nothing."""

    TYPE: ClassVar[str] = "assistant.command_rejected.v1"
    status: int
    detail: str


class AssistantCreated(AssistantEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.created.v1"
    content: AssistantVersion
    existed: bool = False
    provenance: Provenance | None = None
    """Set for an imported assistant."""


class AssistantVersioned(AssistantEvent, kw_only=True, frozen=True):
    """A patch: a new version, now the latest."""

    TYPE: ClassVar[str] = "assistant.versioned.v1"
    content: AssistantVersion
    provenance: Provenance | None = None
    """Set for an imported version."""


class AssistantLatestSet(AssistantEvent, kw_only=True, frozen=True):
    """An earlier version became the latest; no version was created."""

    TYPE: ClassVar[str] = "assistant.latest_set.v1"
    content: AssistantVersion
    provenance: Provenance | None = None
    """Set if the choice of the latest version is imported."""


class AssistantDeleted(AssistantEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.deleted.v1"


class CronContent(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a cron. ``next_run_date`` in UTC; the other times ISO 8601 too, ``end_time`` as the client wrote it."""

    assistant_id: str
    thread_id: str | None
    user_id: str
    schedule: str
    timezone: str | None
    end_time: str | None
    payload: Metadata
    metadata: Metadata
    on_run_completed: Literal["delete", "keep"] | None
    enabled: bool
    next_run_date: str
    created_at: str
    updated_at: str
    authority: CronAuthority | None = None
    """The permissions that the project's handlers gave its runs; not shown to clients. None: no authorization, or an older
    cron."""


class CronEvent(Event, kw_only=True, frozen=True):
    TOPIC: ClassVar[str] = CRON_EVENTS
    cron_id: str

    @property
    def key(self) -> str:
        return self.cron_id


class CronRejected(CronEvent, kw_only=True, frozen=True):
    """A command to a cron that changed nothing."""

    TYPE: ClassVar[str] = "cron.command_rejected.v1"
    status: int
    detail: str


class CronCreated(CronEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "cron.created.v1"
    content: CronContent
    provenance: Provenance | None = None
    """Set for an imported cron."""


class CronChanged(CronEvent, kw_only=True, frozen=True):
    """A patch; ``content`` is the complete content of the cron after it."""

    TYPE: ClassVar[str] = "cron.changed.v1"
    content: CronContent


class CronAdvanced(CronEvent, kw_only=True, frozen=True):
    """The cron moved to its next date; nothing else of it changes."""

    TYPE: ClassVar[str] = "cron.advanced.v1"
    next_run_date: str


class CronDeleted(CronEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "cron.deleted.v1"


class StoreEvent(Event, kw_only=True, frozen=True):
    TOPIC: ClassVar[str] = STORE_EVENTS
    namespace: list[str]

    @property
    def key(self) -> str:
        return ".".join(self.namespace)


class StoreWritten(StoreEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "store.written.v1"
    ops: list[StoreOp]
    provenance: Provenance | None = None
    """Set for imported items."""


class StoreRefreshed(StoreEvent, kw_only=True, frozen=True):
    """Reads have postponed the expiry of these items: see `commands.RefreshStore`."""

    TYPE: ClassVar[str] = "store.refreshed.v1"
    keys: list[str]
    read_at: str


class GraphRegistered(Event, kw_only=True, frozen=True):
    """A graph that executors can run, in the order of ``langgraph.json``. Written by an executor at start.

    ``schemas``: the object of ``GET /assistants/{id}/schemas`` without ``graph_id``. ``static``: it is the same for every config.
    ``drawings``: by depth, the last one with all subgraphs expanded; empty: gateways query a worker. ``subgraphs``: schemas of
    all of them, by name (``outer|inner``); None: gateways query a worker.
    """

    TYPE: ClassVar[str] = "graph.registered.v1"
    TOPIC: ClassVar[str] = GRAPH_EVENTS
    graph_id: str
    position: int
    description: str | None = None
    schemas: dict[str, Any] = {}
    static: bool = False
    drawings: list[Any] = []
    subgraphs: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        return self.graph_id
