"""Waiting for a run's end: ``/wait`` and ``/join`` (wire contract §5.2).

Postgres is not queried while waiting: the projector notifies (`watch`). A newline is sent every few seconds so that no proxy
closes the silent connection. When the gateway dies the client reconnects by ``location``; the run continues.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web
from langlog_schemas import commands as cmd

from ..core import Core, json_response
from ..http.errors import JSON, ApiError
from ..responses.failures import RUN_NOT_FOUND
from ..streams.permission import Check, PermissionEnded
from ..streams.run_end import Ended, answer_of, ended, values
from ..streams.stream_out import GOING_DOWN
from ..streams.watch import CATCH_UP_PAUSE_S, Watch
from .submission import SQL, PreparedRun

GRACE_S = 0.5
"""Seconds within which the end of a run is sent in one piece; otherwise the headers are sent first."""


class RunWaits:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def answer(
        self, request: web.Request, watch: Watch, run_id: str, check: Check | None, *, exists: bool = True
    ) -> web.StreamResponse:
        """Send the run's output, once it has ended. The watch must have been opened before the run could end.

        ``ask``: whether the caller may still read it. ``exists``: the read model is known to hold the run; if not, nothing
        names it to the client before it does.
        """
        headers = join_headers(watch.thread_id, run_id)
        loop = asyncio.get_running_loop()
        response: web.StreamResponse | None = None
        watch.seen = watch.seen or (watch.sent and exists)
        began = loop.time()
        beat = began + self._core.settings.heartbeat_s
        until = min(began + GRACE_S, beat)
        try:
            async with self._core.permissions.hold(request, watch.thread_id, "leave") as permission:
                if check is not None:
                    permission.follow(check, at_once=False)
                while (end := await self._ended_answer(watch, run_id)) is None:
                    await watch.wait(until)
                    if watch.closing:
                        raise ConnectionResetError(GOING_DOWN)
                    if loop.time() < until:
                        continue
                    if not exists:
                        exists = await self._exists(watch, run_id)
                        watch.seen = watch.seen or exists
                        until = loop.time() + GRACE_S
                        continue
                    if response is None:
                        response = web.StreamResponse(headers={**headers, "content-type": JSON})
                        await response.prepare(request)
                    if until == beat:
                        await response.write(b"\n")
                        beat += self._core.settings.heartbeat_s
                    until = beat
                await permission.settle()
        except PermissionEnded as ended:
            if response is None:
                raise ended.error from None
            raise ConnectionResetError(ended.error.detail) from None
        if response is None:
            return json_response(end, headers=headers)
        await response.write(end)
        await response.write_eof()
        return response

    async def head(self, request: web.Request, thread_id: str, run_id: str) -> web.StreamResponse:
        """Send the headers of `answer` alone, at once."""
        response = web.StreamResponse(headers={**join_headers(thread_id, run_id), "content-type": JSON})
        await response.prepare(request)
        await response.write_eof()
        return response

    async def until_ended(self, watch: Watch, run_id: str) -> bytes:
        """Return the run's answer, for callers that send nothing meanwhile."""
        loop = asyncio.get_running_loop()
        while (end := await self._ended_answer(watch, run_id)) is None:
            await watch.wait(loop.time() + self._core.settings.heartbeat_s)
            if watch.closing:
                raise ConnectionResetError(GOING_DOWN)
        return end

    async def _exists(self, watch: Watch, run_id: str) -> bool:
        """Return whether the read model is known to hold the run."""
        try:
            return await self._core.reads.row(SQL["answer"], watch.thread_id, run_id) is not None
        except ApiError:
            return False  # it is queried again

    async def _ended_answer(self, watch: Watch, run_id: str) -> bytes | None:
        """Return the answer of a run that has ended; None if it has not, or a server is unavailable, which ends no client's wait."""
        try:
            return await self._next_answer(watch, run_id)
        except ApiError as error:
            if error.status < 500:
                raise
            watch.missed = True
            await asyncio.sleep(CATCH_UP_PAUSE_S)
            return None

    async def _next_answer(self, watch: Watch, run_id: str) -> bytes | None:
        while watch.updates:
            end = ended(watch.updates.popleft().event, run_id)
            if end is not None:
                return await self._answer_of(watch, end)
        if not watch.missed:
            return None
        watch.missed = False
        row = await self._core.reads.row(SQL["answer"], watch.thread_id, run_id)
        if row is not None:
            watch.seen = True
            return answer_of(row)
        if not (watch.sent or watch.seen):
            return RUN_NOT_FOUND
        end = await self._core.ends.find(watch.thread_id, run_id, watch.opened_at)
        if end is not None:
            return await self._answer_of(watch, end)
        return RUN_NOT_FOUND if watch.seen else None  # not yet folded

    async def _answer_of(self, watch: Watch, end: Ended) -> bytes:
        if end.answer is not None:
            return end.answer
        return values(await self._core.reads.value(SQL["values"], watch.thread_id))


@contextlib.contextmanager
def tied_to_client(core: Core, thread_id: str, run_id: str, *, tied: bool) -> Iterator[None]:
    """Cancel the run if the client disconnects in the block and ``tied`` is set (wire contract §6.5); not if the gateway stops."""
    try:
        yield
    except (asyncio.CancelledError, ConnectionResetError):
        if tied and not core.draining:
            core.background(
                core.commands.append(cmd.CancelRuns(thread_id=thread_id, run_ids=[run_id], action="disconnect"))
            )
        raise


def join_headers(thread_id: str, run_id: str) -> dict[str, str]:
    """Return the headers of a response that waits for a run (wire contract §5.1)."""
    path = f"/threads/{thread_id}/runs/{run_id}"
    return {"content-location": path, "location": f"{path}/join"}


def run_headers(run: PreparedRun) -> dict[str, str]:
    """Return the headers of a run created in the background (wire contract §5.1)."""
    return {"content-location": f"/runs/{run.run_id}" if run.stateless else run.path}
