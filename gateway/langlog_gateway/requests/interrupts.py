"""Request bodies of open interrupts (langlog's own API)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from langlog_schemas.json_types import Object
from msgspec import Meta, Raw, Struct

from .members import BULK_MAX, Limit, Offset, SortOrder, null


class InterruptCount(Struct):
    """Conditions of a count of open interrupts. All conditions must hold."""

    thread_id: str | None = None
    """Id of the thread that was interrupted"""
    assistant_id: str | None = None
    """Id of the assistant whose run was interrupted"""
    graph_id: str | None = None
    """Graph that was interrupted"""
    metadata: Object = {}
    """Metadata that the threads must contain; nested objects are compared member by member"""


class InterruptSearch(InterruptCount):
    """Conditions of a search for open interrupts. All conditions must hold."""

    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    sort_order: SortOrder = "asc"
    """`asc` returns the oldest first"""


class InterruptAnswer(Struct):
    """The answer to one open interrupt."""

    thread_id: str
    """Id of the thread that was interrupted"""
    interrupt_id: str
    """Id of the interrupt"""
    response: Raw = msgspec.field(default_factory=null)
    """The answer, any JSON: the return value of `interrupt()` in the node"""


class InterruptsRespond(Struct):
    """Answers to open interrupts."""

    answers: Annotated[list[InterruptAnswer], Meta(min_length=1, max_length=BULK_MAX)]
    """Answers, at most 1,000"""


INTERRUPTS_RESPOND = msgspec.json.Decoder(InterruptsRespond)
INTERRUPT_COUNT = msgspec.json.Decoder(InterruptCount)
INTERRUPT_SEARCH = msgspec.json.Decoder(InterruptSearch)
