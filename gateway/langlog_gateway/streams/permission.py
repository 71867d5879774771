"""Permission of a caller to continue reading a thread while a stream of it is open (wire contract §18, docs/how-to/authentication.md).

A stream is admitted once and may then stay open for hours. Its `Permission` calls the project's handlers again when the thread's
metadata changes and every ``stream_check_s`` seconds, ends the stream when they refuse, when the thread is deleted and when the
caller's credentials expire. A change of metadata reaches the gateway before any frame that was published after it: writes wait for the
result (`settle`), so no event after the withdrawal of a permission is sent. All on the gateway's event loop, no locks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from aiohttp import web
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.sources import machine_time_ns
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from ..auth.access import admit, caller, gate_of
from ..http.backends import Reads
from ..http.errors import ApiError, not_found
from .watch import Watches

logger = structlog.get_logger(__name__)

AGAIN_S = 1.0
"""Seconds between two attempts of a check that failed because a server is unavailable."""
TIMER_MAX_S = 30 * 86_400.0
"""Maximum seconds for which the expiry of credentials is timed: no stream is open for longer."""
EXISTS = "SELECT true FROM threads WHERE thread_id = $1"
EXPIRED = "The credentials have expired"

AtDeletion = Literal["end", "ask", "leave"]
"""Effect of the thread's deletion on a stream: ``end`` it; ``ask`` the handlers, since the stream continues with a later thread of
the same id; ``leave`` it, since it is a run's stream and ends with the run."""
Check = Callable[[], Awaitable[object]]
"""Raises ApiError when the caller may no longer read."""


class PermissionEnded(Exception):
    """The stream must end. Holds the reason as an error of the API."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.detail)
        self.error = error


class Permission:
    """The permission of one open stream. `Permissions.hold` creates and closes it."""

    def __init__(self, check_s: float, on_end: Callable[[], object], at_deletion: AtDeletion) -> None:
        self._check_s = check_s
        self._on_end = on_end
        self._at_deletion = at_deletion
        self._query: Check | None = None
        self._again = False
        self._checking: asyncio.Task[None] | None = None
        self._doubt: asyncio.Future[None] | None = None
        """Future that writes wait for; None: the last result still holds."""
        self._timers: list[asyncio.TimerHandle] = []
        self.ended: ApiError | None = None

    async def settle(self) -> None:
        """Wait until the caller's permission is known to be current. Raises PermissionEnded."""
        while self._doubt is not None and self.ended is None:
            await asyncio.shield(self._doubt)
        if self.ended is not None:
            raise PermissionEnded(self.ended)

    def follow(self, check: Check, *, at_once: bool = True) -> None:
        """Repeat this check from now on; ``at_once``: nothing is written before its first result."""
        self._query = check
        self._schedule()
        if at_once:
            self.doubt()
        else:
            self._check_soon()

    def doubt(self) -> None:
        """Check again, and make writes wait: the last result may be outdated."""
        if self._query is None or self.ended is not None:
            return
        if self._doubt is None:
            self._doubt = asyncio.get_running_loop().create_future()
        self._check_soon()

    def happened(self, event: ev.AnyEvent) -> None:
        """Handle an event of the thread."""
        if isinstance(event, ev.ThreadUpdated) or (isinstance(event, ev.ThreadDeleted) and self._at_deletion == "ask"):
            self.doubt()
        elif isinstance(event, ev.ThreadDeleted) and self._at_deletion == "end":
            self.end(not_found(f"Thread with ID {event.thread_id} not found"))
        elif isinstance(event, ev.ThreadDeleted):
            self.stop()

    def end(self, error: ApiError) -> None:
        """End the stream."""
        if self.ended is None:
            self.ended = error
            self.stop()
            self._on_end()

    def expire_at(self, moment: float) -> None:
        """End the stream at this time, in seconds since 1970."""
        left = moment - machine_time_ns() / 1e9
        if left < TIMER_MAX_S:
            timer = asyncio.get_running_loop().call_later(max(left, 0.0), self.end, ApiError(401, EXPIRED))
            self._timers.append(timer)

    def stop(self) -> None:
        """End the checks. Writes go on."""
        self._query = None
        for timer in self._timers:
            timer.cancel()
        if self._checking is not None and self._checking is not asyncio.current_task():
            self._checking.cancel()
        self._settled()

    def _settled(self) -> None:
        if self._doubt is not None:
            self._doubt.set_result(None)
            self._doubt = None

    def _schedule(self) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(self._check_s, self._routine))

    def _routine(self) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > asyncio.get_running_loop().time()]
        if self._query is not None:
            self._schedule()
            self._check_soon()

    def _check_soon(self) -> None:
        self._again = True
        if self._checking is None:
            self._checking = asyncio.ensure_future(self._check())

    async def _check(self) -> None:
        """Check until the result is newer than the last reason to check."""
        loop = asyncio.get_running_loop()
        tries_until = loop.time() + self._check_s
        while self._again and (check := self._query) is not None:
            self._again = False
            try:
                await check()
            except ApiError as error:
                if error.status < 500 or loop.time() > tries_until:
                    self.end(error)
                    break
            except Exception as error:  # the project's code failed: access is denied, but the failure may be temporary
                logger.warning("gateway.permission_unknown", error=repr(error))
                if loop.time() > tries_until:
                    self.end(ApiError(503, "The permission to read this thread cannot be checked"))
                    break
            else:
                tries_until = loop.time() + self._check_s
                continue
            self._again = True
            await asyncio.sleep(AGAIN_S)  # nothing signals that the project's handler would answer
        self._checking = None
        self._settled()


