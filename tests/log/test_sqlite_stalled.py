"""An embedded log that cannot be written for long: a process that holds its lock is stopped, or its disk does not answer. Appends get an
error after their deadline, and what was given up is not written later."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langlog_backbone.log import AppendUnknown, LogUnavailable, Position
from langlog_backbone.log.sqlite.writer import Writer
from langlog_backbone.process.settings import Settings
from msgspec import structs

from tests.log.conftest import LIMIT_S, OpenLog, record, stopped_after, take
from tests.log.test_processes import Subprocess
from tests.stack.standing_still import until_stopped

DEADLINE_S = 0.2


@pytest.fixture
def log_kind() -> str:
    return "sqlite"


async def test_an_append_behind_a_stopped_process_fails_names_it_and_is_never_made(
    make_log_settings: Callable[..., Settings], open_started: OpenLog
) -> None:
    settings = make_log_settings()
    patient = await open_started(settings)
    log = await open_started(structs.replace(settings, append_deadline_s=DEADLINE_S))
    await patient.append([record("key", "before")])
    holder = await Subprocess.start(settings, "hold", settings.log_uri.removeprefix("sqlite://"))
    try:
        await holder.heard("held")
        holder.signal(signal.SIGSTOP)
        await asyncio.to_thread(until_stopped, holder.pid)
        async with asyncio.timeout(LIMIT_S):
            given_up = await asyncio.gather(
                *(log.append([record("key", f"given up {n}")]) for n in range(3)), return_exceptions=True
            )
        assert [type(error) for error in given_up] == [LogUnavailable] * 3
        assert f"process {holder.pid} (stopped) holds" in str(given_up[0])
        with pytest.raises(LogUnavailable):
            await log.check()
    finally:
        await holder.kill()
    await log.stop()  # it has reached what it gave up
    await patient.append([record("key", "after")])
    async with stopped_after(patient.reader(["commands"])) as reader:
        assert [r.value for r in await take(reader, 2)] == [b"before", b"after"]


async def test_an_append_whose_disk_does_not_answer_may_be_made_later(
    make_log_settings: Callable[..., Settings], open_started: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_started(make_log_settings(append_deadline_s=DEADLINE_S))
    answers, write = threading.Event(), Writer._write

    def written_later(writer: Writer, group: Any) -> Any:
        answers.wait()
        return write(writer, group)

    monkeypatch.setattr(Writer, "_write", written_later)
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await unknown(log.append([record("key", "slow")])):
                pass  # the thread had not come to it
    finally:
        answers.set()
    async with stopped_after(log.reader(["commands"])) as reader:
        assert [r.value for r in await take(reader, 1)] == [b"slow"]


async def unknown(append: Awaitable[list[Position]]) -> bool:
    try:
        await append
    except AppendUnknown as error:
        return "did not answer" in str(error)
    except LogUnavailable:
        return False
    raise AssertionError("the append was made")
