"""An embedded log whose file cannot be read or written for a moment: nobody who uses it ends, and nothing waits for what never comes."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest
from langlog_backbone.log.sqlite import reader as sqlite_reader
from langlog_backbone.log.sqlite.file import SQL
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, OpenLog, record, stopped_after


@pytest.fixture
def log_kind() -> str:
    return "sqlite"


@pytest.mark.parametrize("sent_back", [False, True])
async def test_a_reader_looks_for_its_position_until_the_file_can_be_read(
    settings: Settings, open_started: OpenLog, monkeypatch: pytest.MonkeyPatch, *, sent_back: bool
) -> None:
    log = await open_started(settings)
    (position,) = await log.append([record("key", "text")])
    find_start, failures = sqlite_reader.find_start, [sqlite3.OperationalError("disk I/O error")]

    def find_later(*arguments: Any) -> int:
        if failures:
            raise failures.pop()
        return find_start(*arguments)

    async with stopped_after(log.reader(["commands"])) as reader, asyncio.timeout(LIMIT_S):
        if sent_back:
            assert len(await reader.read()) == 1
        monkeypatch.setattr(sqlite_reader, "find_start", find_later)
        if sent_back:
            reader.seek({("commands", position.partition): position.offset})
        assert [r.offset for r in await reader.read()] == [position.offset]
    assert not failures


async def test_positions_that_could_not_be_written_are_written_later(
    settings: Settings, open_started: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crons wait until the decider's position has passed a mark; on an idle server no later position comes."""
    log, partition = await open_started(settings), ("commands", 0)
    with monkeypatch.context() as full:
        full.setitem(SQL, "save_position", "a disk that is full")
        assert await log.commit("deciders", {partition: 5})
        assert await log.committed("deciders", [partition]) == {}
    async with asyncio.timeout(LIMIT_S):
        assert await log.committed("deciders", [partition]) == {partition: 5}
