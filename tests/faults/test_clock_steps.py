"""Clocks of all processes are stepped while they work; Postgres' is not, which is the one that counts."""

from __future__ import annotations

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.rig import Rig

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

HOUR_S, DAY_S = 3_600.0, 86_400.0
STEPS_S = (HOUR_S, -HOUR_S, DAY_S, -DAY_S)
ROUNDS = 6


async def test_clocks_that_are_stepped_by_an_hour_and_by_a_day_change_nothing(rig: Rig, under_load: UnderLoad) -> None:
    async with under_load() as load:
        with load.fault("clocks are stepped"):
            for step in STEPS_S:
                for name in rig.cluster.processes:
                    rig.clock(name).write_text(str(step))
                await load.clients.more(ROUNDS)
            # half of them are right again, so that those of one service differ by a day
            for name in rig.cluster.processes.keys() - rig.doubles():
                rig.clock(name).write_text("0")
            await load.clients.more(ROUNDS)
        for name in rig.cluster.processes:
            rig.clock(name).write_text("0")
