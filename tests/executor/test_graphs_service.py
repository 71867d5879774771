"""How long a start waits for the project's graphs: as long as deciders or projectors make progress."""

from __future__ import annotations

import asyncio

import pytest
from langlog_backbone.log import Positions
from langlog_executor.worker.graphs_service import until_there
from langlog_schemas import commands

from tests.stack.sources import in_virtual_time

LIMIT_S = 120.0
WORK_S = 1_800.0
"""Seconds that deciders or projectors have to do first."""
COMMAND = (commands.TOPIC, 0)


@in_virtual_time
async def test_a_start_outlasts_commands_that_were_decided_before() -> None:
    clock, folded = asyncio.get_running_loop().time, asyncio.Event()
    began = clock()

    async def there() -> bool:
        return clock() - began >= WORK_S

    async def decided() -> Positions:
        return {COMMAND: int(clock() - began) // 30}

    await until_there(there, folded, decided, LIMIT_S)
    assert clock() - began >= WORK_S


@in_virtual_time
async def test_a_start_outlasts_a_projector_that_folds() -> None:
    clock, folded = asyncio.get_running_loop().time, asyncio.Event()
    began = clock()

    async def there() -> bool:
        return clock() - began >= WORK_S

    async def decided() -> Positions:
        return {}

    async def fold() -> None:
        while True:
            await asyncio.sleep(LIMIT_S - 1)
            folded.set()

    folding = asyncio.create_task(fold())
    await until_there(there, folded, decided, LIMIT_S)
    assert clock() - began >= WORK_S
    folding.cancel()


@in_virtual_time
async def test_a_start_ends_where_neither_decides_nor_folds() -> None:
    clock, folded = asyncio.get_running_loop().time, asyncio.Event()
    began = clock()

    async def there() -> bool:
        return False

    async def decided() -> Positions:
        return {COMMAND: 7}

    with pytest.raises(TimeoutError):
        await until_there(there, folded, decided, LIMIT_S)
    assert LIMIT_S <= clock() - began < LIMIT_S + 2


@in_virtual_time
async def test_the_time_of_an_unavailable_server_does_not_count() -> None:
    clock, folded = asyncio.get_running_loop().time, asyncio.Event()
    began = clock()

    async def there() -> bool:
        if clock() - began < WORK_S:
            await asyncio.sleep(WORK_S)
            return False
        return clock() - began >= WORK_S + LIMIT_S / 2

    async def decided() -> Positions:
        return {}

    await until_there(there, folded, decided, LIMIT_S)
    assert clock() - began >= WORK_S + LIMIT_S / 2
