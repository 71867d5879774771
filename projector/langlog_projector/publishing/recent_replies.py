"""Recent replies, kept to be sent again to clients that did not receive them: Redis may lose a message.

A reply is published once, when the read model holds its outcome. A process that still waits for one requests it from the
projectors (`ResendReplies`),
and all replies of the last `WINDOW_S` are published again when the projector's own connection to Redis comes back: whichever side
reconnects first, the other one repeats.

Concurrency: belongs to its announcer, on the projector's event loop. When it dies the replies are lost: waiting gateways
respond with 504.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import Bus
from langlog_backbone.time.sources import monotonic
from langlog_schemas import messages

logger = structlog.get_logger(__name__)

KEPT_S = 120.0
"""Seconds for which a reply is kept."""
KEPT_BYTES = 32_000_000
"""Maximum bytes of kept replies; the oldest are dropped first."""
WINDOW_S = 30.0
"""Seconds before a reconnect within which published replies are published again."""


class _Sent(NamedTuple):
    channel: str
    data: bytes
    at: float


class RecentReplies:
    """``clock``: seconds."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._sent: OrderedDict[str, _Sent] = OrderedDict()
        self._bytes = 0

    async def start(self) -> None:
        self._bus.on_missed.append(self._reconnected)
        await self._bus.subscribe(channels.RESEND_REPLIES, self._on_resend_request)

    async def stop(self) -> None:
        self._bus.on_missed.remove(self._reconnected)
        await self._bus.unsubscribe(channels.RESEND_REPLIES, self._on_resend_request)

    def publish(self, command_id: str, channel: str, data: bytes) -> None:
        """Publish a reply, and keep it for `KEPT_S`."""
        self._bus.publish(channel, data)
        old = self._sent.pop(command_id, None)
        if old is not None:
            self._bytes -= len(old.data)
        self._sent[command_id] = _Sent(channel, data, self._clock())
        self._bytes += len(data)
        oldest = self._clock() - KEPT_S
        while self._sent:
            first = next(iter(self._sent.values()))
            if first.at >= oldest and self._bytes <= KEPT_BYTES:
                break
            self._sent.popitem(last=False)
            self._bytes -= len(first.data)

    def _on_resend_request(self, data: bytes) -> None:
        try:
            request = messages.decode_resend_replies(data)
        except msgspec.MsgspecError as error:
            logger.error("projector.resend_request_unreadable", error=str(error))
            return
        channel = channels.gateway(request.reply_to)
        for id in request.command_ids:
            sent = self._sent.get(id)
            if sent is not None:
                self._bus.publish(channel, sent.data)

    def _reconnected(self) -> None:
        since = self._clock() - WINDOW_S
        for sent in reversed(self._sent.values()):
            if sent.at < since:
                return
            self._bus.publish(sent.channel, sent.data)
