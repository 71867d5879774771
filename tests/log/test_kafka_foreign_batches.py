"""Batches of other producers on Kafka: names of headers that are no text, every codec, more than a fetch takes. No reader stops at them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from langlog_backbone.log import Log, Record
from langlog_backbone.log.kafka import foreign_batches
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, OpenLog, RecordedAssignment, record, stopped_after, take
from tests.stack.fixtures import MakeSettings
from tests.stack.foreign_batches import CODECS, ForeignRecord, produce, record_batch

pytestmark = pytest.mark.kafka
TOPIC = "commands"
NAME, READ = b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"
"""Latin-1, as a client in C sends it, and as readers get it."""
GOOD = ForeignRecord(b"k", b"good", [(b"ce_id", b"1")])
BAD = ForeignRecord(b"k", b"bad", [(b"ce_id", b"2"), (NAME, b"\xe9"), (b"empty", None)])
BARE = ForeignRecord(None, None, [(NAME, None)])
HEADERS = {
    "good": {"ce_id": "1"},
    "bad": {"ce_id": "2", READ: "\N{REPLACEMENT CHARACTER}", "empty": ""},
    "": {READ: ""},
}
HOW = ("reader", "member", "fetch")


@pytest.fixture(params=["kafka"])
def log_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bootstrap(settings: Settings) -> str:
    return settings.log_uri.removeprefix("kafka://")


async def read(log: Log, how: str, count: int) -> list[Record]:
    """Read that many records of partition 0 by one of the ways in which services do."""
    if how == "fetch":
        return await log.fetch(TOPIC, 0, range(count))
    reader = log.reader([TOPIC]) if how == "reader" else log.member("g", [TOPIC], RecordedAssignment())
    async with stopped_after(reader):
        return await take(reader, count, max_records=2)


@pytest.mark.parametrize("compressed", CODECS)
async def test_a_header_whose_name_is_no_text_stops_no_reader(
    log: Log, settings: Settings, bootstrap: str, compressed: str
) -> None:
    for records in ([GOOD, BAD, GOOD], [BAD], [GOOD, GOOD], [BARE, BAD]):
        await produce(bootstrap, settings.topic_prefix + TOPIC, 0, record_batch(records, compressed))
    for how in HOW:
        async with asyncio.timeout(LIMIT_S):
            got = await read(log, how, 8)
        assert [one.offset for one in got] == list(range(8)), how
        values = [one.value.decode() for one in got]
        assert values == ["good", "bad", "good", "bad", "good", "good", "", "bad"], how
        assert [one.headers for one in got] == [HEADERS[value] for value in values], how
        assert [one.key for one in got] == ["k"] * 6 + ["", "k"], how


async def test_a_batch_is_decoded_once_however_many_names_are_no_text_and_however_few_are_read_at_a_time(
    log: Log, settings: Settings, bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = foreign_batches._record

    def noting(batch: Any, data: bytes, at: int) -> Any:
        decoded.append(at)
        return decode(batch, data, at)

    monkeypatch.setattr(foreign_batches, "_record", noting)
    await produce(bootstrap, settings.topic_prefix + TOPIC, 0, record_batch([BAD] * 2000, "gzip"))
    assert len(await read(log, "reader", 2000)) == 2000
    assert len(decoded) == 2000


async def test_another_consumer_of_the_process_is_as_aiokafka_made_it(
    log: Log, settings: Settings, bootstrap: str
) -> None:
    """Graphs may have consumers of their own. Once aiokafka reads such names itself, `foreign_batches` has no purpose."""
    partition = KafkaPartition(settings.topic_prefix + TOPIC, 0)
    await produce(bootstrap, partition.topic, 0, record_batch([BAD]))
    assert [one.value for one in await read(log, "reader", 1)] == [b"bad"]
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as other:
        other.assign([partition])
        other.seek(partition, 0)
        with pytest.raises(UnicodeDecodeError):
            async with asyncio.timeout(LIMIT_S):
                await other.getone()


@pytest.mark.parametrize("compressed", CODECS)
def test_batches_are_read_as_aiokafka_reads_them(compressed: str) -> None:
    records = [
        GOOD,
        ForeignRecord(None, None),
        ForeignRecord(b"", b"", [(b"", b"")]),
        ForeignRecord(b"x" * 200, b"y" * 9000),
    ]
    data = record_batch(records, compressed)
    expected = list(MemoryRecords(data).next_batch())
    got = list(foreign_batches.records_of(MemoryRecords(data).next_batch(), memoryview(data)))
    names = ("offset", "timestamp", "timestamp_type", "key", "value", "headers", "checksum")
    assert [[getattr(one, name) for name in names] for one in got] == [
        [getattr(one, name) for name in names] for one in expected
    ]


def test_aiokafka_without_its_extension_in_c_raises_another_error_which_is_understood_too() -> None:
    data = record_batch([GOOD, BAD])
    with pytest.raises(CorruptRecordException):
        list(_DefaultRecordBatchPy(data))
    batch = foreign_batches.Batch(_DefaultRecordBatchPy(data), memoryview(data))
    assert [one.offset for one in batch] == [0, 0, 1], "aiokafka drops those that it has had"


async def test_the_broker_takes_no_codec_that_it_does_not_know(log: Log, settings: Settings, bootstrap: str) -> None:
    with pytest.raises(AssertionError, match="Kafka's error"):
        await produce(bootstrap, settings.topic_prefix + TOPIC, 0, record_batch([GOOD], "unknown"))


async def test_records_beyond_what_a_fetch_takes_stop_nobody(
    make_log_settings: MakeSettings, open_started: OpenLog
) -> None:
    """An operator may have raised ``max.message.bytes`` for others."""
    settings = make_log_settings(max_record_bytes=100_000, partitions=2)
    log, bootstrap, topic = (
        await open_started(settings),
        settings.log_uri.removeprefix("kafka://"),
        settings.topic_prefix + TOPIC,
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "6000000", "retention.ms": "-1"})]
        )
    finally:
        await admin.close()
    huge = record_batch([ForeignRecord(b"k", b"x" * 4_000_000, [(NAME, b"1")])])
    for part in (0, 1):
        async with asyncio.timeout(LIMIT_S):
            while True:  # nothing signals that the broker has applied the setting
                with contextlib.suppress(AssertionError):
                    await produce(bootstrap, topic, part, huge)
                    break
    await log.append([record(f"key {n}", f"{n}", TOPIC) for n in range(20)])
    for how in ("reader", "member"):
        got = await read(log, how, 22)
        assert sorted(len(one.value) for one in got)[-2:] == [4_000_000] * 2, how
