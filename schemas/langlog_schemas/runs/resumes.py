"""What a run's ``command.resume`` answers. Pure; read by gateways, deciders and workers alike."""

from __future__ import annotations

import re

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


def by_id(resume: object) -> dict[str, object] | None:
    """The answers by interrupt id; None when it is one value. As langgraph takes it: a map whose keys all look like ids, an empty one too."""
    if isinstance(resume, dict) and all(isinstance(key, str) and _INTERRUPT_ID.fullmatch(key) for key in resume):
        return resume
    return None
