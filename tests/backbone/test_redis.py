"""The pipelined connection and the bus."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import large_messages
from langlog_backbone.redis.client import Bus, RedisPipe, check_redis, connect
from redis.exceptions import ResponseError

from tests.stack.server import free_port

LIMIT_S = 60.0


@pytest.fixture
def settings(redis_server: EmbeddedRedis) -> Settings:
    return Settings(redis_uri=redis_server.uri, redis_prefix=f"{uuid.uuid4().hex}:")


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(settings)
    yield pipe
    await pipe.stop()


@pytest.fixture
async def bus(pipe: RedisPipe, settings: Settings) -> AsyncIterator[Bus]:
    bus = Bus(pipe, settings)
    await bus.start()
    yield bus
    await bus.stop()


async def test_calls_of_one_moment_are_answered_each_with_its_own(pipe: RedisPipe) -> None:
    answers = await asyncio.gather(*(pipe.call("INCR", pipe.key("n")) for _ in range(100)))
    assert answers == list(range(1, 101))


async def test_a_call_is_answered_although_code_of_the_process_has_replaced_the_class_of_futures(
    pipe: RedisPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nest_asyncio does: loops make futures of the former class all the same."""

    class Replaced(asyncio.Future[None]): ...

    monkeypatch.setattr(asyncio, "Future", Replaced)
    async with asyncio.timeout(LIMIT_S):
        assert await pipe.call("PING") in (b"PONG", "PONG")


async def test_a_late_command_keeps_its_place_and_goes_out_with_the_next_one_or_by_itself(
    pipe: RedisPipe, settings: Settings
) -> None:
    other = RedisPipe(settings)
    key = pipe.key("list")
    try:
        await pipe.call("RPUSH", key, "first")
        pipe.send_late("RPUSH", key, "late")
        assert await pipe.call("LRANGE", key, 0, -1) == [b"first", b"late"]
        pipe.send_late("RPUSH", key, "alone")
        pipe.send_late("RPUSH", key, "together")
        async with asyncio.timeout(LIMIT_S):
            while await other.call("LLEN", key) < 4:
                await asyncio.sleep(0.001)
        pipe.send("RPUSH", key, "soon")
        pipe.send_late("RPUSH", key, "last")
        await pipe.flush()
        assert await other.call("LRANGE", key, 2, -1) == [b"alone", b"together", b"soon", b"last"]
    finally:
        await other.stop()


async def test_a_late_command_is_sent_before_its_pipe_stops(settings: Settings) -> None:
    pipe, other = RedisPipe(settings), RedisPipe(settings)
    try:
        pipe.send_late("SET", pipe.key("first"), 1)
        await pipe.flush()
        pipe.send_late("SET", pipe.key("last"), 1)
        await pipe.stop()
        assert await other.call("MGET", pipe.key("first"), pipe.key("last")) == [b"1", b"1"]
    finally:
        await other.stop()


async def test_a_refused_command_fails_alone(pipe: RedisPipe) -> None:
    await pipe.call("SET", pipe.key("text"), "x")
    answers = await asyncio.gather(
        pipe.call("INCR", pipe.key("text")), pipe.call("INCR", pipe.key("n")), return_exceptions=True
    )
    assert isinstance(answers[0], ResponseError)
    assert answers[1] == 1


async def test_an_unreachable_redis_fails_a_call_and_the_start(tmp_path: object) -> None:
    uri = f"unix://{tmp_path}/nobody.sock"
    pipe = RedisPipe(Settings(redis_uri=uri))
    with pytest.raises(RedisUnavailable):
        await pipe.call("PING")
    await pipe.stop()
    with pytest.raises(StartError, match="REDIS_URI"):
        await check_redis(uri)


async def test_a_node_of_a_cluster_is_refused_at_the_start_unless_it_holds_all_keys(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    assert redis_server.child is not None
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "dir": str(tmp_path), "save": "", "cluster-enabled": "yes"}
    node = await asyncio.create_subprocess_exec(
        psutil.Process(redis_server.child.pid).exe(),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
        stdout=asyncio.subprocess.PIPE,
    )
    uri = f"redis://127.0.0.1:{port}"
    admin = connect(uri)
    try:
        assert node.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            async for line in node.stdout:
                if b"eady to accept connections" in line:
                    break
            await admin.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            while b"cluster_state:ok" not in (await admin.execute_command("CLUSTER", "INFO")):
                await asyncio.sleep(0.01)  # a node tells its state only when it is asked
        with pytest.raises(StartError, match="a node of a cluster"):
            await check_redis(uri, "langlog:")
        await check_redis(uri, "{langlog}:")
    finally:
        await admin.aclose()
        node.kill()
        await node.wait()


async def test_what_is_published_after_a_subscription_arrives(bus: Bus) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe("room", heard.put_nowait)
    bus.publish("room", b"one")
    assert await asyncio.wait_for(heard.get(), LIMIT_S) == b"one"


