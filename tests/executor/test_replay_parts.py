"""Steps of a replay: read from its sandbox as fast as they are sent on, however many there are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from langlog_executor.replay.process import _answer
from langlog_executor.replay.request import END, STEP, Replayed, StepDiff, encode, framed


class Input:
    """The standard input of a process that reads nothing of it."""

    def write(self, data: bytes) -> None:
        return None

    async def drain(self) -> None:
        return None

    def close(self) -> None:
        return None


async def test_a_step_is_read_once_the_one_before_it_is_sent() -> None:
    steps = [StepDiff("", number, "same") for number in range(50)]
    output = asyncio.StreamReader()
    output.feed_data(b"".join(framed(STEP, encode(step)) for step in steps) + framed(END, encode(Replayed())))
    begun: list[int] = []
    slow, going_on = asyncio.Event(), asyncio.Event()

    async def send(step: StepDiff) -> None:
        begun.append(step.step)
        slow.set()
        await going_on.wait()

    process: Any = SimpleNamespace(stdin=Input(), stdout=output)
    answer = asyncio.create_task(_answer(process, b"", send))
    await slow.wait()
    assert begun == [0] and not answer.done()
    going_on.set()
    assert await answer == Replayed()
    assert begun == list(range(50))
