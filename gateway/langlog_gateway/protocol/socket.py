"""The streaming protocol over one WebSocket (wire contract §9.3): commands in, responses and events out, several concurrent
subscriptions.

A socket has one task that reads and executes commands one after the other; a second one exists only while events are sent. Events are
the feed's own bytes, encoded once for all. A reader that does not keep up is closed with `SLOW`, and a server that stops closes
with 1012: either way the client continues from its last number, here or elsewhere. Nothing is lost when the process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from langlog_backbone.time.sources import uuid4
from langlog_schemas.json_types import Object

from ..core import Core
from ..http import effect
from ..http.cors import cors_of
from ..http.errors import ApiError
from ..http.validation import decode_any, uuid_of
from ..streams import slow_readers
from ..streams.permission import PermissionEnded
from ..streams.stream_out import CUT_OFF_WRITE_S
from ..streams.watch import Limits
from .access import may_follow
from .commands import NO_ACTIVE_RUN, Commands, Refused, error, read_envelope
from .events import Event, is_python_sdk, tree
from .feed import NO_EVENTS, Feed, Feeds
from .filter import Filter, read_filter

BAD_JSON = "Protocol commands must be valid JSON."
SLOW = 4008
"""Close code for a client that does not read its events."""
THREAD_ENDED = b"thread stream ended"
"""Reason with which a socket on a thread that the caller may not see is closed, with 1011."""


class Sockets:
    """The open sockets of a gateway."""

    def __init__(self, core: Core, feeds: Feeds, commands: Commands) -> None:
        self._core = core
        self._feeds = feeds
        self._commands = commands
        self._cors = cors_of(core.settings, core.options)
        self._limits = Limits(core.settings.stream_buffer_frames, core.settings.stream_buffer_bytes)
        self._open: set[Socket] = set()
        core.on_drain.append(self._close_all)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve the socket until either side closes it. Raises ApiError if the upgrade is refused."""
        origin = request.headers.get("origin")
        if origin is not None and not _own(origin, request) and not self._cors.admits_socket(request, origin):
            raise ApiError(403, "Disallowed CORS origin")
        self._core.enter_stream(request)
        settings = self._core.settings
        response = web.WebSocketResponse(
            timeout=CUT_OFF_WRITE_S,
            heartbeat=settings.socket_ping_s or None,
            max_msg_size=settings.max_socket_message_bytes,
            compress=False,
        )
        socket: Socket | None = None
        try:
            try:
                thread_id = uuid_of(request.match_info["thread_id"], "thread")
                permitted = await may_follow(self._core, request, thread_id)
            except ApiError as refused:
                if refused.status >= 500:
                    raise
                await response.prepare(request)
                await response.close(code=WSCloseCode.INTERNAL_ERROR, message=THREAD_ENDED)
                return response
            await response.prepare(request)
            socket = Socket(self._core, self._feeds, self._limits, request, response, thread_id, permitted=permitted)
            self._open.add(socket)
            if self._core.draining:
                socket.end()
            await self._read(request, response, socket)
        finally:
            if socket is not None:
                self._open.discard(socket)
                self._core.leave_stream(request)
                await socket.leave()
            else:
                self._core.leave_stream(request)
        return response

    async def _read(self, request: web.Request, response: web.WebSocketResponse, socket: Socket) -> None:
        async for message in response:
            if socket.closing:
                continue  # nothing is answered any more: what is awaited is the client's own close
            if message.type is not WSMsgType.TEXT:
                await response.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text frames only")
                return
            try:
                body = decode_any(message.data.encode())
            except msgspec.DecodeError:
                await socket.send_text(error(None, "invalid_argument", BAD_JSON))
                continue
            except ApiError as refused:
                await socket.send_text(error(None, "invalid_argument", refused.detail))
                continue
            command = read_envelope(body)
            if isinstance(command, bytes):
                await socket.send_text(command)
                continue
            effect.begin()  # each command is a request of its own
            with socket.answering():
                await socket.send_text(await self._commands.answer(request, command, socket))

    def _close_all(self) -> None:
        for socket in tuple(self._open):
            socket.end()


class _Subscription:
    __slots__ = ("after", "behind", "filter")

    def __init__(self, wanted: Filter) -> None:
        self.filter = wanted
        self.after = wanted.since or 0
        self.behind = True
        """Older events are being sent; those that happen meanwhile will be read with them."""


