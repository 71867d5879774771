"""Events of a thread: ``GET /threads/{thread_id}/events`` and ``…/runs/{run_id}/events`` (langlog's own, docs/how-to/audit.md).

A page of JSON, or a server-sent stream that continues with new events. Callers who may read the thread may read them. A thread
that is
deleted is 404: the records that the log still holds are for operators (``langlog log``). Following costs one query of the index
whenever the thread's partition has moved, at most one in `FOLLOW_PAUSE_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import msgspec
from aiohttp import hdrs, web
from langlog_backbone.history.audit import EventQuery, Page
from langlog_backbone.history.event_view import EventView
from langlog_backbone.log import LogUnavailable
from langlog_backbone.time.range import in_range
from langlog_schemas import events as ev

from ..auth.access import admit
from ..core import Core, encoded_response
from ..http.errors import ApiError, missing_thread, not_found, unavailable, unprocessable
from ..http.validation import path_uuid, query_int, query_names, whole_number
from ..responses.events import EventPage
from ..runs.submission import SQL
from ..streams import sse
from ..streams.stream_out import StreamOut
from ..streams.watch import Watch

LIMIT = 100
"""Default number of events in a page."""
LIMIT_MAX = 1_000
FOLLOW_PAUSE_S = 0.05
"""Minimum seconds between two queries of one stream, however often its partition moves."""
TYPES_MAX = 50
"""Maximum number of types in one request."""
INCLUDES = ("frames",)


class ThreadEvents:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        one = "/threads/{thread_id}"
        return [
            web.get(f"{one}/events", self.events),
            web.get(f"{one}/runs/{{run_id}}/events", self.events),
        ]

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Returns the events of a thread or run in the log, oldest first, a page at a time.

        With `Accept: text/event-stream` the events are sent as server-sent events, and new ones follow.
        """
        thread_id = path_uuid(request, "thread")
        run_id = path_uuid(request, "run") if "run_id" in request.match_info else None
        query = query_of(request, thread_id, run_id)
        limit = max(1, min(query_int(request, "limit", LIMIT), LIMIT_MAX))
        streamed = "text/event-stream" in request.headers.get(hdrs.ACCEPT, "")
        after = after_of(request.headers.get("last-event-id") if streamed else None, request.query.get("after"))
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        await self._exists(thread_id, run_id)
        if streamed:
            return await self._follow(request, query, after)
        page = await self._page(query, after, limit)
        return encoded_response(EventPage(page.events, str(page.last) if page.more else None))

    async def _exists(self, thread_id: str, run_id: str | None) -> None:
        """Raise ApiError 404 if thread or run does not exist. A run that was rolled back or removed exists as long as its thread is."""
        if not await self._core.reads.value(SQL["thread_exists"], thread_id):
            raise missing_thread(thread_id)
        if run_id is None or await self._core.reads.row(SQL["progress"], thread_id, run_id) is not None:
            return
        async for _ in self._core.audit.entries(EventQuery(thread_id, run_id)):
            return
        raise not_found("Run not found")

    async def _page(self, query: EventQuery, after: int, limit: int) -> Page:
        try:
            return await self._core.audit.page(query, after, limit)
        except LogUnavailable:
            raise unavailable("The log") from None

    async def _follow(self, request: web.Request, query: EventQuery, after: int) -> web.StreamResponse:
        core = self._core
        core.enter_stream(request)
        watch: Watch | None = None
        try:
            watch = await core.watches.open(query.thread_id)
            async with core.watermark.waiter(core.log.partition_of(query.thread_id)) as waiter:
                waiter.on_moved = lambda: _moved(watch)
                out = StreamOut(request, core.settings.heartbeat_s, {})
                page = await self._page(query, after, LIMIT)
                await out.open()
                if request.method == hdrs.METH_HEAD:
                    return await out.close()
                check = core.permissions.reading(request, query.thread_id)
                follow = partial(self._written, out, watch, query, page)
                return await out.while_permitted(core.permissions, query.thread_id, "leave", check, follow)
        finally:
            if watch is not None:
                core.watches.close(watch)
            core.leave_stream(request)

    async def _written(self, out: StreamOut, watch: Watch, query: EventQuery, page: Page) -> web.StreamResponse:
        """Write the events, from this page on, until the thread is deleted."""
        while True:
            await out.write(encoded(page.events))
            if not page.more and not await self._wait(out, watch):
                return await out.close()
            try:
                page = await self._page(query, page.last, LIMIT)
            except ApiError:  # the client continues from its last event when it reconnects
                out.break_off()

    async def _wait(self, out: StreamOut, watch: Watch) -> bool:
        """Wait until there may be more events. Return False if the thread was deleted, and its events with it."""
        await out.wait(watch)
        if watch.closing:
            out.break_off()
        watch.missed = False
        while watch.updates:
            if isinstance(watch.updates.popleft().event, ev.ThreadDeleted):
                return False
        await asyncio.sleep(FOLLOW_PAUSE_S)
        return True


def _moved(watch: Watch) -> None:
    watch.missed = True
    watch.wake()


def encoded(events: Iterable[EventView]) -> bytes:
    """Return events as server-sent events, with their offsets as ids."""
    return b"".join([sse.event(e.type, msgspec.json.encode(e), str(e.position.offset)) for e in events])


def query_of(request: web.Request, thread_id: str, run_id: str | None) -> EventQuery:
    """Return the filters of the query. Raises ApiError 422."""
    types = tuple(t for text in query_names(request, "type") for t in text.split(",") if t)
    if len(types) > TYPES_MAX:
        raise unprocessable(f"At most {TYPES_MAX} types can be requested at once")
    includes = [i for text in query_names(request, "include") for i in text.split(",") if i]
    for name in includes:
        if name not in INCLUDES:
            raise unprocessable(f"Invalid include: {name}. Expected: {', '.join(INCLUDES)}")
    since, until = moment(request.query.get("from"), "from"), moment(request.query.get("to"), "to")
    return EventQuery(thread_id, run_id, types, since, until, "frames" in includes)


def moment(text: str | None, name: str) -> datetime | None:
    """Return a time in ISO 8601; UTC if it has no zone. Raises ApiError 422."""
    if not text:
        return None
    for spelling in (text, "+".join(text.rsplit(" ", 1))):  # an unescaped + arrives as a space
        try:
            parsed = datetime.fromisoformat(spelling)
        except ValueError:
            continue
        return in_range(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))
    raise unprocessable(f"Invalid {name}: must be a time in ISO 8601")


def after_of(last_event_id: str | None, after: str | None) -> int:
    """Return the position to continue after; -1: from the first event. Raises ApiError 422."""
    text = after if last_event_id is None else last_event_id
    if text is None or text in ("", "-", "-1"):
        return -1
    position = whole_number(text)
    if position is None:
        raise unprocessable("Invalid position to continue after: must be the next of a page, or the id of an event")
    return position
