"""A rolling deploy under load, in two waves: each process is told to stop, ends by itself, and is started again."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.rig import Rig
from tests.stack.server import Process

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

BETWEEN = 4
"""Rounds that end before the next wave."""


async def test_a_rolling_deploy_loses_nothing(rig: Rig, under_load: UnderLoad) -> None:
    async with under_load() as load:
        with load.fault("rolling deploy"):
            for wave in (rig.doubles(), rig.cluster.processes.keys() - rig.doubles()):
                await asyncio.gather(*(asyncio.to_thread(deploy, rig.cluster.processes[name]) for name in wave))
                await load.clients.more(BETWEEN)


def deploy(process: Process) -> None:
    process.ask_to_stop()
    assert process.ended() == 0
    process.start()
