"""A connection of its own for commands that block (BLMOVE, BRPOP), and how another connection ends their wait.

Redis may still give an entry to a command whose connection was only closed, after the closer has checked. So who wants no more
entries unblocks the command, and knows by its reply whether it has taken one.

Concurrency: on the event loop that makes the calls; one blocking command at a time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..process.settings import Settings
from .client import RedisPipe
from .connection import RedisConnection


class BlockingPipe(RedisPipe):
    """A pipe for blocking commands."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, patient=True)
        self._id: asyncio.Future[Any] | None = None
        """Client id, in Redis, of the connection on which a command waits."""
        self._id_of: RedisConnection | None = None
        """That connection, once the id is known."""

    async def wait(self, *command: Any) -> Any:
        """Send a blocking command, which `end_wait` can end, and return its reply. Raises RedisUnavailable."""
        if self._id_of is None or self.connection is not self._id_of:
            self._id = self.submit("CLIENT", "ID")
            self._id.add_done_callback(self._identified)
        return await self.call(*command)

    async def end_wait(self, through: RedisPipe) -> None:
        """Make a command that waits return as at the end of its time, or with what it has just received. Raises RedisUnavailable.

        A command that arrives after this call keeps waiting: call it again. ``through``: a pipe whose commands do not block.
        """
        if self._id is not None:
            await through.call("CLIENT", "UNBLOCK", await asyncio.shield(self._id))

    def _identified(self, done: asyncio.Future[Any]) -> None:
        known = not done.cancelled() and done.exception() is None and done is self._id
        self._id_of = self.connection if known else None
