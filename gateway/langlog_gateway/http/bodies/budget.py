"""The bytes of request bodies that a gateway holds at once, over all connections.

    waiting (first come, first served) ──take──► held until the response begins ──give──► free

Small bodies are not counted: connections bound them. A large body waits for room before the rest of it is received; meanwhile the
connection's own flow control stops the client, so that nothing accumulates here. A user has a share of the room, and waits for that
first: large bodies of one user that do not arrive do not block those of others.

Concurrency: belongs to the gateway's loop, no locks. When the process dies, the connections end with it.
"""

from __future__ import annotations

import asyncio
from collections import deque

SMALL_BYTES = 65_536
"""Size of a body, in bytes, up to which it is not counted."""


class BodyBudget:
    """``limit``: bytes. A body over the limit is held alone. ``share``: bytes of one user's bodies, at most the limit; 0: no shares."""

    def __init__(self, limit: int, share: int = 0) -> None:
        self._limit = limit
        self._share = min(share, limit)
        self._room = _Room(limit)
        self._shares: dict[str, _Room] = {}
        """Shares of the users that hold or wait for bytes."""

    @property
    def held(self) -> int:
        """Bytes that are held for bodies, including those that are still arriving."""
        return self._room.held

    async def take(self, amount: int, user: str = "") -> int:
        """Wait for room; return the amount to pass to `give`, at most the limit. ``user``: an identity; empty: without a share."""
        if not user or not self._share:
            amount = min(amount, self._limit)
            await self._room.take(amount)
            return amount
        amount = min(amount, self._share)
        share = self._shares.setdefault(user, _Room(self._share))
        try:
            await share.take(amount)
            try:
                await self._room.take(amount)
            except asyncio.CancelledError:
                share.give(amount)
                raise
        finally:
            self._forget_idle(user, share)
        return amount

    def give(self, amount: int, user: str = "") -> None:
        """Release bytes. ``user``: the one they were taken for."""
        self._room.give(amount)
        if user and (share := self._shares.get(user)) is not None:
            share.give(amount)
            self._forget_idle(user, share)

    def _forget_idle(self, user: str, share: _Room) -> None:
        if share.idle:
            self._shares.pop(user, None)


class _Room:
    """Bytes for which takers wait in order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def idle(self) -> bool:
        return not self.held and not self._waiting

    async def take(self, amount: int) -> None:
        """Wait for room. ``amount``: at most the limit."""
        if not self._waiting and self.held + amount <= self._limit:
            self.held += amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (amount, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(amount)  # it was given in the same moment
            else:
                self._waiting.remove(entry)
                self._admit()
            raise

    def give(self, amount: int) -> None:
        self.held -= amount
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.held + self._waiting[0][0] <= self._limit:
            amount, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.held += amount
                turn.set_result(None)
