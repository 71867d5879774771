"""Topic of commands, types of their members, and the base of all command bodies."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Raw

TOPIC = "commands"

MultitaskStrategy = Literal["reject", "interrupt", "rollback", "enqueue"]
CancelAction = Literal["interrupt", "rollback", "disconnect"]
"""``disconnect``: an interrupt, since the client that the run was tied to has left (wire contract §6.5)."""
Outcome = Literal["success", "error", "interrupted", "timeout", "rolled_back"]
IdleStatus = Literal["idle", "interrupted", "error"]
"""Status of a thread without runs in flight."""
Metadata = dict[str, Any]

ABSENT = Raw(b"")
"""Value of an absent ``Raw`` member (a union with None cannot be decoded). It is falsy, and omitted when encoded."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all command bodies. ``TYPE`` is the CloudEvents type without its prefix."""

    TYPE: ClassVar[str] = ""

    @property
    def key(self) -> str:
        """Return the aggregate's id: the key of the record, so that one decider handles all commands of the aggregate."""
        raise NotImplementedError(type(self).__name__)
