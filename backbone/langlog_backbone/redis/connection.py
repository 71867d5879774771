"""One Redis connection as an asyncio protocol over hiredis: calls go out as they gather, replies resolve futures in order.

redis-py's asyncio client costs about 150 µs of CPU a command (pool, retry, timeout and task of each call), this 10-15 µs; with
eight commands a run that was a third of a worker's CPU. This module adds the order of futures; hiredis packs and parses, and
redis-py reads the URI.

Concurrency: belongs to the event loop that opened it. When it dies every call that has no answer yet fails with
`RedisUnavailable`; a connection is never reopened, its owner opens another one.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url

from ..process.server_errors import RedisFailed, RedisRefused, RedisUnavailable

CONNECT_TIMEOUT_S = 5.0
ANSWER_S = 5.0
"""Seconds of silence with calls waiting after which a connection is closed."""

QUIET_S = 10.0
"""Seconds without a message after which a subscription sends PING: a server whose machine has vanished closes no connection, and
a process that only listens would wait for it without end. Without an answer within `ANSWER_S` the connection is closed."""

LATE_S = 0.02
"""Delay of a command without a waiting caller, unless another command is sent earlier."""

STALE_S = 1.0
"""Minimum age, in seconds, of a connection that is closed when Redis became a replica."""

Listener = Callable[[list[Any]], None]


_REFUSALS = (
    "OOM",  # maxmemory is reached, and the policy is noeviction
    "READONLY",  # a replica: what a primary becomes in a failover
    "MISCONF",  # the last snapshot could not be saved
    "UNBLOCKED",  # it became a replica while a command was waiting
    "LOADING",
    "BUSY",  # a script has been running for long
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOAUTH",  # a password was set after this connection was opened
    "NOPERM",  # the user's rights are being changed
)
_REFUSED = re.compile(rf"(?:ERR max number of clients|(?:{'|'.join(_REFUSALS)})\b)")
_REFUSED_IN_SCRIPT = re.compile(rf"ERR Error running script .*-(?:{'|'.join(_REFUSALS)}) ")
"""Wording of Redis 6."""
_STALE = ("READONLY", "UNBLOCKED", "NOAUTH")
"""Refusals that another connection may not get."""


def _reply_error(text: str) -> Exception:
    if _REFUSED.match(text) or _REFUSED_IN_SCRIPT.match(text):
        return RedisRefused(text)
    return RedisFailed(text)


class Unanswered:
    """Takes the place of the caller of commands whose reply is not awaited. ``lost``: called when Redis refuses one of them, or may not
    have received it; must not block."""

    __slots__ = ("lost",)

    def __init__(self, lost: Callable[[], None]) -> None:
        self.lost = lost


Caller = asyncio.Future[Any] | Unanswered | None
"""Of a command. None: nothing reports whether Redis has executed it."""


class RedisConnection(asyncio.Protocol):
    """Open with `open_connection`. ``patient``: blocking commands are sent, so silence is no sign of death."""

    def __init__(self, *, patient: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=_reply_error, notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._flushing: asyncio.Handle | None = None
        self._flushing_late: asyncio.TimerHandle | None = None
        self._waiting: deque[Caller] = deque()
        self._listener: Listener | None = None
        self._patient = patient
        self._received_at = 0.0
        self._opened = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self._pinged = False
        """Whether a subscription has sent PING and received nothing since."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # calls

    def submit(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command; the future gets the reply, or RedisUnavailable: `RedisRefused` or `RedisFailed` where Redis responds."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._send(command, future)
        return future

    def send(self, *command: Any, unanswered: Unanswered | None = None) -> None:
        """Send a command and ignore its reply."""
        self._send(command, unanswered)

    def send_late(self, *command: Any) -> None:
        """Send the command with the next one, `LATE_S` later at the latest, without waiting for the reply."""
        self._send(command, None, late=True)

    def listen(self, listener: Listener) -> None:
        """Turn the connection into a subscription: each reply goes to the listener, also those to PING."""
        self._listener = listener
        if self._watch is not None:
            self._watch.cancel()
        self._received_at = self._loop.time()
        self._watch = self._loop.call_later(QUIET_S, self._check_listening)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _send(self, command: tuple[Any, ...], caller: Caller, *, late: bool = False) -> None:
        if self._transport is None or self.closed.done():
            fail(caller, RedisUnavailable("the connection is closed"))
            return
        if self._flushing is None:
            if not late:
                self._flushing = self._loop.call_soon(self._flush)
            elif self._flushing_late is None:
                self._flushing_late = self._loop.call_later(LATE_S, self._flush)
        self._out.append(hiredis.pack_command(command))
        if self._listener is None:
            self._waiting.append(caller)
            if self._watch is None and not self._patient:
                self._received_at = self._loop.time()
                self._watch = self._loop.call_later(ANSWER_S, self._check)

    def _flush(self) -> None:
        self._flushing = None
        if self._flushing_late is not None:
            self._flushing_late.cancel()
            self._flushing_late = None
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(b"".join(out))

    def _close_stale(self) -> None:
        """Close after a failover: the address may lead to another server, so the owner opens another connection, but not all the time."""
        if self._loop.time() - self._opened >= STALE_S:
            self._loop.call_soon(self.close)

    def _check(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        silent = self._loop.time() - self._received_at
        if silent >= ANSWER_S:
            self.close()
        else:
            self._watch = self._loop.call_later(ANSWER_S - silent, self._check)

    def _check_listening(self) -> None:
        if self._pinged:
            self.close()
            return
        quiet = self._loop.time() - self._received_at
        if quiet >= QUIET_S:
            self._pinged = True
            self.send("PING")
        self._watch = self._loop.call_later(ANSWER_S if self._pinged else QUIET_S - quiet, self._check_listening)

    # the protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it

    def data_received(self, data: bytes) -> None:
        self._received_at = self._loop.time()
        self._pinged = False
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while True:
            try:
                answer = reader.gets()
            except hiredis.ProtocolError:
                self.close()
                return
            if answer is _NOTHING:
                return
            if self._listener is not None:
                self._listener(answer)
                continue
            if (
                not waiting
            ):  # Redis sends the reason unasked when it closes a connection, for example with too many clients
                self.close()
                return
            caller = waiting.popleft()
            if isinstance(answer, RedisRefused) and str(answer).startswith(_STALE):
                self._close_stale()
            if isinstance(answer, RedisUnavailable):
                fail(caller, answer)
            elif not (caller is None or isinstance(caller, Unanswered) or caller.done()):
                caller.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for timer in (self._watch, self._flushing_late):
            if timer is not None:
                timer.cancel()
        while self._waiting:
            fail(self._waiting.popleft(), RedisUnavailable(str(error or "the connection was closed")))
        if not self.closed.done():
            self.closed.set_result(None)


_NOTHING = object()


def fail(caller: Caller, error: Exception) -> None:
    """Report to a caller that its command failed."""
    if isinstance(caller, Unanswered):
        caller.lost()
    elif caller is not None and not caller.done():
        caller.set_exception(error)


async def open_connection(uri: str, *, patient: bool = False) -> RedisConnection:
    """Connect, authenticate, select. ``redis://``, ``rediss://`` or ``unix://``. Raises RedisUnavailable."""
    where = parse_url(uri)
    loop = asyncio.get_running_loop()
    kind = where.get("connection_class")

    def make() -> RedisConnection:
        return RedisConnection(patient=patient)

    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if kind is UnixDomainSocketConnection:
                _, connection = await loop.create_unix_connection(make, where["path"])
            else:
                tls = ssl.create_default_context() if kind is SSLConnection else None
                host, port = where.get("host", "localhost"), int(where.get("port", 6379))
                _, connection = await loop.create_connection(make, host, port, ssl=tls)
            try:
                if where.get("password"):
                    user = [where["username"]] if where.get("username") else []
                    await connection.submit("AUTH", *user, where["password"])
                if where.get("db"):
                    await connection.submit("SELECT", int(where["db"]))
            except BaseException:  # a Redis that does not answer: no caller gets this connection, so none closes it
                connection.close()
                raise
    except RedisUnavailable as error:
        raise RedisUnavailable(str(error)) from None
    except (OSError, TimeoutError) as error:
        raise RedisUnavailable(str(error) or "timed out") from None
    return connection
