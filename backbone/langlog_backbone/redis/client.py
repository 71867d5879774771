"""Redis, which holds only data that may be lost: a pipelined connection, and a subscription connection, per process.

`RedisPipe` sends queued commands in one write; `Bus` is publish and subscribe over it. Both belong to the event loop that
started them. While Redis is unavailable, calls fail with `RedisUnavailable` and connections reopen by themselves; subscribers are
called back (`on_missed`) because messages may have been missed: by the process that was cut off, and by all processes when a
publisher was, whose messages were lost while their own connections stayed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import redis.asyncio as aioredis
import structlog
from msgspec import MsgspecError
from redis.exceptions import ClusterCrossSlotError, MovedError, RedisError

from ..process.retry import MAX_PAUSE_S, Availability, until_available
from ..process.server_errors import RedisUnavailable
from ..process.service import StartError
from ..process.settings import Settings
from ..time.sources import monotonic
from . import channels
from .connection import CONNECT_TIMEOUT_S, Caller, RedisConnection, Unanswered, fail, open_connection
from .large_messages import INLINE_BYTES, REFERENCE_MARK, LargeMessages, decode, encode

__all__ = ["Bus", "RedisPipe", "RedisUnavailable", "check_redis", "connect"]

logger = structlog.get_logger(__name__)

MIN_VERSION = (6, 2)
"""Minimum version of Redis: for BLMOVE."""
RECONNECT_PAUSE_S = 0.2
"""Seconds before a subscription that was lost is opened again; doubled, up to `MAX_PAUSE_S`, while it does not last `STEADY_S`."""
STEADY_S = 10.0
MAX_WAITING_BYTES = 256_000_000
"""Maximum bytes of large messages that one process may be sending; further ones are dropped."""
MISSED_LINGER_S = 0.1
"""Seconds in which losses of several publishers are collected: when Redis was unavailable, most have one to announce."""
LOSSES_APART_S = 2.0
"""Minimum seconds between two announcements of one process. Each makes all gateways read again what they follow, so that a process
whose connection breaks every moment must not announce every loss."""
CLOSE_S = 2.0
"""Seconds for large messages under way when the bus stops."""


def connect(uri: str, **options: Any) -> aioredis.Redis:
    """Return redis-py's client of ``redis://…`` or ``unix://…``, with replies as bytes; for code off the hot path."""
    return aioredis.Redis.from_url(uri, decode_responses=False, socket_connect_timeout=CONNECT_TIMEOUT_S, **options)


async def check_redis(uri: str, prefix: str = "") -> None:
    """Check the server. Raises StartError when Redis cannot be reached, is too old, or is a node of a cluster that does not hold all keys
    with this prefix."""
    try:
        client = connect(uri)
    except ValueError as error:
        raise StartError(f"REDIS_URI: {error}") from None
    try:
        info = await client.info("server")
        if "cluster" in (info.get("redis_mode"), info.get("server_mode")):  # the latter in Valkey
            await client.execute_command("EVAL", "return 1", 2, f"{prefix}queue", f"{prefix}leases")
    except (ClusterCrossSlotError, MovedError):
        raise StartError(
            "Redis (REDIS_URI) is a node of a cluster and does not hold all of langlog's keys: use a server without cluster mode"
        ) from None
    except (RedisError, OSError) as error:
        raise StartError(f"Redis cannot be reached (REDIS_URI): {error}") from None
    finally:
        await client.aclose()
    check_version(str(info["redis_version"]))


def check_version(version: str) -> None:
    """Check a version as reported by ``INFO``. Raises StartError for a server that is too old."""
    if tuple(int(x) for x in version.split(".")[:2]) < MIN_VERSION:
        raise StartError(f"Redis {version} is too old: {'.'.join(map(str, MIN_VERSION))} or newer is needed")


