"""Pages by cursor: the end of a page, so that the next one begins there at the same cost, however many rows precede it. Pure.

An offset reads and drops the rows it skips, and shifts when rows are added or removed; a cursor does neither.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

import msgspec

from .errors import unprocessable

AFTER = "x-pagination-after"
"""Response header: cursor of the next page, if there is one."""
CHARACTERS_MAX = 1_000


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last row of a page: its sort key, and its id, which orders equal keys."""

    sort_by: str
    sort_order: str
    id: str
    at: datetime | None = None
    """Time in the sort column; None: the rows are sorted by their ids."""

    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


_decoder = msgspec.json.Decoder(Cursor)


def cursor_of(text: str, sort_by: str, sort_order: str) -> Cursor:
    """Decode a cursor of a page with the same order. Raises ApiError 422."""
    try:
        if len(text) > CHARACTERS_MAX:
            raise ValueError(text)
        cursor = _decoder.decode(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise unprocessable(f"after is {text[:100]!r}: expected the header {AFTER} of the page before") from None
    if "\0" in cursor.id:  # Postgres has no such text
        raise unprocessable(f"after is {text[:100]!r}: expected the header {AFTER} of the page before")
    if (cursor.sort_by, cursor.sort_order) != (sort_by, sort_order) or (cursor.at is None) != (sort_by.endswith("_id")):
        raise unprocessable(
            f"after belongs to a page sorted by {cursor.sort_by[:50]} {cursor.sort_order[:10]}, not by {sort_by} {sort_order}. "
            "Send the same order for each page"
        )
    if cursor.at is not None and cursor.at.tzinfo is None:
        raise unprocessable(f"after is {text[:100]!r}: expected the header {AFTER} of the page before")
    return cursor
