"""Errors of real servers: which of them mean that the server is unavailable, and how a loop reports it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log import LogUnavailable
from langlog_backbone.metrics.exposition import of_process, rendered
from langlog_backbone.process import retry
from langlog_backbone.process.retry import Availability, reason_of, until_available
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import UNAVAILABLE_ERRORS, dependency_of, is_unavailable, may_pass, own_fault
from langlog_backbone.redis.client import Bus, RedisPipe, connect
from langlog_backbone.redis.hot_queue import HotQueue
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


def as_reported(sqlstate: str, file: str = "", severity: str = "ERROR") -> Exception:
    """An error as Postgres reports it, for states that cannot be brought about at will."""
    error: Exception = asyncpg.PostgresError.new({"C": sqlstate, "M": "of a server", "F": file, "S": severity})
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
        "26000",
        "28P01",
        "3D000",
        "40001",
        "40P01",
        "42501",
        "42P05",
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
        "58P99",
        "XX000",
        "XX001",
        "XX002",
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


@pytest.mark.parametrize("sqlstate", ["0A000", "22023", "42704", "XX000"])
def test_what_ends_or_refuses_a_session_is_never_the_fault_of_data(sqlstate: str) -> None:
    """Proxies report their own trouble so: that no server is behind them, or that it may have no more connections."""
    error = as_reported(sqlstate, severity="FATAL")
    assert is_unavailable(error)
    assert not own_fault(error)


async def test_a_value_that_postgres_cannot_hold_is_at_fault_although_it_calls_that_an_internal_error(
    connection: asyncpg.Connection,
) -> None:
    error = await failure(connection, "SELECT repeat('x', 2000000000)")
    assert isinstance(error, asyncpg.PostgresError)
    assert own_fault(error)


async def test_a_certificate_that_is_being_replaced_is_weather(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where libpq and asyncpg look for it
    with pytest.raises(asyncpg.ClientConfigurationError) as caught:
        await asyncpg.connect(f"{postgres.uri}&sslmode=verify-ca")
    assert is_unavailable(caught.value)
    assert not own_fault(caught.value)


async def test_tables_that_do_not_fit_end_no_loop_and_are_not_what_a_client_waits_for(
    connection: asyncpg.Connection,
) -> None:
    error = await failure(connection, "SELECT renamed FROM pg_class")
    assert may_pass(error)
    assert not is_unavailable(error)


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


async def test_an_error_of_redis_that_nobody_has_foreseen_is_weather(own_redis: EmbeddedRedis) -> None:
    """Another program's value is under a key of langlog's: no service may end for it."""
    settings = Settings(redis_uri=own_redis.uri, redis_prefix=f"{uuid.uuid4().hex}:")
    pipe = RedisPipe(settings)
    queue = HotQueue(pipe, settings)
    await pipe.call("SET", pipe.key("leases"), "of another")
    for call in (queue.reap, queue.known):
        with pytest.raises(RedisUnavailable, match="WRONGTYPE") as caught:
            await call()
        assert is_unavailable(caught.value)
        assert dependency_of(caught.value) == "redis"
    await queue.stop()
    await pipe.stop()


async def test_a_bus_whose_subscription_is_refused_says_so_once_and_returns(own_redis: EmbeddedRedis) -> None:
    settings = Settings(redis_uri=own_redis.uri, redis_prefix=f"{uuid.uuid4().hex}:")
    pipe = RedisPipe(settings)
    bus = Bus(pipe, settings)
    await bus.start()
    received, missed = asyncio.Event(), asyncio.Event()
    await bus.subscribe("c", lambda _: received.set())
    bus.on_missed.append(missed.set)
    admin = connect(own_redis.uri)
    with capture_logs() as logs:
        await admin.execute_command("ACL", "SETUSER", "default", "resetchannels")  # closes its connections
        async with asyncio.timeout(LIMIT_S):
            while bus.availability.failures < 4:
                await asyncio.sleep(0.01)  # failures are counted, and notify nobody
        assert bus.availability.reason is not None
        await admin.execute_command("ACL", "SETUSER", "default", "allchannels")
        async with asyncio.timeout(LIMIT_S):
            await missed.wait()
            bus.publish("c", b"x")
            await received.wait()
    said = [entry for entry in logs if entry.get("loop") == "bus"]
    assert [entry["event"] for entry in said].count("dependency.available") == 1
    errors = [entry["error"] for entry in said if entry["event"] == "dependency.unavailable"]
    assert len(errors) == len({error.partition(":")[0] for error in errors}), "each kind once"
    assert any("NOPERM" in error for error in errors)
    assert bus.availability.reason is None
    await admin.aclose()
    await bus.stop()
    await pipe.stop()


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
