"""Redis, which only ever holds what may be lost: one pipelined connection, and one subscription connection, per process.

`RedisPipe` sends whatever has gathered in one round trip; `Bus` is publish and subscribe over it. Both belong to
the event loop that started them. When Redis goes away, calls fail with `RedisUnavailable` and come back by themselves; a
subscriber is told (`on_reconnect`) because messages may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import redis.asyncio as aioredis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .service import StartError
from .settings import Settings

logger = structlog.get_logger(__name__)

MIN_VERSION = (6, 2)
"""BLMOVE."""
RECONNECT_PAUSE_S = 0.2
CONNECT_TIMEOUT_S = 5.0


class RedisUnavailable(Exception):
    """The call did not get through, or its answer was lost."""


def connect(uri: str, **options: Any) -> aioredis.Redis:
    """A client of ``redis://…`` or ``unix://…`` that keeps bytes as bytes."""
    return aioredis.Redis.from_url(uri, decode_responses=False, socket_connect_timeout=CONNECT_TIMEOUT_S, **options)


async def check_redis(uri: str) -> None:
    """Raises StartError when Redis cannot be reached or is too old."""
    try:
        client = connect(uri)
    except ValueError as error:
        raise StartError(f"REDIS_URI: {error}") from None
    try:
        info = await client.info("server")
    except (RedisError, OSError) as error:
        raise StartError(f"Redis cannot be reached (REDIS_URI): {error}") from None
    finally:
        await client.aclose()
    version = str(info["redis_version"])
    if tuple(int(x) for x in version.split(".")[:2]) < MIN_VERSION:
        raise StartError(f"Redis {version} is too old: {'.'.join(map(str, MIN_VERSION))} or newer is needed")


class RedisPipe:
    """Calls that gather while a round trip is under way go out together in the next."""

    def __init__(self, settings: Settings) -> None:
        self.prefix = settings.redis_prefix
        self._client = connect(settings.redis_uri, retry=Retry(ExponentialBackoff(), 1))
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any] | None]] = []
        self._flusher: asyncio.Task[None] | None = None

    def key(self, *parts: str) -> str:
        return self.prefix + ":".join(parts)

    async def call(self, *command: Any) -> Any:
        """One command's answer. Raises RedisUnavailable, or redis ResponseError for a refused command."""
        return await self.submit(*command)

    def submit(self, *command: Any) -> asyncio.Future[Any]:
        """As `call`, but the command has its place in the order at once, and is awaited later."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._enqueue(command, future)
        return future

    def send(self, *command: Any) -> None:
        """A command whose answer nobody needs; lost when Redis is away."""
        self._enqueue(command, None)

    async def flush(self) -> None:
        """Wait until everything enqueued so far has been sent (or lost)."""
        while self._flusher is not None and not self._flusher.done():
            await asyncio.wait([self._flusher])

    async def stop(self) -> None:
        await self.flush()
        await self._client.aclose()

    def _enqueue(self, command: tuple[Any, ...], future: asyncio.Future[Any] | None) -> None:
        self._waiting.append((command, future))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                if len(batch) == 1:
                    answers: list[Any] = [await self._single(batch[0][0])]
                else:
                    pipe = self._client.pipeline(transaction=False)
                    for command, _ in batch:
                        pipe.execute_command(*command)
                    answers = await pipe.execute(raise_on_error=False)
            except (RedisError, OSError) as error:
                answers = [RedisUnavailable(str(error))] * len(batch)
                logger.warning("redis.call_failed", commands=len(batch), error=str(error))
            for (_, future), answer in zip(batch, answers, strict=True):
                if future is None or future.done():
                    continue
                if isinstance(answer, Exception):
                    if not isinstance(answer, ResponseError | RedisUnavailable):
                        answer = RedisUnavailable(str(answer))
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    async def _single(self, command: tuple[Any, ...]) -> Any:
        try:
            return await self._client.execute_command(*command)
        except ResponseError as error:
            return error


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
        self._client: aioredis.Redis | None = None
        self._pubsub: Any = None
        self._task: asyncio.Task[None] | None = None
        self.on_reconnect: list[Callable[[], None]] = []

    async def start(self) -> None:
        self._client = connect(self._uri)
        self._pubsub = self._client.pubsub()
        await self._pubsub.subscribe(self._pipe.key("bus"))
        self._task = asyncio.create_task(self._read(), name="bus")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.aclose()
        if self._client is not None:
            await self._client.aclose()

    def publish(self, channel: str, data: bytes) -> None:
        """To subscribers in all processes; lost when Redis is away."""
        self._pipe.send("PUBLISH", self._pipe.key(channel), data)

    def publish_local(self, channel: str, data: bytes) -> None:
        """As `publish`, but within the process when the bus is local or the channel has a subscriber here alone."""
        if self._local:
            self.deliver(channel, data)
        else:
            self.publish(channel, data)

    def deliver_local(self, channel: str, data: bytes) -> None:
        """To subscribers with ``remote=False`` of a local bus; for what is published to other processes as well."""
        if self._local:
            self.deliver(channel, data)

    def deliver(self, channel: str, data: bytes) -> None:
        for handler in tuple(self._handlers.get(channel, ())):
            try:
                handler(data)
            except Exception:
                logger.exception("bus.handler_failed", channel=channel.partition(":")[0])

    async def subscribe(self, channel: str, handler: Handler, *, remote: bool = True) -> None:
        """Returns once nothing published from now on can be missed. ``remote`` False: only `publish_local` of a local bus."""
        handlers = self._handlers.setdefault(channel, [])
        handlers.append(handler)
        if not remote and self._local:
            return
        ack = self._acks.get(channel)
        if ack is None:
            ack = self._acks[channel] = asyncio.get_running_loop().create_future()
            # when Redis is away the reader reconnects and subscribes again to all that is wanted
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.subscribe(self._pipe.key(channel))
        if not ack.done():
            await asyncio.shield(ack)

    async def unsubscribe(self, channel: str, handler: Handler) -> None:
        handlers = self._handlers.get(channel)
        if not handlers or handler not in handlers:
            return
        handlers.remove(handler)
        if not handlers:
            del self._handlers[channel]
            if self._acks.pop(channel, None) is not None:
                with contextlib.suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(self._pipe.key(channel))

    async def _read(self) -> None:
        prefix = len(self._pipe.prefix)
        down = False
        while True:
            try:
                message = await self._pubsub.get_message(timeout=None)
            except (RedisConnectionError, RedisTimeoutError, OSError, RuntimeError) as error:
                if not down:
                    logger.warning("bus.lost", error=str(error))
                    down = True
                await asyncio.sleep(RECONNECT_PAUSE_S)
                continue
            if down:
                down = False
                logger.info("bus.back")
                for told in self.on_reconnect:
                    told()
            if message is None:
                continue
            channel = message["channel"].decode()[prefix:]
            if message["type"] == "message":
                self.deliver(channel, message["data"])
            elif message["type"] == "subscribe":
                ack = self._acks.get(channel)
                if ack is not None and not ack.done():
                    ack.set_result(None)
