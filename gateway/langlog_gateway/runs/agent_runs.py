"""Runs that other protocols (MCP, A2A) request: submitted and awaited like those of the API. All are on the gateway's event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from langlog_schemas.runs.request import RunCreate

from ..core import Core
from ..streams.permission import PermissionEnded
from .submission import Particulars, PreparedRun, RunSubmission
from .waiting import RunWaits, tied_to_client


class AgentRuns:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._submission = RunSubmission(core)
        self._waits = RunWaits(core)

    async def prepare(
        self, request: web.Request, assistant_id: str, thread_id: str | None, body: Mapping[str, Any]
    ) -> PreparedRun:
        """Return the command for a run. Raises ApiError."""
        run = msgspec.convert({"assistant_id": assistant_id, "on_disconnect": "cancel", **body}, RunCreate)
        return await self._submission.prepare(request, run, thread_id, Particulars(waits=True))

    async def submit(self, run: PreparedRun) -> None:
        """Append the command; the run exists afterwards, unless the decider cannot reject it. Raises ApiError."""
        await self._submission.submit_unconfirmed(run)

    async def finish(self, request: web.Request, run: PreparedRun) -> bytes:
        """Submit the run, wait for its end, and return the response of ``/wait``. Raises ApiError, also when it is no
        longer the caller's to read."""
        permissions = self._core.permissions
        watch = await self._core.watches.open(run.thread_id, run.run_id)
        try:
            with tied_to_client(self._core, run.thread_id, run.run_id, tied=run.cancel_on_disconnect):
                await self.submit(run)
                watch.sent, watch.seen = True, not run.cannot_be_rejected
                watch.missed = run.origin.key is not None  # the run of a repetition may be over already
                try:
                    async with permissions.hold(request, run.thread_id, "leave") as permission:
                        check = permissions.running(request, run.command)
                        if check is not None:
                            permission.follow(check, at_once=False)
                        answer = await self._waits.until_ended(watch, run.run_id)
                        await permission.settle()
                        return answer
                except PermissionEnded as ended:
                    raise ended.error from None
        finally:
            self._core.watches.close(watch)