class RedisPipe:
    """A pipelined connection: calls of one moment are sent together; replies arrive in order. ``patient``: for blocking
    commands (BLMOVE, BRPOP).

    A connection is opened by the first call, and by the first after a loss.
    """

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        self.prefix = settings.redis_prefix
        self._uri = settings.redis_uri
        self._patient = patient
        self._connection: RedisConnection | None = None
        self._early: list[tuple[tuple[Any, ...], Caller]] = []
        self._opening: asyncio.Task[None] | None = None
        self._down = False

    @property
    def connection(self) -> RedisConnection | None:
        """The connection that the next call goes to; None: it opens one."""
        connection = self._connection
        return None if connection is None or connection.closed.done() else connection

    def key(self, *parts: str) -> str:
        return self.prefix + ":".join(parts)

    async def call(self, *command: Any) -> Any:
        """Send one command and return its reply. Raises RedisUnavailable, also where Redis responds with an error."""
        return await self.submit(*command)

    def submit(self, *command: Any) -> asyncio.Future[Any]:
        """Like `call`, but the command takes its place in the order at once; await the future for the reply."""
        connection = self._connection
        if connection is not None and not connection.closed.done():
            return connection.submit(*command)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open(command, future)
        return future

    def send(self, *command: Any, unanswered: Unanswered | None = None) -> None:
        """Send a command without waiting for its reply; lost while Redis is unavailable."""
        connection = self._connection
        if connection is not None and not connection.closed.done():
            connection.send(*command, unanswered=unanswered)
        else:
            self._open(command, unanswered)

    def send_late(self, *command: Any) -> None:
        """As `send`, with whatever is sent next, or a moment later (`connection.LATE_S`): a wake-up of Redis less."""
        connection = self.connection
        if connection is not None:
            connection.send_late(*command)
        else:
            self._open(command, None)

    async def flush(self) -> None:
        """Wait until all commands sent so far have been executed (or lost)."""
        with contextlib.suppress(RedisUnavailable):
            await self.call("PING")

    def drop(self) -> None:
        """Close the connection, which cancels a blocking command under way."""
        if self._connection is not None:
            self._connection.close()

    async def stop(self) -> None:
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._connection is not None:
            if not self._patient:
                await self.flush()
            self._connection.close()

    def _open(self, command: tuple[Any, ...], caller: Caller) -> None:
        self._early.append((command, caller))
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._reopen(), name="redis-open")

    async def _reopen(self) -> None:
        try:
            connection = await open_connection(self._uri, patient=self._patient)
        except RedisUnavailable as error:
            if not self._down:
                logger.warning("redis.away", error=str(error))
            self._down = True
            early, self._early = self._early, []
            for _, caller in early:
                fail(caller, RedisUnavailable(str(error)))
            return
        if self._down:
            logger.info("redis.back")
        self._down = False
        early, self._early = self._early, []
        for command, caller in early:
            if caller is None or isinstance(caller, Unanswered):
                connection.send(*command, unanswered=caller)
            elif not caller.done():
                connection.submit(*command).add_done_callback(_passing_on(caller))
        self._connection = connection


def _passing_on(future: asyncio.Future[Any]) -> Callable[[asyncio.Future[Any]], None]:
    def done(answer: asyncio.Future[Any]) -> None:
        error = answer.exception()  # retrieved even if the caller has gone
        if future.done():
            return
        if error is None:
            future.set_result(answer.result())
        else:
            future.set_exception(error)

    return done


Handler = Callable[[bytes], None]


