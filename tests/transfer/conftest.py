"""Logs to be copied: an embedded one with what a log may hold, and Kafka topics of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langlog_backbone.log import Log, NewRecord, Record, started_log
from langlog_backbone.log.kafka.kafka_log import TOPICS
from langlog_backbone.process.settings import Settings
from langlog_backbone.transfer.reading import between, ends_of, starts_of

from tests.stack.fixtures import _delete_topics, isolated

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

MakeSettings = Callable[..., Settings]


def nobody_looks(what: str, done: int, total: int) -> None:
    """Implements `copying.Progress`."""


async def at_rest() -> bool:
    """Implements `copying.Settled`."""
    return True


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    """Return settings of an embedded log that does not exist yet."""
    return isolated(None, tmp_path, {})


@pytest.fixture
def topics(kafka: str, embedded: Settings) -> Iterator[Settings]:
    """Return settings of topics that do not exist yet, with the prefix of the embedded log."""
    import msgspec

    settings = msgspec.structs.replace(embedded, log_uri=f"kafka://{kafka}")
    yield settings
    asyncio.run(_delete_topics(settings))


def records(count: int, *, first: int = 0, size: int = 40) -> list[NewRecord]:
    """Return records of several topics and keys, a minute apart, including sealed and dead ones."""
    made = []
    for n in range(first, first + count):
        time = (BEGAN + timedelta(minutes=n)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        # the subject is the key, and not the last header
        headers: dict[str, Any] = {
            "ce_subject": f"schlüssel-{n % 13}",
            "ce_id": f"id-{n}",
            "ce_type": "langlog.thread.created.v1",
            "ce_time": time,
        }
        if n % 7 == 0:
            headers["ll_sealed"] = f"1:{n:032x}"
        if n % 11 == 0:
            headers["dead_time"] = time
        value = f"{n}: ä\0".encode() + bytes(size)
        made.append(NewRecord(TOPICS[n % 3], f"schlüssel-{n % 13}", b"" if n % 17 == 0 else value, headers))
    return made


async def fill(log: Log, count: int, *, first: int = 0, size: int = 40) -> None:
    """Append records one after the other, so that the order of times is that of the log."""
    for n in range(first, first + count, 100):
        await log.append(records(min(100, first + count - n), first=n, size=size))


async def everything(settings: Settings) -> dict[tuple[str, int], list[Record]]:
    """Each partition's records."""
    async with started_log(settings) as log:
        starts, ends = await starts_of(log), await ends_of(log)
        by_partition: dict[tuple[str, int], list[Record]] = {partition: [] for partition in ends}
        async for batch in between(log, starts, ends):
            for record in batch:
                by_partition[record.topic, record.partition].append(record)
        for partition, of in by_partition.items():
            assert [r.offset for r in of] == list(range(starts[partition], ends[partition])), partition
        return by_partition
