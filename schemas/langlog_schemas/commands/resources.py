"""Commands to assistants, store items and crons."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..rules.cron_authority import CronAuthority
from ..rules.provenance import Provenance
from .base import ABSENT, Body, Metadata


class AssistantCommand(Body, kw_only=True, frozen=True):
    assistant_id: str
    visible: Metadata | None = None
    """The caller's filters, as in `ThreadCommand.visible`."""

    @property
    def key(self) -> str:
        return self.assistant_id


class CreateAssistant(AssistantCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.create.v1"
    graph_id: str
    config: Metadata = {}
    context: Metadata = {}
    metadata: Metadata = {}
    name: str = "Untitled"
    description: str | None = None
    if_exists: Literal["raise", "do_nothing", "update"] = "raise"
    """``update``: an existing assistant gets a new version with this config and context, unless it already has them."""
    provenance: Provenance | None = None
    """Set for an imported assistant."""


class PatchAssistant(AssistantCommand, kw_only=True, frozen=True):
    """Change an assistant. Each patch creates a version, even an empty one. Absent members stay unchanged."""

    TYPE: ClassVar[str] = "assistant.patch.v1"
    graph_id: str | UnsetType = UNSET
    config: Metadata | UnsetType = UNSET
    context: Metadata | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata_limit: int | None = None
    """Maximum size of the merged metadata as JSON, in bytes. A larger result is refused. None: no limit."""
    provenance: Provenance | None = None
    """Set for an imported version."""


class SetLatestAssistant(AssistantCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.set_latest.v1"
    version: int | None = None
    provenance: Provenance | None = None
    """Set if the choice of the latest version is imported."""


class DeleteAssistant(AssistantCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.delete.v1"


class StoreVector(msgspec.Struct, frozen=True):
    """The embedding of one text of an item. Computed once, before the command, and never again."""

    path: str
    """The path of the text in the item's value, as ``index`` and ``store.index.fields`` name it."""
    embedding: bytes
    """Floats, little endian, of ``bits`` each."""
    bits: Literal[32, 64] = 32
    """Size of each float, in bits."""


class StoreOp(msgspec.Struct, frozen=True, omit_defaults=True):
    """A write of one item. Without ``value`` it deletes. ``ttl`` is in minutes. ``expired_by``: delete only if the item
    expires by then."""

    key: str
    value: Raw = ABSENT
    index: list[str] | Literal[False] | None = None
    ttl: float | None = None
    expired_by: str | None = None
    vectors: list[StoreVector] = []
    created_at: str | None = None
    """Creation time of an imported item that is new here. None: the time of the command."""
    updated_at: str | None = None
    """Time of the last change of an imported item. None: the time of the command."""


class StoreCommand(Body, kw_only=True, frozen=True):
    namespace: list[str]

    @property
    def key(self) -> str:
        return ".".join(self.namespace)


class WriteStore(StoreCommand, kw_only=True, frozen=True):
    """Writes to one namespace, in order."""

    TYPE: ClassVar[str] = "store.write.v1"
    ops: list[StoreOp]
    provenance: Provenance | None = None
    """Set for imported items."""


class RefreshStore(StoreCommand, kw_only=True, frozen=True):
    """Items of one namespace were read at ``read_at``: their TTLs count from then, for those that are still there."""

    TYPE: ClassVar[str] = "store.refresh.v1"
    keys: list[str]
    read_at: str


class CronCommand(Body, kw_only=True, frozen=True):
    cron_id: str
    visible: Metadata | None = None

    @property
    def key(self) -> str:
        return self.cron_id


class CreateCron(CronCommand, kw_only=True, frozen=True):
    """Create a cron (wire contract §10). The schedule, the time zone and the end have been checked."""

    TYPE: ClassVar[str] = "cron.create.v1"
    assistant_id: str
    thread_id: str | None = None
    user_id: str = ""
    schedule: str
    timezone: str | None = None
    end_time: str | None = None
    """End of the cron, as the client wrote it."""
    payload: Metadata
    metadata: Metadata = {}
    on_run_completed: Literal["delete", "keep"] | None = None
    enabled: bool = True
    authority: CronAuthority | None = None
    """Permissions of the cron's runs. None: the project has no authorization."""
    provenance: Provenance | None = None
    """Set for an imported cron."""


class PatchCron(CronCommand, kw_only=True, frozen=True):
    """Change a cron. Absent members stay unchanged. Members of ``payload`` replace those of the cron's payload.

    ``user_id`` and ``authority`` are set together: the new owner of the cron's runs, and that caller's permissions.
    """

    TYPE: ClassVar[str] = "cron.patch.v1"
    payload: Metadata
    assistant_id: str | UnsetType = UNSET
    schedule: str | UnsetType = UNSET
    timezone: str | UnsetType | None = UNSET
    end_time: str | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    on_run_completed: Literal["delete", "keep"] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    authority: CronAuthority | UnsetType | None = UNSET
    metadata_limit: int | None = None
    """Maximum size of the merged metadata as JSON, in bytes. A larger result is refused. None: no limit."""


class AdvanceCron(CronCommand, kw_only=True, frozen=True):
    """Move a cron to its next date after its due runs were requested. Ignored unless ``due`` is still the next date."""

    TYPE: ClassVar[str] = "cron.advance.v1"
    due: str
    next_run_date: str


class DeleteCron(CronCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "cron.delete.v1"
