"""Errors of real servers: which of them mean that the server is unavailable, and how a loop reports it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log import LogUnavailable
from langlog_backbone.metrics.exposition import of_process, rendered
from langlog_backbone.process import retry
from langlog_backbone.process.retry import Availability, reason_of, until_available
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import UNAVAILABLE_ERRORS, dependency_of, is_unavailable
from langlog_backbone.redis.client import RedisPipe, connect
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from tests.stack.sources import in_virtual_time

LIMIT_S = 60.0


@pytest.fixture
async def connection(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(postgres.uri)
    yield made
    await made.close()


@pytest.fixture
async def own_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedRedis]:
    """Start a Redis that a test may fill or demote."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    await server.start()
    yield server
    await server.stop()


async def failure(connection: asyncpg.Connection, *statements: str, args: tuple[object, ...] = ()) -> Exception:
    """Return the error of the last statement."""
    for statement in statements[:-1]:
        await connection.execute(statement)
    with pytest.raises(Exception) as caught:
        await connection.execute(statements[-1], *args)
    assert isinstance(caught.value, Exception)
    return caught.value


def as_reported(sqlstate: str, file: str = "") -> Exception:
    """An error as Postgres reports it, for states that cannot be brought about at will."""
    error: Exception = asyncpg.PostgresError.new({"C": sqlstate, "M": "of a server", "F": file, "S": "ERROR"})
    return error


READ_ONLY = ("SET default_transaction_read_only = on", "CREATE TABLE refused (n int)")
TIME_OVER = ("SET statement_timeout = 1", "SELECT pg_sleep(60)")
ENDED = ("SELECT pg_terminate_backend(pg_backend_pid())",)


@pytest.mark.parametrize("statements", [READ_ONLY, TIME_OVER, ENDED, ("SELECT * FROM not_there_yet",)])
async def test_a_server_that_refuses_or_ends_a_session_is_unavailable(
    connection: asyncpg.Connection, statements: tuple[str, ...]
) -> None:
    error = await failure(connection, *statements)
    assert is_unavailable(error)
    assert isinstance(error, UNAVAILABLE_ERRORS)
    assert dependency_of(error) == "postgres"


@pytest.mark.parametrize(
    ("statement", "args"),
    [
        ("SELECT 1/0", ()),
        ("SELECT 'x'::int", ()),
        ("SELEKT 1", ()),
        ("SELECT $1::int", ("not a number",)),
        ("SELECT $1::text", ("\x00",)),
        ("SELECT repeat('x', 2000000000)", ()),
    ],
)
async def test_a_statement_or_value_that_is_wrong_by_itself_is_not_weather(
    connection: asyncpg.Connection, statement: str, args: tuple[object, ...]
) -> None:
    assert not is_unavailable(await failure(connection, statement, args=args))


@pytest.mark.parametrize(
    "sqlstate",
    [
        "08006",
        "25006",
        "25P03",
        "25P04",
        "28P01",
        "3D000",
        "40001",
        "40P01",
        "42501",
        "53100",
        "53200",
        "53300",
        "55P03",
        "57014",
        "57P01",
        "57P02",
        "57P03",
        "58030",
        "58P01",
    ],
)
def test_states_of_a_server_in_trouble(sqlstate: str) -> None:
    assert is_unavailable(as_reported(sqlstate))


@pytest.mark.parametrize("sqlstate", ["0A000", "22001", "22003", "22P05", "23505", "42601", "42703", "54000", "XX000"])
def test_states_of_a_statement_that_is_wrong(sqlstate: str) -> None:
    assert not is_unavailable(as_reported(sqlstate, "mcxt.c"))


async def test_a_column_that_changed_its_type_amid_a_transaction_is_weather(postgres: EmbeddedPostgres) -> None:
    """No record is at fault for it, and the next attempt succeeds: the projector must not park anything."""
    first, second = [await asyncpg.connect(postgres.uri) for _ in range(2)]
    table = f"changed_{uuid.uuid4().hex}"
    try:
        await first.execute(f"CREATE TABLE {table} (n int)")
        await first.fetch(f"SELECT n FROM {table}")
        await second.execute(f"ALTER TABLE {table} ALTER COLUMN n TYPE bigint")
        with pytest.raises(asyncpg.PostgresError) as caught:
            async with first.transaction():
                await first.fetch(f"SELECT n FROM {table}")
        assert is_unavailable(caught.value)
        async with first.transaction():
            assert await first.fetch(f"SELECT n FROM {table}") == []
        await first.execute(f"DROP TABLE {table}")
    finally:
        await first.close()
        await second.close()


def test_an_internal_error_of_postgres_storage_is_weather() -> None:
    assert is_unavailable(as_reported("XX000", "md.c"))


