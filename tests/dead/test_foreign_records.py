"""Records that another producer has put into langlog's topics: no service ends, and what follows is decided and folded."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from langlog_backbone.log import NewRecord
from langlog_backbone.operation import parked_keys
from langlog_backbone.operation.parked_keys import ParkedKey, ParkedKeys
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev

from tests.dead.stack import LIMIT_S, Stack
from tests.stack.fixtures import MakeSettings
from tests.stack.foreign_batches import ForeignRecord, produce, record_batch
from tests.stack.waiting import until

NO_TEXT: dict[str, tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = {
    "a key alone": (b"k", None, []),
    "a value alone": (None, b"{}", []),
    "a key that is no text": (b"\xff\xfe", b"{}", []),
    "a header without a value": (b"k", b"{}", [("trace", None), ("ce_type", None)]),
    "a header that is no text": (b"k", b"{}", [("trace", b"\xff\xfe"), ("ce_type", b"thread.create.v1")]),
    "a value that is no text": (
        b"k",
        b"\xff\0",
        [("ce_type", b"thread.create.v1"), ("ce_id", b"1"), ("ce_time", b"now")],
    ),
}
NUL = "a\0b"
RANDOM = random.Random(7)
UNKNOWN = "thread.recolor.v9"


def headers(type: str = UNKNOWN, **more: str) -> dict[str, str]:
    made = envelope.headers(
        id=new_id(), type=type, source="/foreign", time="2026-11-30T19:00:00.000000+00:00", subject=""
    )
    return made | more


def text(length: int) -> str:
    """A text that does not compress."""
    return RANDOM.randbytes(length).hex()[:length]


def about(key: str, **members: Any) -> bytes:
    """A body with all ids that bodies have, of which each kind takes its own."""
    ids = {
        "thread_id": key,
        "run_id": key,
        "assistant_id": key,
        "aggregate_id": key,
        "namespace": [key],
        "cron_id": key,
    }
    return msgspec.json.encode(ids | {"attempt": 1} | members)


def foreign(n: int) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """Name -> key, value and headers; another ``n`` gives other keys."""
    nul, plain = f"{NUL}{n}", f"plain{n}"
    return {
        "a key with a NUL": (nul, b"{}", headers()),
        "a key beyond what an index takes": (text(9_000), b"{}", headers()),
        "a key of a megabyte": (text(1_000_000), b"{}", headers()),
        "headers with a NUL": (
            plain,
            b"{}",
            headers(NUL, ce_id=NUL, ce_time=NUL, ce_subject=NUL, trace=NUL, ce_actor=NUL),
        ),
        "an error with a NUL": (plain, about(plain, mode=NUL), headers(cmd.ReleaseParked.TYPE)),
        "a thread whose id has a NUL": (nul, about(nul, metadata={}), headers(cmd.PatchThread.TYPE)),
        "a new thread whose id has a NUL": (f"{nul}new", about(f"{nul}new"), headers(cmd.CreateThread.TYPE)),
        "the end of a thread whose id has a NUL": (nul, about(nul), headers(ev.ThreadDeleted.TYPE)),
        "a cron whose id has a NUL": (nul, about(nul), headers(cmd.DeleteCron.TYPE)),
        "a repeated command whose id has a NUL": (
            f"{plain}again",
            about(f"{plain}again"),
            headers(cmd.CreateThread.TYPE, ce_id=NUL, ce_retry="1"),
        ),
        "a time before all others": (f"{plain}early", b"{}", headers(ce_time="0001-01-01T00:00:00+14:00")),
        "a cause beyond all numbers": (f"{plain}cause", b"{}", headers(ce_cause=f"0-{10**20}-0-1")),
        "an origin that is no number": (f"{plain}dead", b"{}", headers(dead_origin="commands-²-1")),
        "an origin beyond all numbers": (f"{plain}dead", b"{}", headers(dead_origin=f"commands-{10**12}-1")),
        "an origin on and on": (f"{plain}dead", b"{}", headers(dead_origin=f"commands-{'9' * 5_000}-1")),
        "a release of a key with a NUL": (nul, about(nul), headers(ev.ParkedEventsReleased.TYPE)),
        "a release of no record": (
            plain,
            about(plain, drop=f"run-events-{10**12}-1"),
            headers(ev.ParkedEventsReleased.TYPE),
        ),
    }


async def everybody_goes_on(stack: Stack) -> None:
    first = new_id()
    for thread in (first, stack.neighbour(first), *(new_id() for _ in range(6))):
        assert (await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))).status == 200


@pytest.mark.kafka
@pytest.mark.parametrize("log_kind", ["kafka"], indirect=True)
@pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS, ev.STORE_EVENTS])
async def test_a_foreign_record_stops_nobody(topic: str, stack: Stack, settings: Settings) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await producer.start()
    try:
        for key, value, given in NO_TEXT.values():
            for partition in range(settings.partitions):
                await producer.send_and_wait(settings.topic_prefix + topic, value, key, partition, headers=given)
    finally:
        await producer.stop()
    await everybody_goes_on(stack)


@pytest.mark.kafka
@pytest.mark.parametrize("log_kind", ["kafka"], indirect=True)
@pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS, ev.STORE_EVENTS])
async def test_a_record_whose_header_has_a_name_that_is_no_text_stops_nobody(
    topic: str, stack: Stack, settings: Settings
) -> None:
    """Clients of Kafka in C and Go send such names, and aiokafka does not decode them."""
    bootstrap = settings.log_uri.removeprefix("kafka://")
    for part in range(settings.partitions):
        given = [(b"caf\xe9", b"1"), *((name.encode(), value.encode()) for name, value in headers().items())]
        batch = record_batch([ForeignRecord(headers=[(b"\xff\xfe", None)]), ForeignRecord(b"parked", b"{}", given)])
        await produce(bootstrap, settings.topic_prefix + topic, part, batch)
    await everybody_goes_on(stack)
    bad = [row for row in await stack.parked("parked", settings.partitions) if row[2] == "bad"]
    assert {(where, type) for where, type, _ in bad} == {(topic, UNKNOWN)}
    await stack.restart()
    await everybody_goes_on(stack)


@pytest.mark.parametrize("kind", list(foreign(0)))
@pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS, ev.DEAD_LETTERS])
async def test_what_postgres_has_no_text_for_stops_nobody(topic: str, kind: str, stack: Stack) -> None:
    records = [NewRecord(topic, *foreign(n)[kind]) for n in range(6)]
    await stack.backbone.log.append(records)
    await everybody_goes_on(stack)


@pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS])
async def test_a_key_that_postgres_has_no_text_for_is_parked_and_can_be_released(topic: str, stack: Stack) -> None:
    await stack.backbone.log.append([NewRecord(topic, key, b"{}", headers()) for key in (NUL, text(9_000))])
    keys = ParkedKeys(stack.backbone.pool, stack.backbone.log, stack.backbone.bus)

    async def two() -> list[ParkedKey] | None:
        listed = await parked_keys.keys(stack.backbone.pool)
        return listed if len(listed) == 2 else None

    for parked in await until(stack.backbone, two, LIMIT_S):
        assert parked.key.isprintable() and len(parked.key) < 300 and parked.error
        assert await keys.release(parked.key, parked.first) == 1
    assert await parked_keys.keys(stack.backbone.pool) == []
    await stack.restart()
    await everybody_goes_on(stack)
    assert await parked_keys.keys(stack.backbone.pool) == []


async def test_a_command_under_the_key_of_another_changes_nothing(stack: Stack) -> None:
    """Its decider does not own what it is about, and causes of its partition would count in another."""
    thread, key = new_id(), new_id()
    while stack.backbone.log.partition_of(key) == stack.backbone.log.partition_of(thread):
        key = new_id()
    for _ in range(50):  # the offset of the next one is beyond all in the thread's partition
        await stack.send(cmd.CreateThread(thread_id=stack.neighbour(key), fresh=True))
    await stack.append(cmd.TOPIC, key, cmd.CreateThread.TYPE, cmd.encode(cmd.CreateThread(thread_id=thread)))
    await stack.parked(key, 1)
    assert (await stack.send(cmd.CreateThread(thread_id=thread, fresh=True, metadata={"whose": "own"}))).status == 200
    assert await stack.metadata(thread) == {"whose": "own"}


async def test_an_event_with_the_cause_of_another_partition_hides_no_later_one(stack: Stack) -> None:
    thread, foreign_key = new_id(), new_id()
    await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))
    part = stack.backbone.log.partition_of(thread)
    foreign_key = stack.neighbour(thread)
    event = ev.ThreadCreated(thread_id=foreign_key)
    cause = envelope.Cause(1 - part, 10**6, 0, 1).header()
    given = headers(ev.ThreadCreated.TYPE, ce_cause=cause)
    await stack.backbone.log.append([NewRecord(ev.RUN_EVENTS, foreign_key, ev.encode(event), given)])
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))).status == 200
    assert await stack.metadata(thread) == {"n": 1}


@pytest.mark.kafka
@pytest.mark.parametrize("log_kind", ["kafka"], indirect=True)
async def test_a_command_in_another_partition_than_its_keys_is_decided_once_it_is_released(
    stack: Stack, settings: Settings
) -> None:
    thread = new_id()
    part = stack.backbone.log.partition_of(thread)
    given = [(name, value.encode()) for name, value in headers(cmd.CreateThread.TYPE).items()]
    body = cmd.encode(cmd.CreateThread(thread_id=thread))
    async with AIOKafkaProducer(bootstrap_servers=settings.log_uri.removeprefix("kafka://")) as producer:
        await producer.send_and_wait(settings.topic_prefix + cmd.TOPIC, body, thread.encode(), 1 - part, headers=given)
    await stack.parked(thread, 1)
    keys = ParkedKeys(stack.backbone.pool, stack.backbone.log, stack.backbone.bus)
    assert await keys.release(thread, None) == 1
    assert await stack.metadata(thread) == {}


class TestTooLarge:
    @pytest.fixture
    def settings(self, make_settings: MakeSettings) -> Settings:
        return make_settings(partitions=2, max_record_bytes=100_000)

    @pytest.mark.kafka
    @pytest.mark.parametrize("log_kind", ["kafka"], indirect=True)
    @pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS])
    @pytest.mark.parametrize(("value", "header"), [(150_000, 10), (99_900, 148_540)])
    async def test_what_is_too_large_for_a_dead_letter_stops_nobody(
        self, topic: str, value: int, header: int, stack: Stack, settings: Settings
    ) -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.log_uri.removeprefix("kafka://")) as producer:
            for part in range(2):
                given = [("ce_type", UNKNOWN.encode()), ("trace", text(header).encode())]
                await producer.send_and_wait(
                    settings.topic_prefix + topic, text(value).encode(), b"k", part, headers=given
                )
        await everybody_goes_on(stack)
        assert len(await stack.waiting("k")) == 2
