"""Known positions of the read model: no connection to Postgres is used until the read model has reached them.

A crash without synchronous commits, or a failover to an asynchronous replica, costs Postgres its last commits. Changes that this process
knows (by a reply, an event, a position) would then be missing, until the projector has folded them again. Every such loss ends all
connections. So each new one compares positions before its first statement, and waits.

Positions are known by messages, by what each new connection has read, and by what the process has read since (`note`). One that has
started knows none: gateways wait before they listen, and workers before they execute, and note what they found (`catching_up`).

Concurrency: belongs to the event loop of its bus.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
import structlog

if TYPE_CHECKING:
    import asyncpg

    from ..log import TopicPartition

logger = structlog.get_logger(__name__)

RECHECK_S = 0.5
"""Seconds after which positions are read again, although no message reported a change."""

_decode = msgspec.json.Decoder(dict[str, dict[int, int]]).decode


class ReadPositions:
    def __init__(self) -> None:
        self._known: dict[TopicPartition, int] = {}
        self.moved = asyncio.Event()
        """Set by the next message, which replaces it by another one. Take it before you read positions, to miss no change since."""

    def on_watermark(self, data: bytes) -> None:
        """Handler of `channels.WATERMARK`."""
        for topic, marks in _decode(data).items():
            for part, offset in marks.items():
                self.note((topic, part), offset)
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()

    def note(self, partition: TopicPartition, offset: int) -> None:
        """Record that Postgres has shown all records below this offset."""
        if offset > self._known.get(partition, 0):
            self._known[partition] = offset

    async def advance(self, connection: asyncpg.Connection) -> None:
        """Wait until Postgres has reached the known positions. For new connections; raises what asyncpg does."""
        logged = False
        while self._known:
            moved = self.moved
            rows = await connection.fetch('SELECT topic, part, "offset" FROM positions')
            positions = {(row["topic"], row["part"]): row["offset"] for row in rows}
            lost = sum(max(0, offset - positions.get(partition, 0)) for partition, offset in self._known.items())
            for partition, offset in positions.items():
                self.note(partition, offset)
            if not lost:
                return
            if not logged:
                logged = True
                logger.warning("postgres.lost_commits", records=lost)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECHECK_S):
                    await moved.wait()
