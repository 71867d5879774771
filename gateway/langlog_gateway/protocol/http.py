"""The streaming protocol over HTTP (wire contract §9.1 and §9.2): commands as requests, events as an SSE stream that never
ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from aiohttp import web

from ..core import Core, json_response
from ..http.errors import ApiError
from ..http.validation import decode_any, uuid_of
from ..streams.sse import HEADERS, HEARTBEAT
from ..streams.stream_out import REFUSED, StreamOut
from ..streams.watch import Limits
from .access import may_follow
from .commands import Commands, NoSession, read_envelope
from .events import Event, is_python_sdk
from .feed import Feed, Feeds
from .filter import BadFilter, Filter, read_filter
from .socket import Sockets, wants_socket
from .subscriber import Subscriber

SOCKET_PATH = "/threads/{thread_id}/stream/events"
"""The one path that accepts WebSockets."""
BAD_JSON = "Invalid JSON body"


class Protocol:
    def __init__(self, core: Core, feeds: Feeds) -> None:
        self._core = core
        self._feeds = feeds
        self._commands = Commands(core)
        self._sockets = Sockets(core, feeds, self._commands)
        self._limits = Limits(core.settings.stream_buffer_frames, core.settings.stream_buffer_bytes)

    def routes(self) -> list[web.RouteDef]:
        one = "/threads/{thread_id}"
        return [
            web.post(f"{one}/commands", self.command),
            web.post(f"{one}/stream/events", self.events),
            web.get(SOCKET_PATH, self.socket),
        ]

    async def command(self, request: web.Request) -> web.Response:
        """Executes a command of the streaming protocol: start a run, respond to interrupts, manage subscriptions.
        Errors of a command are status 200 with `type: error`.
        """
        command = read_envelope(await _json(request))
        if isinstance(command, bytes):
            return json_response(command, 400)
        return json_response(await self._commands.answer(request, command, NoSession()))

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Upgrades to a WebSocket that carries commands to the server, and their responses and events to the
        client.
        """
        if not wants_socket(request):
            raise ApiError(405, "Method Not Allowed", {"allow": "POST"})
        return await self._sockets.serve(request)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Streams the events of a thread's channels as server-sent events, earlier ones first. The stream does not
        end by itself, and the thread need not exist yet.
        """
        try:
            wanted = read_filter(await _json(request))
        except BadFilter as bad:
            raise ApiError(400, str(bad)) from None
        last_id = request.headers.get("last-event-id", "")
        if wanted.since is None and last_id.isascii() and last_id.isdecimal():
            wanted = wanted._replace(since=int(last_id[:18]))
        try:
            thread_id = uuid_of(request.match_info["thread_id"], "thread")
            permitted = await may_follow(self._core, request, thread_id)
        except ApiError as error:
            if error.status >= 500:
                raise
            return await _silence(request)  # to who may not, the status is 200 all the same (wire contract §18)
        self._core.enter_stream(request)
        feed: Feed | None = None
        subscriber = Subscriber(wanted, self._limits, permitted=permitted)
        try:
            feed = await self._feeds.open(thread_id)
            return await self._stream(request, feed, subscriber, wanted)
        finally:
            if feed is not None:
                feed.leave(subscriber)
                self._feeds.close(feed)
            self._core.leave_stream(request)

    async def _stream(
        self, request: web.Request, feed: Feed, subscriber: Subscriber, wanted: Filter
    ) -> web.StreamResponse:
        out = EventsOut(request, self._core.settings.heartbeat_s, {})
        sdk = is_python_sdk(request.headers.get("user-agent", ""))
        feed.listen(subscriber)
        out.guard(subscriber)
        await out.open()
        permissions = self._core.permissions
        check = permissions.reading(request, feed.thread_id)
        follow = partial(self._follow, request, out, feed, subscriber, wanted, sdk=sdk)
        return await out.while_permitted(permissions, feed.thread_id, "ask", check, follow)

    async def _follow(
        self, request: web.Request, out: StreamOut, feed: Feed, subscriber: Subscriber, wanted: Filter, *, sdk: bool
    ) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        beat = loop.time() + self._core.settings.heartbeat_s
        if subscriber.permitted:
            await catch_up(out, feed, subscriber, wanted, sdk=sdk)
        while True:
            events = await subscriber.wait(beat)
            if loop.time() >= beat:
                beat += self._core.settings.heartbeat_s
                await out.write(HEARTBEAT)
            if not events:
                continue
            if not subscriber.permitted:  # the thread was created meanwhile
                try:
                    async with asyncio.timeout_at(beat):
                        await feed.exists()
                except TimeoutError:
                    continue
                subscriber.permitted = True
                try:
                    if not await may_follow(self._core, request, feed.thread_id):
                        subscriber.permitted = False
                        continue
                except ApiError:
                    return await out.close()
                await catch_up(out, feed, subscriber, wanted, sdk=sdk)
            await out.write(_event_text(subscriber.take(), sdk=sdk))
            if subscriber.overrun:
                await out.cut_off()
                out.break_off()
            if subscriber.ended:
                out.break_off()


class EventsOut(StreamOut):
    """A stream that ends without an error event if it is refused, like one that is refused at first (wire contract §18)."""

    async def fail(self, error: str, message: str) -> None:
        if error != REFUSED:
            await super().fail(error, message)


async def catch_up(out: StreamOut, feed: Feed, subscriber: Subscriber, wanted: Filter, *, sdk: bool) -> None:
    """Write the past events, and those that happen meanwhile, until only future ones are left."""
    subscriber.fall_back()
    while subscriber.permitted:
        head = feed.head
        async for events in feed.past(subscriber.after, head):
            await out.write_all((event.for_sdk if sdk else event).sse for event in events if wanted.wants(event))
        if subscriber.permitted:
            subscriber.after = head
        if feed.head == head:
            break
    subscriber.behind = False


def _event_text(events: Sequence[Event], *, sdk: bool) -> bytes:
    return b"".join([(event.for_sdk if sdk else event).sse for event in events])


async def _json(request: web.Request) -> object:
    """Return the body, decoded. Raises ApiError 400."""
    try:
        decoded: object = decode_any(await request.read())
    except msgspec.DecodeError:
        raise ApiError(400, BAD_JSON) from None
    return decoded


async def _silence(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    await response.write_eof()
    return response
