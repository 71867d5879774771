"""How a client reaches a server: at once in tests of a stand-in by itself, through a network with faults in worlds (`network`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Unreachable(Exception):
    """The server did not get the request: nothing has happened there."""


class NoAnswer(Exception):
    """The request went out and no answer came: it may have been carried out, or will be, or not."""


class Link(Protocol):
    async def call(self, apply: Callable[[], T], limit_s: float = 10.0) -> T:
        """Return the result of ``apply``, carried out by the server. Raises Unreachable, NoAnswer, and whatever ``apply`` raises."""
        ...

    def later(self, deliver: Callable[[], Any]) -> None:
        """From the server to the client: ``deliver`` is called on the client's side soon, in order, or never if it is gone."""
        ...

    @property
    def responsive(self) -> bool:
        """Whether the client would answer a heartbeat now."""
        ...


class Direct:
    """No network."""

    responsive = True

    async def call(self, apply: Callable[[], T], limit_s: float = 10.0) -> T:
        await asyncio.sleep(0)
        return apply()

    def later(self, deliver: Callable[[], Any]) -> None:
        asyncio.get_running_loop().call_soon(deliver)
