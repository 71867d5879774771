"""Topics of events, and the base of all event bodies."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

RUN_EVENTS = "run-events"
ASSISTANT_EVENTS = "assistant-events"
STORE_EVENTS = "store-events"
CRON_EVENTS = "cron-events"
GRAPH_EVENTS = "graph-events"
DEAD_LETTERS = "dead-letters"
EVENT_TOPICS = (RUN_EVENTS, ASSISTANT_EVENTS, CRON_EVENTS, STORE_EVENTS, GRAPH_EVENTS)
FOLDED_TOPICS = (*EVENT_TOPICS, DEAD_LETTERS)
"""The topics of a projection: events, and dead letters."""

LISTED_TOPICS = (RUN_EVENTS, ASSISTANT_EVENTS, CRON_EVENTS, DEAD_LETTERS)
"""The topics of lists of threads, runs, assistants and crons: their events, and releases of those that waited."""

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all event bodies. ``TYPE`` is the CloudEvents type without its prefix."""

    TYPE: ClassVar[str] = ""
    TOPIC: ClassVar[str] = RUN_EVENTS

    @property
    def topic(self) -> str:
        """Return the topic of the record."""
        return self.TOPIC

    @property
    def key(self) -> str:
        """Return the key of the record: the aggregate's id, as in the commands that cause the event."""
        raise NotImplementedError(type(self).__name__)
