"""A connection that one loop keeps between two pieces of work, where giving it back and taking it again costs as much as the work.

Like `pool.Pool` for callers that need a transaction. asyncpg's pool makes two tasks and a proxy each time. A connection within which
something failed goes back to that pool, which cleans it or puts another one in its place.

Concurrency: belongs to the event loop that made it. A use within another one takes a connection of its own.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

import asyncpg

from .pool import is_alive


class Taken(NamedTuple):
    """A connection, and the context of the pool that it was taken with."""

    context: Any
    connection: Any


class KeptConnection:
    """The part of `asyncpg.Pool` that takes a connection."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.idle: Taken | None = None
        """The connection, while no piece of work uses it."""

    def acquire(self, *, timeout: float) -> Use:
        """Return a connection for the duration of an ``async with`` block. ``timeout``: seconds, as for the pool's own."""
        return Use(self, timeout)

    async def take(self, timeout: float) -> Taken:
        """Return the kept connection, or another one if that was lost."""
        taken, self.idle = self.idle, None
        if taken is not None and is_alive(taken.connection):
            return taken
        if taken is not None:
            await _give_back(taken)
        context = self._pool.acquire(timeout=timeout)
        return Taken(context, await context.__aenter__())

    async def leave(self, taken: Taken, error: BaseException | None) -> None:
        """Keep a connection for the next piece of work. ``error``: what ended this one."""
        if error is None and self.idle is None:
            self.idle = taken
        else:
            await _give_back(taken)

    async def release(self) -> None:
        """Give the connection back, before the pool is closed."""
        taken, self.idle = self.idle, None
        if taken is not None:
            await _give_back(taken)


class Use:
    """One piece of work on the connection."""

    __slots__ = ("_kept", "_taken", "_timeout")

    def __init__(self, kept: KeptConnection, timeout: float) -> None:
        self._kept = kept
        self._timeout = timeout

    async def __aenter__(self) -> Any:
        self._taken = await self._kept.take(self._timeout)
        return self._taken.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._kept.leave(self._taken, error)


async def _give_back(taken: Taken) -> None:
    await taken.context.__aexit__(None, None, None)
