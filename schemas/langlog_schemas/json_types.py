"""Names for decoded JSON."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
"""A JSON object whose members are not validated."""
