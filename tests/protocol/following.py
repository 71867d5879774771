"""A client of the streaming protocol as tests want it: every event with its bytes, read until something is seen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import aiohttp

from tests.streams.reading import events_of

ALL = ["values", "messages", "tools", "lifecycle", "input"]


class ThreadEvent(NamedTuple):
    seq: int
    method: str
    text: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.text)["params"]["data"]

    @property
    def namespace(self) -> list[str]:
        decoded: list[str] = json.loads(self.text)["params"]["namespace"]
        return decoded

    def root(self, *statuses: str) -> bool:
        """Return whether this is a lifecycle event of the whole graph, one of these."""
        return self.method == "lifecycle" and not self.namespace and self.data["event"] in statuses


Until = Callable[[ThreadEvent], bool]


def over(event: ThreadEvent) -> bool:
    return event.root("completed", "failed", "interrupted")


def times(count: int, wanted: Until = over) -> Until:
    """The so-many-th event of a kind."""
    left = [count]

    def seen(event: ThreadEvent) -> bool:
        left[0] -= wanted(event)
        return left[0] <= 0

    return seen


class Thread:
    def __init__(self, http: aiohttp.ClientSession, url: str, id: str) -> None:
        self.http = http
        self.url = url
        self.id = id

    def at(self, url: str) -> Thread:
        """The same thread at another gateway."""
        return Thread(self.http, url, self.id)

    @property
    def path(self) -> str:
        return f"{self.url}/threads/{self.id}"

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        body = {"id": 1, "method": method, "params": params}
        async with self.http.post(f"{self.path}/commands", json=body) as answer:
            result: dict[str, Any] = await answer.json()
            return result

    async def start(self, assistant: str, input: Any, **params: Any) -> str:
        answer = await self.command("run.start", assistant_id=assistant, input=input, **params)
        run: str = answer["result"]["run_id"]
        return run

    async def post(self, path: str, body: Any = None) -> Any:
        async with self.http.post(f"{self.path}{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json(content_type=None)

    async def get(self, path: str = "") -> Any:
        async with self.http.get(f"{self.path}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def events(self, since: int | None = None, **body: Any) -> AsyncIterator[ThreadEvent]:
        """Events as they come, until the connection ends."""
        wanted = {"channels": ALL, **body, **({} if since is None else {"since": since})}
        async with self.http.post(f"{self.path}/stream/events", json=wanted) as answer:
            assert answer.status == 200, await answer.text()
            async for event in events_of(answer):
                assert event.id is not None
                result = ThreadEvent(int(event.id), event.name, event.data)
                assert json.loads(event.data)["seq"] == result.seq
                yield result

    async def follow(self, until: Until = over, since: int | None = None, **body: Any) -> list[ThreadEvent]:
        """Events up to the first that is ``until``."""
        collected = []
        events = self.events(since, **body)
        try:
            async for event in events:
                collected.append(event)
                if until(event):
                    break
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        return collected

    async def follow_on(self, until: Until, *others: Thread, since: int | None = None) -> list[ThreadEvent]:
        """Follow like `follow`, continuing by number at one gateway after the other when the connection ends."""
        collected: list[ThreadEvent] = []
        gateways = [self, *others]
        while True:
            try:
                async for event in gateways[0].events(collected[-1].seq if collected else since):
                    collected.append(event)
                    if until(event):
                        return collected
            except (aiohttp.ClientError, TimeoutError):
                pass
            gateways.append(gateways.pop(0))


class Socket:
    """One WebSocket. It stores events as they arrive, and waits for responses."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[ThreadEvent] = []
        self._id = 0

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        await self.socket.send_json({"id": self._id, "method": method, "params": params})
        while True:
            result = await self.receive()
            if isinstance(result, dict):
                assert result["id"] == self._id
                return result

    async def receive(self) -> ThreadEvent | dict[str, Any] | None:
        """The next event or answer; None: closed."""
        message = await self.socket.receive(120)  # whatever else the machine does
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        decoded: dict[str, Any] = json.loads(message.data)
        if decoded["type"] != "event":
            return decoded
        event = ThreadEvent(decoded["seq"], decoded["method"], message.data.encode())
        self.events.append(event)
        return event

    async def whole(self, until: Until = over) -> list[ThreadEvent]:
        """All events so far, once one of them is ``until``: what was before comes ahead of the answer to a subscription."""
        return self.events if any(map(until, self.events)) else await self.follow(until)

    async def follow(self, until: Until = over) -> list[ThreadEvent]:
        """All events so far, once one of those to come is ``until``."""
        while True:
            result = await self.receive()
            assert result is not None, f"closed with {self.socket.close_code}"
            if isinstance(result, ThreadEvent) and until(result):
                return self.events