def test_what_asyncpg_and_uvloop_raise_of_a_connection_that_ends_is_weather() -> None:
    assert is_unavailable(asyncpg.InternalClientError("cannot switch to state 15"))
    assert is_unavailable(RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"))
    assert not is_unavailable(RuntimeError("a defect"))


async def test_a_full_redis_refuses_and_takes_work_again(own_redis: EmbeddedRedis) -> None:
    pipe = RedisPipe(Settings(redis_uri=own_redis.uri, redis_prefix=f"{uuid.uuid4().hex}:"))
    admin = connect(own_redis.uri)
    await admin.config_set("maxmemory", 1)
    with pytest.raises(RedisUnavailable, match="OOM"):
        await pipe.call("SET", pipe.key("a"), "x")
    with pytest.raises(RedisUnavailable, match="OOM"):
        await pipe.call("EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, pipe.key("a"))
    await admin.config_set("maxmemory", 0)
    assert await pipe.call("SET", pipe.key("a"), "x") == b"OK"
    with pytest.raises(ResponseError):
        await pipe.call("INCR", pipe.key("a"))
    await admin.aclose()
    await pipe.stop()


async def test_a_redis_that_takes_rights_away_refuses_until_they_are_back(own_redis: EmbeddedRedis) -> None:
    pipe = RedisPipe(Settings(redis_uri=own_redis.uri, redis_prefix=f"{uuid.uuid4().hex}:"))
    admin = connect(own_redis.uri)
    await admin.execute_command("ACL", "SETUSER", "default", "-set")
    with pytest.raises(RedisUnavailable, match="NOPERM"):
        await pipe.call("SET", pipe.key("a"), "x")
    await admin.execute_command("ACL", "SETUSER", "default", "+set")
    assert await pipe.call("SET", pipe.key("a"), "x") == b"OK"
    await admin.aclose()
    await pipe.stop()


async def test_a_demoted_redis_is_left_for_the_server_that_is_there_then(own_redis: EmbeddedRedis) -> None:
    pipe = RedisPipe(Settings(redis_uri=own_redis.uri, redis_prefix=f"{uuid.uuid4().hex}:"))
    admin = connect(own_redis.uri)
    await pipe.call("PING")
    first = await pipe.call("CLIENT", "ID")
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    async with asyncio.timeout(LIMIT_S):
        while await _refused_id(pipe) == first:  # a connection of less than a second is kept
            await asyncio.sleep(0.1)
    await admin.execute_command("REPLICAOF", "NO", "ONE")
    assert await pipe.call("SET", pipe.key("a"), "x") == b"OK"
    await admin.aclose()
    await pipe.stop()


async def test_a_command_that_waits_in_a_redis_that_is_demoted_is_refused(own_redis: EmbeddedRedis) -> None:
    pipe = RedisPipe(Settings(redis_uri=own_redis.uri, redis_prefix=f"{uuid.uuid4().hex}:"), patient=True)
    admin = connect(own_redis.uri)
    waiting = pipe.submit("BRPOP", pipe.key("list"), 0)
    async with asyncio.timeout(LIMIT_S):
        while not (await admin.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
        await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(RedisUnavailable, match="UNBLOCKED"):
            await waiting
    await admin.aclose()
    pipe.drop()


async def _refused_id(pipe: RedisPipe) -> int | None:
    with contextlib.suppress(RedisUnavailable):
        await pipe.call("SET", pipe.key("a"), "x")
    with contextlib.suppress(RedisUnavailable):
        body: int = await pipe.call("CLIENT", "ID")
        return body
    return None


@in_virtual_time
async def test_a_call_is_repeated_until_it_succeeds_and_the_change_is_said_once() -> None:
    errors: list[Exception] = [LogUnavailable("a"), LogUnavailable("b"), LogUnavailable("c")]
    seen: list[str | None] = []
    availability = Availability("repeated")

    async def call() -> int:
        seen.append(availability.reason)
        if errors:
            raise errors.pop()
        return 7

    with capture_logs() as logs:
        assert await until_available(call, on=availability) == 7
        assert await until_available(call, on=availability) == 7
    assert [(entry["event"], entry["dependency"]) for entry in logs] == [
        ("dependency.unavailable", "log"),
        ("dependency.available", "log"),
    ]
    assert seen[0] is None
    assert seen[1] is not None
    assert "The log is unavailable" in seen[1]
    assert availability.reason is None
    assert availability.failures == 3
    text = rendered(of_process()).decode()
    assert 'langlog_unavailable{dependency="postgres",loop="repeated"} 0' in text
    assert 'langlog_unavailable_attempts_total{dependency="postgres",loop="repeated"} 3' in text


async def test_a_defect_is_not_repeated() -> None:
    async def call() -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        await until_available(call, on=Availability("a loop"))


@in_virtual_time
async def test_pauses_between_repetitions_grow_to_a_bound_and_are_never_all_at_once() -> None:
    clock, began = asyncio.get_running_loop().time, []

    async def call() -> None:
        began.append(clock())
        if clock() - began[0] < 600:
            raise LogUnavailable("away")

    await until_available(call, on=Availability("away for ten minutes"))
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert retry.PAUSE_S / 2 <= pauses[0] <= retry.PAUSE_S
    assert all(retry.MAX_PAUSE_S / 2 <= pause <= retry.MAX_PAUSE_S for pause in pauses[20:])
    assert len(set(pauses)) == len(pauses)


@in_virtual_time
async def test_an_attempt_that_hangs_is_given_up_for_the_next_one() -> None:
    clock, tries = asyncio.get_running_loop().time, 0
    began = clock()

    async def call() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            await asyncio.Event().wait()

    await until_available(call, on=Availability("hangs twice"), limit_s=30)
    assert tries == 3
    assert 60 < clock() - began < 60 + 2 * retry.MAX_PAUSE_S


@in_virtual_time
async def test_a_call_that_hangs_is_said_while_it_hangs() -> None:
    availability, well = Availability("a loop", "redis", hanging_s=5.0), Availability("another")
    with availability.attempt():
        await asyncio.sleep(4.9)
        assert reason_of([availability, well]) is None
        await asyncio.sleep(7.1)
        reason = reason_of([availability, well])
    assert reason == "Redis has not answered for 12 s"
    assert reason_of([availability, well]) is None
