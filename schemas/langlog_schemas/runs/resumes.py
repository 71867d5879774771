"""The answers in a run's ``command.resume``. Pure; used by gateways, deciders and workers."""

from __future__ import annotations

import re

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


def by_id(resume: object) -> dict[str, object] | None:
    """Return the answers by interrupt id, or None if ``resume`` is a single value.

    As in langgraph, an object counts as a map of answers if all of its keys look like interrupt ids, also if it is empty.
    """
    if isinstance(resume, dict) and all(isinstance(key, str) and _INTERRUPT_ID.fullmatch(key) for key in resume):
        return resume
    return None
