"""Streams as they are on the wire: every event with its bytes, cut wherever a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import aiohttp

AGAIN_S = 0.05
"""Before the next try while the gateway is away."""


class Event(NamedTuple):
    name: str
    data: bytes
    id: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.data)


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Whole events as they come; comments are left out."""
    fields: dict[str, bytes] = {}
    async for line in answer.content:
        assert not line.endswith(b"\r\n"), line
        if line == b"\n":
            if "event" in fields:
                id = fields.get("id")
                yield Event(fields["event"].decode(), fields["data"], None if id is None else id.decode())
            fields = {}
        elif not line.startswith(b":"):
            name, _, value = line[:-1].partition(b": ")
            fields[name.decode()] = value


class Client:
    """Reads streams of one thread."""

    def __init__(self, http: aiohttp.ClientSession, thread: str) -> None:
        self.http = http
        self.thread = thread

    async def begin(self, assistant: str, input: Any, **more: Any) -> str:
        """A run; its id."""
        body = {"assistant_id": assistant, "input": input, "if_not_exists": "create", **more}
        async with self.http.post(f"/threads/{self.thread}/runs", json=body) as answer:
            assert answer.status == 200, await answer.text()
            run: str = (await answer.json())["run_id"]
            return run

    async def join(self, run: str) -> Any:
        async with self.http.get(f"/threads/{self.thread}/runs/{run}/join") as answer:
            return await answer.json(content_type=None)

    async def read(
        self,
        path: str,
        last_id: str | None = "-1",
        *,
        until: Callable[[Event], bool] = lambda event: False,
        count: int | None = None,
        opened: asyncio.Event | None = None,
    ) -> tuple[list[Event], bool]:
        """Events up to the ``count``-th, the first that is ``until``, or the end; and whether that was the end."""
        collected: list[Event] = []
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        async with self.http.get(f"/threads/{self.thread}/{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            if opened is not None:
                opened.set()
            async for event in events_of(answer):
                collected.append(event)
                if until(event) or len(collected) == count:
                    answer.close()  # the connection is not used again: for the server it is cut
                    return collected, until(event)
        return collected, True

    async def in_flight(self, run: str) -> bool:
        """Return whether the run is in flight, as the official clients query it after a stream has closed."""
        while True:
            try:
                async with self.http.get(f"/threads/{self.thread}/runs/{run}") as answer:
                    return (await answer.json())["status"] in ("pending", "running")
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(AGAIN_S)

    async def read_in_pieces(
        self,
        path: str,
        cuts: list[int],
        last_id: str = "-1",
        *,
        run: str | None = None,
        until: Callable[[Event], bool] = lambda event: False,
    ) -> list[Event]:
        """Return all events of a run, or until one, by several connections: each is cut after so many events, or by the server."""
        collected: list[Event] = []
        ended = False
        lengths = iter(cuts)
        while not ended or (run is not None and await self.in_flight(run)):
            try:
                piece, ended = await self.read(path, last_id, until=until, count=next(lengths, None))
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(AGAIN_S)
                continue
            collected += piece
            if collected:
                last_id = collected[-1].id or last_id
        return collected
