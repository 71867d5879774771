"""Batches on Kafka are compressed by the setting, and readable with any compression of the writer."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import pytest
from langlog_backbone.log import LogFault
from langlog_backbone.log.kafka.client import COMPRESSIONS, compression_type
from langlog_backbone.process.settings import Settings

from tests.log.conftest import OpenLog, record, stopped_after, take
from tests.stack.kafka_broker import KafkaBroker

WORDS = b'{"thread_id":"01a226ea-87b6-73fb-9853-8603829d93d5","status":"idle","values":{"text":"hi"}}' * 20


@pytest.mark.kafka
async def test_what_is_compressed_is_read_with_every_setting(
    own_kafka: KafkaBroker, tmp_path: Path, open_started: OpenLog
) -> None:
    await own_kafka.start()
    written: dict[str, int] = {}
    plain = Settings(log_uri=f"kafka://{own_kafka.bootstrap}", topic_prefix=f"t{uuid.uuid4().hex[:12]}.", partitions=1)

    def stored() -> int:
        return sum(file.stat().st_size for file in tmp_path.rglob(f"{plain.topic_prefix}*-0/*.log"))

    for kind in COMPRESSIONS:
        log = await open_started(msgspec.structs.replace(plain, kafka_compression=kind))
        before = stored()
        await log.append([record("a", WORDS, by=kind), record("b", WORDS, by=kind)])
        written[kind] = stored() - before
    async with stopped_after((await open_started(plain)).reader(["commands"])) as reader:
        records = await take(reader, 2 * len(COMPRESSIONS))
    assert [(r.key, r.headers["by"], r.value) for r in records] == [
        (key, kind, WORDS) for kind in COMPRESSIONS for key in "ab"
    ]
    assert written["none"] > 2 * len(WORDS)
    assert all(written[kind] < written["none"] / 4 for kind in COMPRESSIONS[1:]), written


@pytest.mark.kafka
async def test_a_log_does_not_start_with_a_compression_that_is_not_known(kafka: str, open_started: OpenLog) -> None:
    with pytest.raises(LogFault, match=r"LANGLOG_KAFKA_COMPRESSION must be one of none, gzip, lz4, zstd, not 'brotli'"):
        await open_started(Settings(log_uri=f"kafka://{kafka}", kafka_compression="brotli"))


def test_none_is_the_default() -> None:
    assert compression_type(Settings()) is None
    assert compression_type(Settings(kafka_compression="ZSTD")) == "zstd"