async def test_a_second_subscriber_of_a_channel_hears_too_and_one_may_leave(bus: Bus) -> None:
    first: asyncio.Queue[bytes] = asyncio.Queue()
    second: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe("room", first.put_nowait)
    await bus.subscribe("room", second.put_nowait)
    await bus.unsubscribe("room", first.put_nowait)
    bus.publish("room", b"one")
    assert await asyncio.wait_for(second.get(), LIMIT_S) == b"one"
    assert first.empty()


async def test_a_channel_can_be_left_and_entered_again(bus: Bus) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    for word in (b"one", b"two", b"three"):
        await bus.subscribe("room", heard.put_nowait)
        bus.publish("room", word)
        assert await asyncio.wait_for(heard.get(), LIMIT_S) == word
        await bus.unsubscribe("room", heard.put_nowait)


async def test_a_local_bus_hands_over_within_the_process(pipe: RedisPipe, settings: Settings) -> None:
    bus = Bus(pipe, settings, local=True)
    await bus.start()
    heard: list[bytes] = []
    await bus.subscribe("lifecycle:t", heard.append, remote=False)
    bus.publish_local("lifecycle:t", b"ended")
    assert heard == [b"ended"]
    await bus.stop()


async def test_subscribers_are_told_when_the_connection_was_lost(bus: Bus, pipe: RedisPipe) -> None:
    back = asyncio.Event()
    bus.on_missed.append(back.set)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe("room", heard.put_nowait)
    await pipe.call("CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.wait_for(back.wait(), LIMIT_S)
    bus.publish("room", b"after")
    assert await asyncio.wait_for(heard.get(), LIMIT_S) == b"after"


async def test_a_publisher_that_loses_a_message_says_so_to_subscribers_whose_connection_stayed(
    bus: Bus, settings: Settings
) -> None:
    pipe = RedisPipe(settings)
    publisher = Bus(pipe, settings)
    await publisher.start()
    noticed, heard = asyncio.Event(), asyncio.Queue[bytes]()
    bus.on_missed.append(noticed.set)
    await bus.subscribe("room", heard.put_nowait)
    publisher.publish("room", b"first")
    assert await asyncio.wait_for(heard.get(), LIMIT_S) == b"first"
    assert not noticed.is_set()
    publisher.publish("room", b"lost")
    pipe.drop()
    await asyncio.wait_for(noticed.wait(), LIMIT_S)
    publisher.publish("room", b"after")
    assert await asyncio.wait_for(heard.get(), LIMIT_S) == b"after"
    await publisher.stop()
    await pipe.stop()


async def test_a_defect_in_one_callback_costs_no_other_and_no_later_loss(bus: Bus, pipe: RedisPipe) -> None:
    back: asyncio.Queue[None] = asyncio.Queue()
    await bus.subscribe("room", lambda _: None)
    bus.on_missed += [lambda: 1 / 0, lambda: back.put_nowait(None)]  # type: ignore[list-item, return-value]
    for _ in range(2):
        await pipe.call("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.wait_for(back.get(), LIMIT_S)


async def test_a_large_message_arrives_whole_and_in_its_order_and_leaves_nothing_behind(
    bus: Bus, pipe: RedisPipe
) -> None:
    lost = asyncio.Event()
    bus.on_missed.append(lost.set)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe("gw:me", heard.put_nowait)
    large = os.urandom(40_000_000)
    sent = [b"before", large, b"after", large[::-1], b"last"]
    for message in sent:
        bus.publish("gw:me", message)
    async with asyncio.timeout(LIMIT_S):
        assert [await heard.get() for _ in sent] == sent
    await pipe.flush()
    assert not await pipe.call("KEYS", pipe.key("large", "*"))
    assert not lost.is_set()


async def test_a_large_message_for_many_is_there_for_all_and_expires(
    bus: Bus, pipe: RedisPipe, settings: Settings
) -> None:
    other = Bus(pipe, settings)
    await other.start()
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe("lifecycle:t", heard.put_nowait)
    await other.subscribe("lifecycle:t", heard.put_nowait)
    assert await bus.publish_counted("lifecycle:t", bytes(3_000_000)) == 2
    async with asyncio.timeout(LIMIT_S):
        assert await heard.get() == await heard.get() == bytes(3_000_000)
    assert await bus.publish_counted("lifecycle:nobody", bytes(3_000_000)) == 0
    (key,) = await pipe.call("KEYS", pipe.key("large", "*"))
    assert 0 < await pipe.call("TTL", key) <= large_messages.KEPT_S
    await other.stop()


async def test_a_large_message_that_redis_no_longer_has_costs_no_other(bus: Bus, pipe: RedisPipe) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.subscribe("room", heard.put_nowait)
    gone = large_messages.Reference(pipe.key("large", "gone"), 5_000_000, chunks=5)
    missed = asyncio.Event()
    bus.on_missed.append(missed.set)
    bus.publish("room", large_messages.encode(gone))
    bus.publish("room", b"next")
    assert await asyncio.wait_for(heard.get(), LIMIT_S) == b"next"
    await asyncio.wait_for(missed.wait(), LIMIT_S)
