"""JSON as Postgres takes it. Pure."""

from __future__ import annotations

import re

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def jsonb(raw: bytes | str | None) -> str | None:
    """JSON as text that Postgres takes as jsonb: without NUL characters, which it cannot store."""
    if raw is None:
        return None
    text = raw.decode() if isinstance(raw, bytes) else raw
    return _NUL.sub(r"\1", text) if "\\u0000" in text else text
