"""The stack of tests/gateway, and a reader of `GET /changes`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.gateway.conftest import Stack, make_stack, make_stack_on_both, read_events

__all__ = ["make_stack", "make_stack_on_both"]

LIMIT_S = 60.0


class Feed:
    """Messages that one reader of the feed has received so far."""

    def __init__(self, events: AsyncIterator[tuple[str, Any, str | None]]) -> None:
        self._events = events
        self.rows: dict[str, dict[str, dict[str, Any]]] = {
            kind: {} for kind in ("threads", "runs", "assistants", "crons")
        }
        self.deleted: set[str] = set()
        self.stale: list[str] = []
        self.last_id: str | None = None
        self.opened: dict[str, Any] = {}

    async def next(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(LIMIT_S):
            name, data, id = await anext(self._events)
        self.last_id = id or self.last_id
        if name == "open":
            self.opened = data
            self.stale += data.get("stale", [])
            return dict(data)
        assert name == "changes", data
        for kind in self.rows:
            for row in data.get(kind, []):
                self.rows[kind][row[f"{kind.removesuffix('s')}_id"]] = row
        self.deleted |= {entry["id"] for entry in data.get("deleted", [])}
        self.stale += data.get("stale", [])
        return dict(data)

    async def until(self, reached: Callable[[], Any]) -> None:
        while not reached():
            await self.next()


@contextlib.asynccontextmanager
async def following(stack: Stack, query: str = "", last_id: str | None = None, **headers: str) -> AsyncIterator[Feed]:
    """A reader, open: nothing that changes from here on is missed."""
    if last_id is not None:
        headers["last-event-id"] = last_id
    async with stack.http.get(f"{stack.url}/changes{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        feed = Feed(read_events(answer))
        await feed.next()
        yield feed
