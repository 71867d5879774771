"""States of threads (wire contract §4) that are made without a worker. The others are encoded by workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langlog_schemas.states import State
from msgspec import UNSET, Struct
from msgspec.structs import replace

from .members import JsonObject, OptionalText, encode


class StateUpdated(Struct):
    """Address of the checkpoint that an update has written."""

    checkpoint: JsonObject
    """Address of the checkpoint"""
    configurable: JsonObject
    """The same address, for `config.configurable`"""
    checkpoint_id: OptionalText
    """Id of the checkpoint"""


def empty_state(checkpoint: Mapping[str, Any] | None = None, select: Sequence[str] = ()) -> bytes:
    """Return the encoded state of a thread without checkpoints, or at a checkpoint that does not exist. ``select``: as
    `select.checked`."""
    state = State(
        values={},
        next=[],
        tasks=[],
        metadata=None,
        created_at=None,
        checkpoint=None if checkpoint is None else dict(checkpoint),
        parent_checkpoint=None,
        interrupts=[],
        checkpoint_id=None if checkpoint is None else checkpoint.get("checkpoint_id"),
        parent_checkpoint_id=None,
    )
    members = {name.partition(".")[0] for name in select}
    hidden = {name: UNSET for name in state.__struct_fields__ if select and name not in members}
    return encode(replace(state, **hidden))
