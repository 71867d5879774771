"""JSON in a form that Postgres accepts. Pure."""

from __future__ import annotations

import msgspec
from langlog_backbone.values.json_shape import without_nul


def jsonb(raw: bytes | str | None) -> str | None:
    """Return JSON as text for jsonb: without NUL characters, which Postgres cannot store."""
    if raw is None:
        return None
    if isinstance(raw, str):
        return without_nul(raw.encode()).decode() if "\\u0000" in raw else raw
    return without_nul(raw).decode()


def json_text(value: object) -> str:
    """Return a value as JSON for jsonb."""
    return jsonb(msgspec.json.encode(value)) or ""
