"""Several processes on one log, some of them killed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from langlog_backbone.log import Record
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, Following, OpenLog, as_json, record, stopped_after, take

ROOT = Path(__file__).parents[2]


class Subprocess:
    """A process of `tests.log.process`, with its output line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    @classmethod
    async def start(cls, settings: Settings, *words: str) -> Subprocess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.log.process", json.dumps(as_json(settings)), *words),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def heard(self, word: str, count: int = 1) -> None:
        """Read until it has printed so many lines that begin with the word."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            while sum(line.startswith(word) for line in self.lines) < count:
                line = await self._process.stdout.readline()
                assert line, f"it ended after {self.lines[-3:]}"
                self.lines.append(line.decode().strip())

    async def ended(self) -> int:
        await self._rest()
        return await self._process.wait()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Send SIGKILL, and read the rest of its output."""
        self._process.kill()
        await self._rest()
        await self._process.wait()

    async def _rest(self) -> None:
        assert self._process.stdout is not None
        # a last line without its end was cut off by the kill: not said
        said = (await self._process.stdout.read()).decode()
        self.lines += said.split("\n")[:-1]

    def acknowledged(self) -> dict[str, tuple[int, int]]:
        """id -> (partition, offset)"""
        members = {}
        for line in self.lines:
            for name, partition, offset in re.findall(r"(\S+)@(\d+)/(\d+)", line):
                members[name] = (int(partition), int(offset))
        return members


def check_whole(results: list[Record]) -> None:
    """No gap, nothing twice, nothing torn, order per key."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for partition in {r.partition for r in results}:
        offsets = [r.offset for r in results if r.partition == partition]
        assert offsets == list(range(len(offsets)))
    for r in results:
        name, number, dots = r.value.decode().split(" ")
        assert r.headers["ce_id"] == f"{name}-{number}"
        assert set(dots) == {"."}
        assert len(r.value) == 2_000
        by_key[r.key].append(int(number))
    for numbers in by_key.values():
        assert numbers == sorted(set(numbers))


async def test_several_processes_append_at_once_and_a_reader_follows(settings: Settings, open_started: OpenLog) -> None:
    log = await open_started(settings)
    following = Following(log.reader(["commands"]))
    writers = [await Subprocess.start(settings, "append", f"writer{n}", "400", "2") for n in range(3)]
    for writer in writers:
        assert await writer.ended() == 0
    result = await following.until(1200)
    check_whole(result)
    places = {r.headers["ce_id"]: (r.partition, r.offset) for r in result}
    for writer in writers:
        assert len(writer.acknowledged()) == 400
        assert writer.acknowledged().items() <= places.items()
    await following.stop()


async def test_a_killed_appender_loses_nothing_acknowledged_and_leaves_nothing_torn(
    settings: Settings, open_started: OpenLog
) -> None:
    log = await open_started(settings)
    following = Following(log.reader(["commands"]))
    said: dict[str, tuple[int, int]] = {}
    for turn in range(4):
        victim = await Subprocess.start(settings, "append", f"victim{turn}", "0", "5")
        witness = await Subprocess.start(settings, "append", f"witness{turn}", "100", "1")
        await victim.heard("acknowledged", 20)
        await victim.kill()
        assert await witness.ended() == 0
        said |= victim.acknowledged() | witness.acknowledged()
    # whatever the victims did not live to announce is announced by the next append
    last = (await log.append([record("last", "last 0 ".ljust(2_000, "."), ce_id="last-0")]))[0]
    ends = await log.end_offsets("commands")
    result = await following.until(sum(ends))
    check_whole(result)
    places = {r.headers["ce_id"]: (r.partition, r.offset) for r in result}
    assert said.items() <= places.items()
    assert places["last-0"] == last
    if log.name == "sqlite":
        # an append is there whole or not at all
        for turn in range(4):
            assert sum(name.startswith(f"victim{turn}-") for name in places) % 5 == 0
    await following.stop()


async def test_records_are_there_after_every_process_was_killed(settings: Settings, open_started: OpenLog) -> None:
    # the log exists before, so that the killed ones are the last to have it open
    await (await open_started(settings)).stop()
    victims = [await Subprocess.start(settings, "append", f"victim{n}", "0", "3") for n in range(2)]
    for victim in victims:
        await victim.heard("acknowledged", 30)
    for victim in victims:
        await victim.kill()
    log = await open_started(settings)
    ends = await log.end_offsets("commands")
    async with stopped_after(log.reader(["commands"])) as reader:
        result = await take(reader, sum(ends))
    check_whole(result)
    places = {r.headers["ce_id"]: (r.partition, r.offset) for r in result}
    for victim in victims:
        assert victim.acknowledged().items() <= places.items()
    (position,) = await log.append([record("a", "x")])
    assert position.offset == ends[position.partition]


@pytest.mark.parametrize("log_kind", ["sqlite"])
async def test_the_write_lock_is_free_after_its_holder_was_killed(settings: Settings, open_started: OpenLog) -> None:
    log = await open_started(settings)
    for turn in range(5):
        victim = await Subprocess.start(settings, "append", f"victim{turn}", "0", "50")
        await victim.heard("acknowledged", 3 + turn)
        await victim.kill()
        await asyncio.wait_for(log.append([record("a", "x")]), LIMIT_S)