class Permissions:
    """The permissions of a gateway's open streams."""

    def __init__(self, settings: Settings, reads: Reads, watches: Watches) -> None:
        self._check_s = settings.stream_check_s
        self._reads = reads
        self._held: dict[str, set[Permission]] = {}
        watches.on_event = self._happened
        watches.on_missed.append(self._missed)

    @contextlib.asynccontextmanager
    async def hold(self, request: web.Request, thread_id: str, at_deletion: AtDeletion) -> AsyncIterator[Permission]:
        """Context with the permission of the stream that the current task serves. Raises PermissionEnded when it ends
        before the stream does.

        The thread must be watched within.
        """
        task = asyncio.current_task()
        assert task is not None
        permission = self.open(request, thread_id, task.cancel, at_deletion)
        try:
            yield permission
        except asyncio.CancelledError:
            if permission.ended is None or task.uncancel() > 0:
                raise
            raise PermissionEnded(permission.ended) from None
        finally:
            self.close(thread_id, permission)

    def open(
        self, request: web.Request, thread_id: str, on_end: Callable[[], object], at_deletion: AtDeletion
    ) -> Permission:
        """Like `hold`, for streams that are not served by one task. Call `close` afterwards."""
        permission = Permission(self._check_s, on_end, at_deletion)
        self._held.setdefault(thread_id, set()).add(permission)
        expires = expiry(caller(request) or {})
        if expires is not None:
            permission.expire_at(expires)
        return permission

    def close(self, thread_id: str, permission: Permission) -> None:
        permission.stop()
        held = self._held.get(thread_id)
        if held is not None:
            held.discard(permission)
            if not held:
                del self._held[thread_id]

    def reading(self, request: web.Request, thread_id: str) -> Check | None:
        """Return a check that the caller may still read the thread, which fails once it is deleted. None: nothing has to be checked."""
        if gate_of(request) is None:
            return None

        async def check() -> None:
            await self._reads_thread(request, thread_id)

        return check

    def running(self, request: web.Request, command: cmd.CreateRun) -> Check | None:
        """Return a check that the caller may still follow the run that this request created. None: nothing has to be checked.

        Handlers of ``threads.create_run`` are not called again: they may count calls. A caller who may read the thread follows the run
        for as long as that holds; one who could create the run but not read the thread, as long as the filter that permitted it matches.
        """
        gate = gate_of(request)
        if gate is None or command.temporary:
            return None
        checked = bool(command.visible) and command.if_not_exists == "reject"
        """Whether the decider has compared the filter with an existing thread."""
        by: str | None = None

        async def admitted() -> bool:
            visible = command.visible
            return bool(visible) and visible is not None and await gate.sees("threads", command.thread_id, visible)

        async def check() -> None:
            nonlocal by
            if by is None:
                try:
                    await self._reads_thread(request, command.thread_id)
                    by = "reading"
                except ApiError as error:
                    if error.status >= 500:
                        raise
                    by = "filter" if checked or await admitted() else "nothing"
                    if by == "filter":
                        await check()
            elif by == "reading":
                await self._reads_thread(request, command.thread_id)
            elif by == "filter" and not await admitted() and await self._exists(command.thread_id):
                raise not_found(f"Thread with ID {command.thread_id} not found")

        return check

    async def _reads_thread(self, request: web.Request, thread_id: str) -> None:
        gone = not_found(f"Thread with ID {thread_id} not found")
        try:
            await admit(request, "threads", "read", {"thread_id": thread_id}, gone)
        except ApiError as error:
            if error is not gone or await self._exists(thread_id):
                raise

    async def _exists(self, thread_id: str) -> bool:
        return bool(await self._reads.value(EXISTS, thread_id))

    def _happened(self, thread_id: str, event: ev.AnyEvent) -> None:
        for permission in tuple(self._held.get(thread_id, ())):
            permission.happened(event)

    def _missed(self) -> None:
        """Check all streams: Redis was unavailable, so a change of metadata may have been missed."""
        for held in self._held.values():
            for permission in held:
                permission.doubt()


def expiry(user: dict[str, Any]) -> float | None:
    """Return the expiry of the caller's credentials in seconds since 1970, or None if ``authenticate`` returned none.

    ``exp`` (RFC 7519) or ``expires_at``: a number of seconds, or a time in ISO 8601.
    """
    for name in ("exp", "expires_at"):
        value = user.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                continue
            return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    return None
