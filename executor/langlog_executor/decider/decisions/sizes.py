"""Size limits of metadata that grows with each change. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def metadata_refusal(
    current: Mapping[str, Any], merged: Mapping[str, Any], limit: int | None
) -> tuple[int, str] | None:
    """Return status and detail if ``merged`` is over the limit; None if the change may proceed.

    ``limit``: bytes as JSON, as the command brings it; None: a command from before there was one. What was over the limit already may
    be changed as long as it does not grow.
    """
    if limit is None:
        return None
    size = len(msgspec.json.encode(merged))
    if size <= limit or size <= len(msgspec.json.encode(current)):
        return None
    return 422, (
        f"metadata would have {size} bytes as JSON after this change, more than {limit}. Keep what is large in the store."
    )
