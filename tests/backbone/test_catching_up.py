"""A starting gateway or worker looks at positions when a projector reports them, and now and then: in virtual time."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from langlog_backbone.read_model.catching_up import LOOKS_APART_S, RECHECK_S, STALLED_S, catch_up
from langlog_backbone.read_model.positions import ReadPositions
from langlog_schemas import events as ev

from tests.stack.sources import in_virtual_time

RECORDS = 10
LIMIT_S = 600.0


class Projector:
    """The log with its end, the read model with its positions, and the messages between projector and gateway."""

    def __init__(self) -> None:
        self.folded = 0
        self.looks: list[float] = []
        """Times at which positions were read."""
        self._positions = ReadPositions()

    def fold(self, records: int, *, reported: bool = True) -> None:
        self.folded += records
        if reported:
            self._positions.on_watermark(b'{"%s":{"0":%d}}' % (ev.RUN_EVENTS.encode(), self.folded))

    async def end_offsets(self, topic: str) -> list[int]:
        return [RECORDS if topic == ev.RUN_EVENTS else 0]

    async def fetch(self, _: str) -> list[Any]:
        self.looks.append(asyncio.get_running_loop().time())
        return [(ev.RUN_EVENTS, 0, self.folded)]

    async def caught_up(self, limit_s: float = math.inf) -> bool:
        async with asyncio.timeout(LIMIT_S):
            return await catch_up(self.fetch, self, self._positions, limit_s=limit_s)  # type: ignore[arg-type]


@in_virtual_time
async def test_positions_are_read_when_a_projector_has_moved_and_not_meanwhile() -> None:
    projector = Projector()
    starting = asyncio.create_task(projector.caught_up())
    for _ in range(2):
        await asyncio.sleep(0.4 * RECHECK_S)
        projector.fold(RECORDS // 2)
    assert await starting
    assert projector.looks == pytest.approx([0, 0.4 * RECHECK_S + LOOKS_APART_S, 0.8 * RECHECK_S + LOOKS_APART_S])


@in_virtual_time
async def test_a_projector_that_reports_each_batch_is_not_looked_at_for_each() -> None:
    projector = Projector()
    starting = asyncio.create_task(projector.caught_up())
    for _ in range(RECORDS):
        await asyncio.sleep(LOOKS_APART_S / RECORDS)
        projector.fold(1)
    assert await starting
    assert len(projector.looks) == 2


@in_virtual_time
async def test_a_limit_ends_the_wait_although_records_are_folded() -> None:
    projector = Projector()
    starting = asyncio.create_task(projector.caught_up(limit_s=1.5))
    await asyncio.sleep(1)
    projector.fold(1)
    assert not await starting
    assert asyncio.get_running_loop().time() == 1.5


@in_virtual_time
async def test_a_message_that_is_lost_or_that_redis_does_not_carry_delays_a_start_by_a_second_at_most() -> None:
    projector = Projector()
    starting = asyncio.create_task(projector.caught_up())
    await asyncio.sleep(0.1 * RECHECK_S)
    projector.fold(RECORDS, reported=False)
    assert await starting
    assert projector.looks == [0, RECHECK_S]


@in_virtual_time
async def test_a_read_model_that_is_no_longer_folded_is_waited_for_as_long_as_a_projector_takes_to_start() -> None:
    projector = Projector()
    starting = asyncio.create_task(projector.caught_up())
    await asyncio.sleep(0.5)
    projector.fold(RECORDS - 1)
    assert not await starting
    assert asyncio.get_running_loop().time() == pytest.approx(0.5 + LOOKS_APART_S + STALLED_S)
