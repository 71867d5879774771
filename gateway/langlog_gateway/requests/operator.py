"""Request bodies of the operator API."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct


class RetryKey(Struct, forbid_unknown_fields=True):
    """A parked key whose records are to be handled again."""

    key: Annotated[str, Meta(min_length=1)]
    """Key of the records, such as the id of a thread"""


class DropRecord(Struct, forbid_unknown_fields=True):
    """The record that is to be discarded."""

    key: Annotated[str, Meta(min_length=1)]
    """Key of the record"""
    origin: Annotated[str, Meta(min_length=1)]
    """The record as the list shows it: `<topic>-<partition>-<offset>`"""


class RetryWebhooks(Struct, forbid_unknown_fields=True):
    """The runs whose webhooks are to be sent again."""

    run_ids: Annotated[list[UUID], Meta(min_length=1, max_length=500)]
    """Runs whose webhooks were given up"""


class Replay(Struct):
    """Options of a replay of a run."""

    checkpoint_id: str | None = None
    """Checkpoint of the run to continue from, instead of its input"""
    strict: bool = False
    """Compare generated ids of messages and interrupts too"""
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 300.0
    """Seconds for the graph"""
