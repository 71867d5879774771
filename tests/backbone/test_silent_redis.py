"""A Redis whose machine has vanished: it closes no connection and answers nothing, and who only listens is told so by nobody."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from langlog_backbone.process.retry import Availability
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import connection as redis_connection
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.connection import ANSWER_S, QUIET_S, RedisConnection, Unanswered, open_connection
from langlog_backbone.redis.list_consumer import ListConsumer

from tests.stack.sources import in_virtual_time

LIMIT_S = 60.0


class Wire(asyncio.Transport):
    """A connection in memory. ``answers``: what Redis answers to a command of that name; nothing to others."""

    def __init__(self, connection: RedisConnection, answers: dict[bytes, list[bytes]] | None = None) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self._connection, self._answers = connection, answers or {}
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))
        for name, answers in self._answers.items():
            if name in bytes(data) and answers:
                asyncio.get_running_loop().call_soon(self._connection.data_received, answers.pop(0))

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)


@in_virtual_time
async def test_a_subscription_to_a_redis_that_has_vanished_is_closed() -> None:
    connection, clock = RedisConnection(), asyncio.get_running_loop().time
    wire = Wire(connection)
    connection.listen(lambda _: None)
    connection.send("SUBSCRIBE", "room")
    await asyncio.sleep(QUIET_S / 2)
    connection.data_received(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n")
    since = clock()
    async with asyncio.timeout(3600):
        await connection.closed
    assert b"PING" in wire.sent[-1]
    assert clock() - since == pytest.approx(QUIET_S + ANSWER_S)


@in_virtual_time
async def test_a_subscription_without_messages_is_kept_while_redis_answers() -> None:
    connection = RedisConnection()
    wire = Wire(connection, {b"PING": [b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"] * 1000})
    connection.listen(lambda _: None)
    await asyncio.sleep(100 * QUIET_S)
    assert not connection.closed.done()
    assert 90 <= len(wire.sent) <= 101


@in_virtual_time
async def test_a_command_without_a_caller_that_is_refused_or_never_answered_is_noticed() -> None:
    connection = RedisConnection()
    Wire(connection, {b"refused": [b"-BUSY Redis is busy running a script\r\n"], b"taken": [b":0\r\n"]})
    lost: list[str] = []
    for message in ("refused", "taken", "silence"):
        connection.send("PUBLISH", "room", message, unanswered=Unanswered(lambda message=message: lost.append(message)))
        await asyncio.sleep(1)
    await connection.closed
    connection.send("PUBLISH", "room", "late", unanswered=Unanswered(lambda: lost.append("late")))
    assert lost == ["refused", "silence", "late"]


def in_memory(monkeypatch: pytest.MonkeyPatch, *answers: dict[bytes, list[bytes]]) -> list[Wire]:
    """The connections that are opened, each with its answers; the last ones again and again."""
    opened: list[Wire] = []

    async def open_next(_: str, *, patient: bool = False) -> RedisConnection:
        connection = RedisConnection(patient=patient)
        opened.append(Wire(connection, answers[min(len(opened), len(answers) - 1)]))
        return connection

    monkeypatch.setattr("langlog_backbone.redis.client.open_connection", open_next)
    return opened


@pytest.fixture
def silent_at_first(monkeypatch: pytest.MonkeyPatch) -> list[Wire]:
    return in_memory(
        monkeypatch, {}, {b"CLIENT": [b":7\r\n"], b"BRPOP": [b"*-1\r\n", b"*2\r\n$4\r\nlist\r\n$5\r\nentry\r\n"]}
    )


@in_virtual_time
async def test_a_list_is_read_on_from_another_connection(silent_at_first: list[Wire]) -> None:
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    available = Availability("lists", "redis")
    consumer = ListConsumer(Settings(), "list", taken.put, 1, available, through=RedisPipe(Settings()))
    consuming = asyncio.create_task(consumer.run())
    async with asyncio.timeout(3600):
        assert await taken.get() == b"entry"
    assert available.failures == 1
    assert len(silent_at_first) == 2
    consuming.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await consuming


@in_virtual_time
async def test_a_list_that_cannot_be_read_is_tried_again_ever_later_and_at_once_when_it_could(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that lasts, such as that of a role without the right, costs Redis and the log of the process next to nothing."""
    refusals = [{b"CLIENT": [b":7\r\n"], b"BRPOP": [b"-NOPERM this user may not\r\n"]} for _ in range(21)]
    answer = {b"CLIENT": [b":7\r\n"], b"BRPOP": [b"*2\r\n$4\r\nlist\r\n$5\r\nentry\r\n"]}
    in_memory(monkeypatch, *refusals[:20], answer, refusals[20])
    at: list[float] = []
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    available = Availability("lists", "redis")
    consumer = ListConsumer(Settings(), "list", taken.put, 1, available, through=RedisPipe(Settings()))
    failed = available.failed

    def noted(error: BaseException) -> None:
        at.append(asyncio.get_running_loop().time())
        failed(error)

    monkeypatch.setattr(available, "failed", noted)
    consuming = asyncio.create_task(consumer.run())
    async with asyncio.timeout(3600):
        assert await taken.get() == b"entry"
        pauses = [after - before for before, after in itertools.pairwise(at)]
        assert (
            len(pauses) == 19 and pauses[0] <= 0.2 and max(pauses[:2]) <= 0.4 and all(1 <= p <= 2 for p in pauses[5:])
        )
        while len(at) < 22:  # the connection that gave the entry has no more answers, and is given up
            await asyncio.sleep(1)  # in virtual time
    assert at[21] - at[20] <= 0.2
    consuming.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await consuming


async def test_a_connection_whose_password_gets_no_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connection, "CONNECT_TIMEOUT_S", 0.1)
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            heard.set_result(await reader.read())  # until the other side closes

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RedisUnavailable):
            await open_connection(f"redis://:secret@127.0.0.1:{port}/0", patient=True)
        assert b"AUTH" in await asyncio.wait_for(heard, LIMIT_S)
