"""Events of the audit API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any


def each_step(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Checkpoints and writes that share a record, as an event each."""
    separate: list[dict[str, Any]] = []
    for event in events:
        steps = event["data"]["steps"] if event["type"] == "langlog.checkpoint.steps.v1" else None
        if steps is None:
            separate.append(event)
            continue
        begun = datetime.fromisoformat(event["time"])
        for step in steps:
            time = (begun + timedelta(microseconds=step["after_us"])).isoformat(timespec="microseconds")
            separate.append({**event, "type": step["type"], "time": time, "data": step})
    return separate
