"""Members and limits that several request bodies share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, UnsetType

Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=2**62)]
ENTRIES_MAX = 10_000
"""Maximum number of ids, names in ``select``, and runs of a batch, in one request; 422 beyond it. Each takes time on the
loop that all clients share."""
Ids = Annotated[list[str], Meta(max_length=ENTRIES_MAX)]
BULK_MAX = 1_000
"""Maximum number of answers, or runs to retry, in one request: each creates a run."""
Name = Annotated[str, Meta(max_length=1_000)]
Description = Annotated[str, Meta(max_length=10_000)]
"""Description of an assistant, with its maximum length in characters: every list of assistants carries it."""
Moment = Annotated[datetime, Meta(tz=True)]
"""A time in ISO 8601 with its offset."""
SortOrder = Literal["asc", "desc"]
NULL = Raw(b"null")
T = TypeVar("T")


def given(value: T | UnsetType) -> T | None:
    """Return the value of a member that may be left out, and must not be null."""
    return None if value is UNSET else value


def null() -> Raw:
    """Return JSON null. As a default factory it lets a schema be generated, which the value itself does not."""
    return NULL
