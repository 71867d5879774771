"""Events of the log (docs/how-to/audit.md)."""

from __future__ import annotations

from langlog_backbone.history.event_view import EventView
from msgspec import Struct


class EventPage(Struct):
    """A page of events of the log."""

    events: list[EventView]
    """Events, oldest first"""
    next: str | None
    """Value of `after` for the next page; null on the last page"""
