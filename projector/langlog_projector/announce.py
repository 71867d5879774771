"""Telling those who wait that the read model holds something: replies, life messages, watermark. Always after the commit.

What is lost here is not lost for good: a gateway whose reply never comes answers 504, and readers look into Postgres.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from langlog_backbone import channels
from langlog_backbone.redis import Bus
from langlog_schemas import events as ev
from langlog_schemas import messages
from langlog_schemas.messages import Life, Reply

REPLY = b"R"
LIVELY: frozenset[str] = frozenset(
    e.TYPE
    for e in (
        *ev.FINAL_RUN_EVENTS,
        ev.RunStarted,
        ev.RunDeleted,
        ev.RunCancelRequested,
        ev.ThreadDeleted,
        ev.StateUpdated,
    )
)
"""Events that those who watch a thread are told of."""
AWAITED = LIVELY - {ev.RunStarted.TYPE}
"""Those among them that somebody may be waiting for."""


class Announcements:
    """What one batch has to say, in order."""

    def __init__(self) -> None:
        self.replies: list[tuple[str, Reply]] = []
        self.lives: list[Life] = []
        self.timer_set = False
        self.graphs_changed = False

    def note(self, event: ev.AnyEvent, body: bytes, time: str) -> None:
        if event.TYPE in LIVELY:
            thread_id: str = event.key
            self.lives.append(Life(thread_id=thread_id, type=event.TYPE, body=body, time=time))
            self.timer_set = self.timer_set or (isinstance(event, ev.RunEnded) and event.webhook is not None)
        elif isinstance(event, ev.RunCreated):
            self.timer_set = self.timer_set or event.not_before is not None
        elif isinstance(event, ev.WebhookAttempted | ev.CronCreated | ev.CronChanged | ev.CronAdvanced):
            self.timer_set = True
        elif isinstance(event, ev.GraphRegistered):
            self.graphs_changed = True

    def publish(self, bus: Bus, positions: Mapping[str, Mapping[int, int]]) -> None:
        watermark = msgspec.json.encode(positions)
        bus.deliver_local(channels.WATERMARK, watermark)
        bus.publish(channels.WATERMARK, watermark)
        for waiting, reply in self.replies:
            publish = bus.publish if waiting.startswith(channels.WORKER_ID) else bus.publish_local
            publish(channels.gateway(waiting), REPLY + messages.encode(reply))
        for life in self.lives:
            bus.publish_local(channels.life(life.thread_id), messages.encode(life))
        if self.timer_set:
            bus.publish_local(channels.TIMERS, b"")
        if self.graphs_changed:
            bus.publish_local(channels.GRAPHS, b"")


def reply_to(event: ev.AnyEvent, body: bytes, command_id: str, time: str) -> Reply:
    """The outcome that an event is of the command it comes from."""
    if isinstance(event, ev.CommandRejected | ev.AssistantRejected | ev.CronRejected):
        return Reply(command_id=command_id, status=event.status, detail=event.detail, time=time)
    return Reply(command_id=command_id, type=event.TYPE, body=body, time=time)
