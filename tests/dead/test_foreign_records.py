"""Records that another producer has put into langlog's topics on Kafka: no service ends, and what follows is decided and folded."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.dead.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("log_kind", ["kafka"], indirect=True)]

FOREIGN: dict[str, tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = {
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


@pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS, ev.STORE_EVENTS])
async def test_a_foreign_record_stops_nobody(topic: str, stack: Stack, settings: Settings) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await producer.start()
    try:
        for key, value, headers in FOREIGN.values():
            for partition in range(settings.partitions):
                await producer.send_and_wait(settings.topic_prefix + topic, value, key, partition, headers=headers)
    finally:
        await producer.stop()
    first = new_id()
    for thread in (first, stack.neighbour(first), *(new_id() for _ in range(6))):
        assert (await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))).status == 200
