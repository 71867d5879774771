"""Types of members, and the JSON that they are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

encode = msgspec.json.encode
Row = Mapping[str, Any]
"""A row of the read model, with JSON columns as text."""

JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
"""A JSON object that is not parsed."""
OptionalText = Annotated[Raw, Meta(extra_json_schema={"type": ["string", "null"]})]
OptionalJsonObject = Annotated[Raw, Meta(extra_json_schema={"type": ["object", "null"]})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
NULL = Raw(b"null")


def stamp(moment: datetime) -> str:
    """Return a time as text, always with microseconds and offset (wire contract §1.3)."""
    return moment.isoformat(timespec="microseconds")


def raw(text: str | None) -> Raw:
    """Return JSON text of Postgres as ``Raw``; null for a column that is null."""
    return Raw(text) if text else NULL


def raw_of(value: Any) -> Raw:
    return Raw(encode(value))
