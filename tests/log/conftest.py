"""Logs for the conformance suite: every test that asks for `make_log_settings` runs on both adapters, and what holds of every log also on
the one in memory that simulated worlds use (`tests/simulation`)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from langlog_backbone.log import Log, LogReader, NewRecord, Record, TopicPartition, open_log
from langlog_backbone.process.settings import Settings

from tests.simulation.stand_ins.memory_log import MemoryLog

LIMIT_S = 90.0
"""For whatever must happen at all."""

OpenLog = Callable[[Settings], Awaitable[Log]]


EVERY_LOG = ("test_append", "test_cut", "test_fetch", "test_groups", "test_readers")


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka), "memory"])
def log_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The log in memory has no file, no broker, and nothing in common with another process."""
    without = [
        item for item in items if isinstance(item, pytest.Function) and _in_memory(item) and not _of_every_log(item)
    ]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


def _in_memory(item: pytest.Function) -> bool:
    return (
        item.path.parent == Path(__file__).parent
        and getattr(item, "callspec", None) is not None
        and (item.callspec.params.get("log_kind") == "memory")
    )


def _of_every_log(item: pytest.Function) -> bool:
    return item.path.stem in EVERY_LOG and "Subprocess" not in inspect.getsource(item.function)


@pytest.fixture
def make_log_settings(make_log_settings: Callable[..., Settings], log_kind: str) -> Callable[..., Settings]:
    if log_kind != "memory":
        return make_log_settings
    return lambda **changes: make_log_settings(**{"log_uri": "memory://", **changes})


@pytest.fixture
async def open_started() -> AsyncIterator[OpenLog]:
    """Starts logs and stops them at the end of the test."""
    opened: list[Log] = []

    async def open_one(settings: Settings) -> Log:
        log = MemoryLog(settings) if settings.log_uri == "memory://" else open_log(settings)
        await log.start()
        opened.append(log)
        return log

    yield open_one
    for log in reversed(opened):
        await log.stop()


@pytest.fixture
def settings(make_log_settings: Callable[..., Settings]) -> Settings:
    return make_log_settings()


@pytest.fixture
async def log(settings: Settings, open_started: OpenLog) -> Log:
    return await open_started(settings)


def record(key: str, value: bytes | str, topic: str = "commands", **headers: str) -> NewRecord:
    data = value.encode() if isinstance(value, str) else value
    return NewRecord(topic, key, data, {"ce_id": f"id of {key}", **headers})


async def take(reader: LogReader, count: int, max_records: int = 1000) -> list[Record]:
    """Read until there are ``count``. More is an error."""
    collected: list[Record] = []
    async with asyncio.timeout(LIMIT_S):
        while len(collected) < count:
            collected += await reader.read(max_records)
    assert len(collected) == count
    return collected


@contextlib.asynccontextmanager
async def stopped_after(reader: LogReader) -> AsyncIterator[LogReader]:
    try:
        yield reader
    finally:
        await reader.stop()


class RecordedAssignment:
    """An Assignment that remembers its calls. ``positions`` is what it wants of each."""

    def __init__(self, positions: Mapping[TopicPartition, int] | None = None) -> None:
        self.owned: set[TopicPartition] = set()
        self.history: list[tuple[str, set[TopicPartition]]] = []
        self.changed = asyncio.Condition()
        self._positions = positions or {}

    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.owned |= set(partitions)
        await self._record("assigned", partitions)
        return {partition: self._positions[partition] for partition in partitions if partition in self._positions}

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.owned -= set(partitions)
        await self._record("revoked", partitions)

    async def _record(self, what: str, partitions: Collection[TopicPartition]) -> None:
        self.history.append((what, set(partitions)))
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S), self.changed:
            await self.changed.wait_for(condition)


class Following:
    """A reader that is read all the time; what it read is kept. ``news``: notified of each read, for those who wait for several readers."""

    def __init__(self, reader: LogReader, news: asyncio.Condition | None = None) -> None:
        self.records: list[Record] = []
        self._reader = reader
        self._news = news or asyncio.Condition()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            events = await self._reader.read()
            self.records += events
            async with self._news:
                self._news.notify_all()

    async def until(self, count: int) -> list[Record]:
        async with asyncio.timeout(LIMIT_S), self._news:
            await self._news.wait_for(lambda: len(self.records) >= count or self._task.done())
        if self._task.done():
            await self._task
        return self.records

    async def stop(self) -> None:
        await self.leave()
        await self._reader.stop()

    async def leave(self) -> None:
        """Stop reading, without stopping the reader."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def as_json(settings: Settings) -> dict[str, Any]:
    """For the command line of a test's subprocess."""
    return {
        "log_uri": settings.log_uri,
        "topic_prefix": settings.topic_prefix,
        "partitions": settings.partitions,
        "group_session_s": settings.group_session_s,
        "append_deadline_s": settings.append_deadline_s,
    }
