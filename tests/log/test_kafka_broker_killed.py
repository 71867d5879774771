"""The broker dies under load: nothing acknowledged is lost, nothing is doubled, and writers learn where they stand."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from langlog_backbone.log import AppendUnknown, LogUnavailable, open_log
from langlog_backbone.log.port import Log
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, Following, RecordedAssignment, record
from tests.stack.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

WRITERS = 16
DEADLINE_S = 6.0
"""Deadline of an append in seconds: enough for a busy broker."""


class Writers:
    """Each appends one record after the other; a record that got no answer is counted apart, and not tried again."""

    def __init__(self, log: Log) -> None:
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.refused: list[str] = []
        self._log = log
        self._news = asyncio.Condition()
        self._stopping = False
        self._tasks = [asyncio.create_task(self._write(n)) for n in range(WRITERS)]

    async def _write(self, writer: int) -> None:
        number = 0
        while not self._stopping:
            name = f"{writer}-{number}"
            number += 1
            try:
                await self._log.append([record(f"key {writer}", name)])
                self.acknowledged.append(name)
            except AppendUnknown:
                self.unknown.append(name)
            except LogUnavailable:
                self.refused.append(name)
                await asyncio.sleep(0.05)
            async with self._news:
                self._news.notify_all()

    async def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(LIMIT_S), self._news:
            await self._news.wait_for(lambda: len(self.acknowledged) >= goal)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)


async def test_a_killed_broker_loses_nothing_acknowledged_and_doubles_nothing(own_kafka: KafkaBroker) -> None:
    await own_kafka.start()
    log = open_log(Settings(log_uri=f"kafka://{own_kafka.bootstrap}", partitions=8))
    await log.start()
    assignment = RecordedAssignment()
    alone, member = Following(log.reader(["commands"])), Following(log.member("deciders", ["commands"], assignment))
    writers = Writers(log)
    await writers.more(2_000)
    for _ in range(2):
        await own_kafka.kill()
        await own_kafka.start()
        await writers.more(2_000)
    await writers.stop()
    ends = await log.end_offsets("commands")
    result = await alone.until(sum(ends))
    counts = Counter(r.value.decode() for r in result)
    assert [name for name in writers.acknowledged if counts[name] != 1] == []
    assert not set(counts) & set(writers.refused)
    for partition in range(log.partitions):
        offsets = [r.offset for r in result if r.partition == partition]
        assert offsets == list(range(ends[partition]))
    for writer in range(WRITERS):
        numbers = [int(r.value.split(b"-")[1]) for r in result if r.key == f"key {writer}"]
        assert numbers == sorted(numbers)
    while {r.value for r in member.records} != {r.value for r in result}:
        await member.until(len(member.records) + 1)
    for following in (alone, member):
        await following.stop()
    await log.stop()


async def appended(log: Log, value: str) -> bool:
    with contextlib.suppress(LogUnavailable):
        await log.append([record("a", value)])
        return True
    return False


def refused_at_once(log: Log) -> bool:
    """Return whether an append is refused before it waits for anything."""
    append = log.append([record("a", "never")])
    try:
        append.send(None)
    except LogUnavailable as error:
        return not isinstance(error, AppendUnknown)
    append.close()  # it waits
    return False


async def test_while_no_broker_answers_appends_fail_at_once_and_afterwards_work_again(own_kafka: KafkaBroker) -> None:
    await own_kafka.start()
    log = open_log(Settings(log_uri=f"kafka://{own_kafka.bootstrap}", partitions=8, append_deadline_s=DEADLINE_S))
    await log.start()
    assert await appended(log, "before")
    following = Following(log.reader(["commands"]))
    await following.until(1)
    await own_kafka.kill()
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(AppendUnknown):
            await log.append([record("a", "during")])
        while not refused_at_once(log):
            assert not await appended(log, "never"), "there is no broker"
    for _ in range(10):
        await asyncio.sleep(0)
        assert refused_at_once(log)
    await own_kafka.start()
    async with asyncio.timeout(LIMIT_S):
        while not await appended(log, "after"):
            await asyncio.sleep(0.1)  # nothing signals that the broker is back
    while not any(r.value == b"after" for r in following.records):
        await following.until(len(following.records) + 1)
    assert not any(r.value == b"never" for r in following.records)
    await following.stop()
    await log.stop()
