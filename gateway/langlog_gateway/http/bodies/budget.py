"""The bytes of request bodies that a gateway holds at once, over all connections.

    waiting (first come, first served) ──take──► held until the answer begins ──give──► free

Small bodies are not counted: connections bound them. A large body waits for room before it is received; meanwhile the connection's own
flow control holds the client back, so that nothing gathers here.

Concurrency: belongs to the gateway's loop, no locks. When the process dies, the connections end with it.
"""

from __future__ import annotations

import asyncio
from collections import deque

SMALL_BYTES = 65_536
"""A body up to this is not counted."""


class BodyBudget:
    """``limit``: bytes. A body over the limit is held alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """Bytes that bodies take up, or will when they have arrived."""
        return self._held

    async def take(self, amount: int) -> int:
        """Wait for room; returns what to `give` back: at most the limit."""
        amount = min(amount, self._limit)
        if not self._waiting and self._held + amount <= self._limit:
            self._held += amount
            return amount
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
        return amount

    def give(self, amount: int) -> None:
        """Bytes that are no longer held."""
        self._held -= amount
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._held + self._waiting[0][0] <= self._limit:
            amount, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._held += amount
                turn.set_result(None)