class Bus:
    """Publish and subscribe by channel name. Handlers are plain functions, called on the event loop; they must not block.

    ``local``: no other process subscribes to what this one publishes with `publish_local` (``langlog dev``), so it is handed
    over within the process.
    """

    def __init__(self, pipe: RedisPipe, settings: Settings, *, local: bool = False) -> None:
        self._pipe = pipe
        self._uri = settings.redis_uri
        self._local = local
        self._handlers: dict[str, list[Handler]] = {}
        self._acks: dict[str, asyncio.Future[None]] = {}
        """Channels that are subscribed to in Redis; done once Redis has confirmed it on the present connection."""
        self._connection: RedisConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._large = LargeMessages(RedisPipe(settings))
        self._outgoing: dict[str, deque[bytes]] = {}
        """Channel -> messages to send after a large one that is under way."""
        self._outgoing_bytes = 0
        self._incoming: dict[str, deque[bytes]] = {}
        """Channel -> messages that arrived after a large one whose body is being fetched."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._caught_up: asyncio.Future[None] | None = None
        """Done once Redis has executed all commands sent on a new connection."""
        self._refusal: Exception | None = None
        """Redis' response to the subscription, when it was an error."""
        self.availability = Availability("bus", "redis")
        self.on_missed: list[Callable[[], None]] = []
        """Callbacks, called when messages may have been missed, with all channels subscribed to: what is published from then on arrives."""
        self._unanswered = Unanswered(self._note_loss)
        self._loss = asyncio.Event()
        """Set when a message that this process published may not have reached Redis."""
        self._announcing = Availability("bus.losses", "redis")
        self._announcer: asyncio.Task[None] | None = None
        self._missed_soon: asyncio.TimerHandle | None = None

    @property
    def local(self) -> bool:
        return self._local

    async def start(self) -> None:
        """Connect. Raises RedisUnavailable."""
        self._connection = await self._connect()
        self._handlers.setdefault(channels.MISSED, []).append(self._on_missed_message)
        self._acks[channels.MISSED] = asyncio.get_running_loop().create_future()
        self._connection.send("SUBSCRIBE", self._pipe.key(channels.MISSED))
        self._task = asyncio.create_task(self._keep(), name="bus")
        self._announcer = asyncio.create_task(self._announce_losses(), name="bus-losses")

    async def stop(self) -> None:
        for task in (self._task, self._announcer):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._missed_soon is not None:
            self._missed_soon.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await self._large.stop()
        if self._connection is not None:
            self._connection.close()

    def publish(self, channel: str, data: bytes) -> None:
        """Publish a message of any size to subscribers in all processes, in the order of the calls; lost while Redis is unavailable."""
        if len(data) <= INLINE_BYTES and channel not in self._outgoing:
            self._pipe.send("PUBLISH", self._pipe.key(channel), data, unanswered=self._unanswered)
            return
        waiting = self._outgoing.get(channel)
        if waiting is None:
            waiting = self._outgoing[channel] = deque()
            self._background(self._send_out(channel, waiting))
        if self._outgoing_bytes + len(data) > MAX_WAITING_BYTES:
            logger.warning("bus.message_dropped", channel=channel.partition(":")[0], bytes=len(data))
            self._note_loss()
            return
        self._outgoing_bytes += len(data)
        waiting.append(data)

    async def publish_counted(self, channel: str, data: bytes) -> int:
        """Publish a message of any size; return the number of subscribers that received it.

        Raises RedisUnavailable, as RedisRefused when there is no room for the body of a large message.
        """
        if len(data) > INLINE_BYTES:
            _, subscribers = await self._pipe.call("PUBSUB", "NUMSUB", self._pipe.key(channel))
            if not subscribers:  # most runs end without anybody watching: their states must not fill Redis
                return 0
            data = encode(await self._large.put(data, once=channels.one_receiver(channel)))
        receivers: int = await self._pipe.call("PUBLISH", self._pipe.key(channel), data)
        return receivers

    async def _send_out(self, channel: str, waiting: deque[bytes]) -> None:
        """Send large messages of one channel, and those queued after them."""
        while waiting:
            data = waiting.popleft()
            self._outgoing_bytes -= len(data)
            try:
                await self.publish_counted(channel, data)
            except RedisUnavailable as error:
                logger.warning("bus.message_lost", channel=channel.partition(":")[0], bytes=len(data), error=str(error))
                self._note_loss()
        del self._outgoing[channel]

    def _receive(self, channel: str, data: bytes) -> None:
        """Deliver a message once its body is available; later messages of its channel wait for it."""
        waiting = self._incoming.get(channel)
        if waiting is not None:
            waiting.append(data)
        elif data.startswith(REFERENCE_MARK):
            self._incoming[channel] = deque([data])
            self._background(self._fetch(channel, self._incoming[channel]))
        else:
            self.deliver(channel, data)

    async def _fetch(self, channel: str, waiting: deque[bytes]) -> None:
        while waiting:
            data: bytes | None = waiting.popleft()
            assert data is not None
            try:
                reference = decode(data)
                if reference is not None:
                    data = await self._large.get(reference)
                    if data is None:
                        logger.warning("bus.message_gone", channel=channel.partition(":")[0], bytes=reference.bytes)
            except (RedisUnavailable, MsgspecError) as error:
                logger.warning("bus.message_lost", channel=channel.partition(":")[0], error=str(error))
                data = None
            if data is not None:
                self.deliver(channel, data)
            else:
                self._miss_soon()
        del self._incoming[channel]

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def publish_local(self, channel: str, data: bytes) -> None:
        """Like `publish`, but within the process if the bus is local."""
        if self._local:
            self.deliver(channel, data)
        else:
            self.publish(channel, data)

    def deliver_local(self, channel: str, data: bytes) -> None:
        """Deliver to subscribers with ``remote=False`` of a local bus: for messages that are also published to other processes."""
        if self._local:
            self.deliver(channel, data)

    def deliver(self, channel: str, data: bytes) -> None:
        for handler in tuple(self._handlers.get(channel, ())):
            try:
                handler(data)
            except Exception:
                logger.exception("bus.handler_failed", channel=channel.partition(":")[0])

    async def subscribe(self, channel: str, handler: Handler, *, remote: bool = True) -> None:
        """Subscribe a handler; returns once no later message can be missed. ``remote`` False: only `publish_local` of a local bus."""
        ack = self.enter(channel, handler, remote=remote)
        if ack is not None and not ack.done():
            await asyncio.shield(ack)

    def enter(self, channel: str, handler: Handler, *, remote: bool = True) -> asyncio.Future[None] | None:
        """`subscribe` without waiting. Returns a future that is done once no later message can be missed, and that all subscribers
        share; None: none can be from now on."""
        self._handlers.setdefault(channel, []).append(handler)
        if not remote and self._local:
            return None
        ack = self._acks.get(channel)
        if ack is None:
            ack = self._acks[channel] = asyncio.get_running_loop().create_future()
            # if Redis is unavailable the keeper subscribes again later
            if self._connection is not None:
                self._connection.send("SUBSCRIBE", self._pipe.key(channel))
        return ack

    async def unsubscribe(self, channel: str, handler: Handler) -> None:
        self.leave(channel, handler)

    def leave(self, channel: str, handler: Handler) -> None:
        """Unsubscribe a handler."""
        handlers = self._handlers.get(channel)
        if not handlers or handler not in handlers:
            return
        handlers.remove(handler)
        if not handlers:
            del self._handlers[channel]
            if self._acks.pop(channel, None) is not None and self._connection is not None:
                self._connection.send("UNSUBSCRIBE", self._pipe.key(channel))

    async def _connect(self) -> RedisConnection:
        connection = await open_connection(self._uri)
        connection.listen(self._on_message)
        return connection

    async def _keep(self) -> None:
        """Open another connection whenever one is lost, and subscribe again."""
        pause_s, opened_at = RECONNECT_PAUSE_S, monotonic()
        while True:
            assert self._connection is not None
            await self._connection.closed
            self.availability.failed(self._why_closed())
            # one that is closed again and again makes this process, and all gateways, read again what they follow each time
            pause_s = RECONNECT_PAUSE_S if monotonic() - opened_at >= STEADY_S else min(2 * pause_s, MAX_PAUSE_S)
            await asyncio.sleep(pause_s)  # nothing signals that Redis will keep the next one open
            await until_available(self._connect_again, on=self.availability)
            opened_at = monotonic()
            self._miss()

    async def _connect_again(self) -> None:
        """Connect, and subscribe to all channels. Raises RedisUnavailable: Redis may accept connections only to close them, and
        refuse subscriptions."""
        self._refusal = None
        connection = self._connection = await self._connect()
        if self._acks and not await self._subscribe_again(connection):
            raise self._why_closed()

    def _why_closed(self) -> Exception:
        refusal, self._refusal = self._refusal, None
        return refusal or RedisUnavailable("the subscription's connection was closed")

    def _note_loss(self) -> None:
        if not self._loss.is_set():
            logger.warning("bus.messages_lost")
        self._loss.set()

    async def _announce_losses(self) -> None:
        """Publish, after each loss, that messages were lost: the connections of their subscribers may have outlasted it."""
        while True:
            await self._loss.wait()
            self._loss.clear()
            await until_available(
                lambda: self._pipe.call("PUBLISH", self._pipe.key(channels.MISSED), b""), on=self._announcing
            )
            await asyncio.sleep(LOSSES_APART_S)  # limits how often gateways read again; later losses wait in the event

    def _on_missed_message(self, _: bytes) -> None:
        self._miss_soon()

    def _miss_soon(self) -> None:
        if self._missed_soon is None:
            self._missed_soon = asyncio.get_running_loop().call_later(MISSED_LINGER_S, self._miss)

    def _miss(self) -> None:
        if self._missed_soon is not None:
            self._missed_soon.cancel()
            self._missed_soon = None
        for listener in tuple(self.on_missed):
            try:
                listener()
            except Exception:  # the others are called all the same, and the next loss is noticed
                logger.exception("bus.listener_failed")

    async def _subscribe_again(self, connection: RedisConnection) -> bool:
        """Subscribe to all channels. Return False if the connection was lost meanwhile."""
        self._caught_up = asyncio.get_running_loop().create_future()
        connection.send("SUBSCRIBE", *(self._pipe.key(channel) for channel in self._acks))
        connection.send("PING")
        await asyncio.wait([self._caught_up, connection.closed], return_when=asyncio.FIRST_COMPLETED)
        return self._caught_up.done()

    def _on_message(self, message: Any) -> None:
        if isinstance(message, Exception):  # a subscription was refused: try again on another connection
            self._refusal = self._refusal or message
            if self._connection is not None:
                self._connection.close()
            return
        if not isinstance(message, list):
            return
        if message[0] == b"pong":
            if self._caught_up is not None and not self._caught_up.done():
                self._caught_up.set_result(None)
            return
        channel = message[1].decode()[len(self._pipe.prefix) :]
        if message[0] == b"message":
            self._receive(channel, message[2])
        elif message[0] == b"subscribe":
            ack = self._acks.get(channel)
            if ack is not None and not ack.done():
                ack.set_result(None)
