"""Both Python clients behind one way of calling, which notes what was called with which options.

A *drive* is a function that makes one method do what it is for, registered by `drives`. It runs on the asynchronous client
and on the synchronous one alike.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

Client = LangGraphClient | SyncLangGraphClient
PARTS = ("assistants", "threads", "runs", "crons", "store")
ON_EVERY_METHOD = {"headers", "params"}


class Driver:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._waits = isinstance(client, SyncLangGraphClient)
        self.given: dict[str, set[str]] = defaultdict(set)
        """Method -> options it was called with."""

    async def __call__(
        self, method: str, *args: Any, until: Callable[[Any], bool] | None = None, **options: Any
    ) -> Any:
        """Return the method's result; of a stream, its parts as a list, up to the first that is ``until``."""
        part, _, name = method.partition(".")
        function = getattr(getattr(self._client, part), name)
        self.given[method] |= set(inspect.signature(function).bind(*args, **options).arguments)
        if self._waits:
            return await asyncio.to_thread(_taken, function, args, options, until)
        answer = function(*args, **options)
        if inspect.isawaitable(answer):
            answer = await answer
        return await _followed(answer, until) if isinstance(answer, AsyncIterator) else answer


def _taken(function: Any, args: Any, options: Any, until: Callable[[Any], bool] | None) -> Any:
    answer = function(*args, **options)
    if not isinstance(answer, Iterator):
        return answer
    parts = []
    for part in answer:
        parts.append(part)
        if until is not None and until(part):
            answer.close()  # type: ignore[attr-defined]
            break
    return parts


async def _followed(stream: AsyncIterator[Any], until: Callable[[Any], bool] | None) -> list[Any]:
    parts = []
    async for part in stream:
        parts.append(part)
        if until is not None and until(part):
            await stream.aclose()  # type: ignore[attr-defined]
            break
    return parts


Drive = Callable[[Driver], Awaitable[None]]
DRIVES: dict[str, Drive] = {}


def drives(method: str) -> Callable[[Drive], Drive]:
    def register(drive: Drive) -> Drive:
        assert method not in DRIVES, method
        DRIVES[method] = drive
        return drive

    return register


def public_methods(client: Client) -> set[str]:
    """``threads.create`` and so on, as the installed SDK has them."""
    return {
        f"{part}.{name}"
        for part in PARTS
        for name, _ in inspect.getmembers(getattr(client, part), callable)
        if not name.startswith("_")
    }


def options_of(client: Client, method: str) -> set[str]:
    part, _, name = method.partition(".")
    return set(inspect.signature(getattr(getattr(client, part), name)).parameters) - ON_EVERY_METHOD