class Socket:
    """One connection: a `Session` for its commands, a `Listener` of its thread's feed."""

    __slots__ = (
        "_bytes",
        "_closing",
        "_core",
        "_feed",
        "_feeds",
        "_graph",
        "_held",
        "_left",
        "_limits",
        "_out",
        "_permission",
        "_permitted",
        "_request",
        "_run",
        "_sdk",
        "_started_after",
        "_subscriptions",
        "_thread_id",
        "_waiting",
        "_writer",
        "seq",
    )

    def __init__(
        self,
        core: Core,
        feeds: Feeds,
        limits: Limits,
        request: web.Request,
        out: web.WebSocketResponse,
        thread_id: str,
        *,
        permitted: bool,
    ) -> None:
        """``permitted`` False: the thread does not exist yet; access is checked before anything is sent."""
        self._core = core
        self._feeds = feeds
        self._limits = limits
        self._request = request
        self._sdk = is_python_sdk(request.headers.get("user-agent", ""))
        self._out = out
        self._thread_id = thread_id
        self._permitted = permitted
        self._feed: Feed | None = None
        self._subscriptions: dict[str, _Subscription] = {}
        self._waiting = NO_EVENTS
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._left: asyncio.Future[None] | None = None
        """Set when the client has disconnected."""
        self._held = False
        permissions = core.permissions
        self._permission = permissions.open(request, thread_id, self._refuse, "ask")
        check = permissions.reading(request, thread_id)
        if check is not None:
            self._permission.follow(check)
        self._run: str | None = None
        self._graph = ""
        self._started_after = 0
        self.seq = 0

    # session

    @property
    def head(self) -> int:
        return self._feed.head if self._feed is not None else 0

    def bind(self, run_id: str, graph_id: str, floor: int) -> None:
        self._run = run_id
        self._graph = graph_id
        self._started_after = floor

    async def subscribe(self, wanted: Filter) -> Object:
        limit = self._core.settings.max_subscriptions
        if len(self._subscriptions) >= limit:
            raise Refused("invalid_argument", f"A connection has at most {limit} subscriptions.")
        id = uuid4()
        subscription = self._subscriptions[id] = _Subscription(wanted)
        try:
            replayed = await self._replay(subscription)
        except BaseException:
            del self._subscriptions[id]
            raise
        return {"subscription_id": id, "replayed_events": replayed}

    async def unsubscribe(self, subscription_id: str) -> None:
        if self._subscriptions.pop(subscription_id, None) is None:
            raise Refused("no_such_subscription", f"Unknown subscription: {subscription_id}")
        if not self._subscriptions:
            self._leave_feed()

    async def reconnect(self, params: Object) -> Object:
        if self._run is None:
            raise Refused("no_such_run", NO_ACTIVE_RUN)
        wanted = read_filter(params)
        last = params.get("last_event_id")
        if wanted.since is None and isinstance(last, str):
            wanted = wanted._replace(since=await self._seq_of(last))
        result = await self.subscribe(wanted)
        return {"restored": True, "missed_events": result["replayed_events"]}

    async def tree(self) -> Object:
        if self._run is None:
            raise Refused("no_such_run", NO_ACTIVE_RUN)
        feed = await self._followed()
        if not await self._allowed():
            raise Refused("no_such_run", NO_ACTIVE_RUN)
        events = [event async for batch in feed.past(self._started_after, feed.head) for event in batch]
        return tree(events, self._run, self._graph)

    # listener

    def deliver(self, event: Event) -> None:
        for subscription in self._subscriptions.values():
            if not subscription.behind and subscription.filter.wants(event):
                self._put(event)
                return

    def gone(self) -> None:
        self._permitted = False

    def end(self) -> None:
        self._close(WSCloseCode.SERVICE_RESTART, b"the server stops")

    def _refuse(self) -> None:
        self._close(WSCloseCode.INTERNAL_ERROR, THREAD_ENDED)

    @property
    def closing(self) -> bool:
        return self._closing is not None

    async def leave(self) -> None:
        """Release the connection; wait until it is closed."""
        self._core.permissions.close(self._thread_id, self._permission)
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
        self._leave_feed()
        if self._writer is not None:
            self._writer.cancel()
        if self._closing is not None:
            await asyncio.wait([self._closing])

    # sending

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Context in which events wait: those of a run follow the response to the command that started it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._begin()

    async def send_text(self, text: bytes) -> None:
        """Send a response."""
        if not self.closing:
            with contextlib.suppress(ConnectionResetError):
                await self._out.send_frame(text, WSMsgType.TEXT)

    async def _followed(self) -> Feed:
        if self._feed is None:
            self._feed = await self._feeds.open(self._thread_id)
            self._feed.listen(self)
            self._permission.doubt()  # no listener has received the thread's changes until now
        return self._feed

    async def _replay(self, subscription: _Subscription) -> int:
        """Send the earlier events and those that happen meanwhile, except those that another subscription has sent."""
        feed = await self._followed()
        others = [other for other in self._subscriptions.values() if not other.behind]
        sent, after = 0, subscription.after
        while True:
            head = feed.head
            async for events in feed.past(after, head):
                for event in events:
                    if not subscription.filter.wants(event):
                        continue
                    if any(other.filter.wants(event) and event.seq > other.after for other in others):
                        continue
                    if not await self._allowed() or self.closing:
                        return sent
                    await self._out.send_frame((event.for_sdk if self._sdk else event).text, WSMsgType.TEXT)
                    self.seq = max(self.seq, event.seq)
                    sent += 1
            after = head
            if feed.head == head:
                subscription.behind = False
                return sent

    def _put(self, event: Event) -> None:
        if self._waiting is NO_EVENTS:
            self._waiting = deque()
        self._waiting.append(event)
        self._count(event)
        self._begin()

    def _begin(self) -> None:
        if self._waiting and not self._held and (self._writer is None or self._writer.done()):
            self._writer = asyncio.ensure_future(self._write())

    def _count(self, event: Event) -> None:
        self._bytes += len(event.text)
        if len(self._waiting) > self._limits.frames or (self._bytes > self._limits.bytes and len(self._waiting) > 1):
            self._waiting.clear()
            if self._closing is None:
                slow_readers.SLOW.cut_off(self._request.path)
            self._close(SLOW, b"the client reads too slowly: go on from the last seq")

    async def _write(self) -> None:
        try:
            while self._waiting and not self._held and await self._allowed():
                if not self._waiting:  # dropped meanwhile
                    break
                event = self._waiting.popleft()
                self._bytes -= len(event.text)
                await self._out.send_frame((event.for_sdk if self._sdk else event).text, WSMsgType.TEXT)
                self.seq = max(self.seq, event.seq)
        except (ConnectionResetError, RuntimeError):  # the client has left, or is being closed
            self._waiting.clear()

    async def _allowed(self) -> bool:
        """Return whether this caller may receive events. The thread may be created after the connection, and permissions may end."""
        try:
            await self._permission.settle()
        except PermissionEnded:
            return False
        while not self._permitted and self._feed is not None:
            await self._feed.exists()
            self._permitted = True
            try:
                self._permitted = await may_follow(self._core, self._request, self._thread_id)
            except ApiError:
                self._refuse()
                return False
        return self._permitted

    def _close(self, code: int, reason: bytes) -> None:
        if self._closing is None:
            self._leave_feed()
            self._waiting.clear()
            self._left = asyncio.get_running_loop().create_future()
            self._closing = asyncio.ensure_future(self._close_soon(code, reason, self._left))

    async def _close_soon(self, code: int, reason: bytes, left: asyncio.Future[None]) -> None:
        """Send a close frame, and wait until the client has closed too: otherwise it might never read the code. A client
        that does not read is dropped."""
        try:
            async with asyncio.timeout(CUT_OFF_WRITE_S):
                await self._out.send_frame(code.to_bytes(2) + reason, WSMsgType.CLOSE)
                await left
        except (TimeoutError, ConnectionResetError):
            if self._request.transport is not None:
                self._request.transport.abort()

    def _leave_feed(self) -> None:
        if self._feed is not None:
            self._feed.leave(self)
            self._feeds.close(self._feed)
            self._feed = None

    async def _seq_of(self, event_id: str) -> int | None:
        """Return the number of an event by its number or id; None: unknown, so every event is new."""
        if event_id.isascii() and event_id.isdecimal():
            return int(event_id[:18])
        mark = b'"event_id":%b,' % msgspec.json.encode(event_id)
        feed = await self._followed()
        async for events in feed.past(self._started_after, feed.head):
            for event in events:
                if mark in event.text[: len(mark) + 64]:
                    return event.seq
        return None


def wants_socket(request: web.Request) -> bool:
    return request.headers.get("upgrade", "").lower() == "websocket"


def _own(origin: str, request: web.Request) -> bool:
    """Return whether the origin is this server itself."""
    return origin.partition("://")[2] == request.headers.get("host")
