"""Clients over HTTP that write down each of their tries, and try again until they know what came of it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from tests.history.calls import History

TRY_S = 20.0
"""Of one try, after which its outcome is unknown: longer than any session, lease and deadline of the clusters of these tests."""
PAUSE_S = 0.05
"""Before the next try. Nothing signals a client that a server is back."""


class Wait(NamedTuple):
    """How long a client waited for something that it wanted, over all tries. Seconds of the monotonic clock."""

    action: str
    began: float
    ended: float


class Answer(NamedTuple):
    status: int
    body: Any


class Client:
    def __init__(self, name: str, http: aiohttp.ClientSession, urls: list[str], history: History, seed: int) -> None:
        """``urls``: of gateways, of which each try takes one."""
        self.name = name
        self.random = random.Random(seed)
        self.waits: list[Wait] = []
        self._http, self._urls, self._history = http, urls, history

    async def call(
        self,
        subject: str,
        action: str,
        argument: Hashable,
        request: tuple[str, str, Any],
        meaning: Callable[[Answer], Hashable],
        key: str | None = None,
    ) -> Hashable:
        """The result, tried until there is one. ``request``: method, path, body. ``meaning``: the result that an answer says.

        Each try is a call of its own: without a ``key`` a try whose outcome is not known may take effect beside the next one.
        """
        first = time.monotonic()
        while True:
            began = time.monotonic()
            answer = await self._tried(request, key)
            if answer is None or answer.status >= 500:
                refused = answer is not None and answer.status == 503
                self._history.note(self.name, subject, action, argument, began, "refused" if refused else "unknown")
                await asyncio.sleep(PAUSE_S)
                continue
            result = meaning(answer)
            self._history.note(self.name, subject, action, argument, began, "answered", result)
            self.waits.append(Wait(action, first, time.monotonic()))
            return result

    async def _tried(self, request: tuple[str, str, Any], key: str | None) -> Answer | None:
        """None: nobody knows what came of it. 503 as well where nobody took the connection."""
        method, path, body = request
        headers = {"Idempotency-Key": key} if key else {}
        try:
            async with self._http.request(
                method, self.random.choice(self._urls) + path, json=body, headers=headers
            ) as answer:
                text = await answer.text()
                parsed = json.loads(text) if text and answer.content_type == "application/json" else text
                return Answer(*_inner(answer.status, parsed))
        except aiohttp.ClientConnectorError:
            return Answer(503, None)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return None


def _inner(status: int, body: Any) -> tuple[int, Any]:
    """The streaming protocol answers with 200 and tells in the body the status that REST would have."""
    if isinstance(body, dict) and body.get("type") == "error" and body.get("error") == "unknown_error":
        status_text = str(body.get("message")).partition(":")[0]
        return (int(status_text) if status_text.isdigit() else 500), body
    return status, body


@asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """For any number of clients."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TRY_S)) as http:
        # by itself aiohttp sends GET, PUT and DELETE again when a connection breaks: if that finds no server, the first may have arrived
        assert http._retry_connection
        http._retry_connection = False
        yield http
