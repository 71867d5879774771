"""Connections to Postgres for single statements, which stay taken from asyncpg's pool between two of them.

asyncpg's pool makes a task, a future and a proxy each time a connection is acquired and released, which costs more CPU than the
statement itself (40 of 60 µs). Here idle connections stay on a stack instead, the one used last on top; statements that find none wait
in line. Some of asyncpg's are always left to callers that hold one for several statements (`Pool.acquire`).

Concurrency: belongs to the event loop that made it. A connection whose statement failed or was cancelled goes back to asyncpg's
pool, which cleans it or puts another one in its place; so does one that was idle for `REST_S`. When Postgres becomes unavailable, the
statements under way fail, those that follow open new connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

import asyncpg

from ..metrics import table
from ..metrics.families import Family, family
from ..process.unavailable import is_unavailable

REST_S = 60.0
"""Seconds after which an idle connection goes back to asyncpg's pool, which closes it in time; one stays."""

ACQUIRE_S = 30.0
"""Seconds to wait for a free connection, and again for its last statement to be cancelled when it is given back; then it is closed."""
RELEASE_S = 2.0
"""Seconds for that cancellation after single statements: a Postgres that hangs does not cancel, and callers do not wait for it."""


class Pool:
    """The part of `asyncpg.Pool` that langlog uses, on top of an open one. Raises its errors."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        size = pool.get_max_size()
        self._most = size - max(1, size // 4)
        """Connections available to single statements. 0: there is only one, which all callers share."""
        self._room = self._most
        """Number of connections that may still be taken from asyncpg's pool."""
        self._resting: list[Any] = []
        self._line: deque[asyncio.Future[Any]] = deque()
        """Waiting statements; each receives a connection, or None: try again."""
        self._least = 0
        """Minimum number of idle connections since the last check."""
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def resting(self) -> int:
        """Number of idle connections."""
        return len(self._resting)

    async def collect(self) -> list[Family]:
        """A source of `metrics.exposition`."""
        return [
            family(table.CONNECTIONS, {("resting",): self.resting, ("open",): self._pool.get_size()}),
            family(table.STATEMENTS_WAITING, sum(not waiting.done() for waiting in self._line)),
        ]

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Return all rows."""
        connection = await self._taken()
        if connection is None:
            rows: list[Any] = await self._pool.fetch(query, *args)
            return rows
        try:
            rows = await connection.fetch(query, *args)
        except BaseException as error:
            await self._failed(connection, error)
            raise
        await self._rest(connection)
        return rows

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """Return the first row, or None."""
        connection = await self._taken()
        if connection is None:
            return await self._pool.fetchrow(query, *args)
        try:
            row = await connection.fetchrow(query, *args)
        except BaseException as error:
            await self._failed(connection, error)
            raise
        await self._rest(connection)
        return row

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Return the first column of the first row, or None."""
        row = await self.fetchrow(query, *args)
        return None if row is None else row[0]

    async def execute(self, query: str, *args: Any) -> str:
        """Execute a statement and return its status."""
        connection = await self._taken()
        if connection is None:
            status: str = await self._pool.execute(query, *args)
            return status
        try:
            status = await connection.execute(query, *args)
        except BaseException as error:
            await self._failed(connection, error)
            raise
        await self._rest(connection)
        return status

    def acquire(self) -> Any:
        """Return a connection for the duration of an ``async with`` block. Not within another such block: there may be but one.

        Raises TimeoutError when none is free within `ACQUIRE_S`.
        """
        return self._pool.acquire(timeout=ACQUIRE_S)

    async def close(self) -> None:
        """Wait for statements under way, then close all connections; at once, if the wait is cancelled."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        while self._call_next(None):
            pass
        try:
            while self._resting:
                await self._give_back(self._resting.pop())
            with contextlib.suppress(asyncpg.InternalClientError):  # see `_failed`; all are closed then, less politely
                await self._pool.close()
        except BaseException:
            self._pool.terminate()
            raise

    async def _taken(self) -> Any:
        """Return an idle connection, or None if the statement shall use asyncpg's pool."""
        resting = self._resting
        while True:
            while resting:
                connection = resting.pop()
                if len(resting) < self._least:
                    self._least = len(resting)
                if is_alive(connection):
                    return connection
                await self._give_back(connection)
            if not self._most or self._closing:
                return None
            if self._room > 0:
                self._room -= 1
                try:
                    return await self._pool.acquire()
                except BaseException:
                    self._make_room()
                    raise
            connection = await self._handed()
            if connection is not None:
                return connection

    async def _handed(self) -> Any:
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._line.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # it was our turn just now: the next one's, then
                connection = waiting.result()
                if connection is None:
                    self._call_next(None)
                else:
                    await self._rest(connection)
            raise

    def _call_next(self, connection: Any) -> bool:
        """Hand the connection to the next waiting statement. Return whether one was waiting."""
        while self._line:
            waiting = self._line.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return True
        return False

    async def _rest(self, connection: Any) -> None:
        if self._closing:
            await self._give_back(connection)
        elif not self._line or not self._call_next(connection):
            self._resting.append(connection)
            if self._timer is None and len(self._resting) > 1:
                self._set_timer()

    async def _failed(self, connection: Any, error: BaseException) -> None:
        if isinstance(error, asyncpg.PostgresError | ValueError):
            # an answer, or a value that was never sent: the connection is well, or known to be closed
            await self._give_back(connection)
            return
        lost = is_unavailable(error)
        if lost:
            # also when Postgres has said good-bye and not hung up yet, which asyncpg reads as the beginning of an answer
            connection.terminate()
        # beside the caller: a cancelled statement runs until Postgres receives the cancellation
        giving = asyncio.ensure_future(self._give_back(connection))
        giving.add_done_callback(lambda done: done.cancelled() or done.exception())
        if lost and not isinstance(error, OSError | asyncpg.InterfaceError):
            raise asyncpg.InterfaceError("the connection was lost") from error

    async def _give_back(self, connection: Any) -> None:
        try:
            await self._pool.release(connection, timeout=RELEASE_S)
        finally:
            self._make_room()

    def _make_room(self) -> None:
        self._room += 1
        self._call_next(None)

    def _set_timer(self) -> None:
        self._least = len(self._resting)
        self._timer = asyncio.get_running_loop().call_later(REST_S, self._return_resting)

    def _return_resting(self) -> None:
        """Return idle connections at the bottom of the stack to asyncpg's pool, if they were not used since the last check."""
        self._timer = None
        spare = max(0, min(self._least, self._most - self._room - 1))
        idle, self._resting[:spare] = self._resting[:spare], []
        for connection in idle:
            giving = asyncio.ensure_future(self._give_back(connection))
            giving.add_done_callback(lambda done: done.cancelled() or done.exception())
        if len(self._resting) > 1:
            self._set_timer()


def is_alive(connection: Any) -> bool:
    """Return whether a connection of asyncpg's pool is open and still taken."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # asyncpg has seen its end and taken it back by itself
        return False
