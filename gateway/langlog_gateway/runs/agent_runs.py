"""Runs that other protocols (MCP, A2A) ask for: made and waited for as those of the API. All are on the gateway's event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from langlog_schemas.run_request import RunCreate

from ..core import Core
from ..streams.permission import PermissionEnded
from .submission import Order, RunOrders
from .waiting import RunWaits, tied_to_client


class AgentRuns:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._orders = RunOrders(core)
        self._waits = RunWaits(core)

    async def order(
        self, request: web.Request, assistant_id: str, thread_id: str | None, body: Mapping[str, Any]
    ) -> Order:
        """The command for a run. Raises ApiError."""
        asked = msgspec.convert({"assistant_id": assistant_id, "on_disconnect": "cancel", **body}, RunCreate)
        return await self._orders.order(request, asked, thread_id, waits=True)

    async def place(self, order: Order) -> None:
        """Append the command; the run exists afterwards, unless nothing can speak against it. Raises ApiError."""
        if order.certain:
            await self._orders.send(order)
        else:
            await self._orders.place(order)

    async def finish(self, request: web.Request, order: Order) -> bytes:
        """Make the run and wait for its end: the answer of ``/wait``. Raises ApiError, also when it is no longer the caller's to read."""
        permissions = self._core.permissions
        watch = await self._core.watches.open(order.thread_id, order.run_id)
        try:
            with tied_to_client(self._core, order.thread_id, order.run_id, tied=order.cancel_on_disconnect):
                await self.place(order)
                watch.sent, watch.seen = True, not order.certain
                watch.missed = order.origin.key is not None  # the run of a repetition may be over already
                try:
                    async with permissions.hold(request, order.thread_id, "leave") as permission:
                        ask = permissions.running(request, order.command)
                        if ask is not None:
                            permission.follow(ask, at_once=False)
                        answer = await self._waits.until_ended(watch, order.run_id)
                        await permission.settle()
                        return answer
                except PermissionEnded as ended:
                    raise ended.error from None
        finally:
            self._core.watches.close(watch)
