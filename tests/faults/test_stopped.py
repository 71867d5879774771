"""Each part stands still for longer than its session lasts, and then goes on as if nothing had been (SIGSTOP, SIGCONT)."""

from __future__ import annotations

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.rig import Rig
from tests.loss.cluster import LEASE_S

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

STOPPED_S = LEASE_S + 1.0
"""Longer than a lease, than a session of a group, and than a broker's with its controller."""
GOES_ON = ("decider", "projector", "worker", "scheduler")
"""Parts in spite of whose standstill clients are served, on Kafka: others take over what was theirs."""


@pytest.mark.parametrize(
    "part", ["gateway", "decider", "projector", "worker", "scheduler", "postgres", "redis", "kafka"]
)
async def test_a_part_that_stands_still_and_goes_on_changes_nothing(rig: Rig, under_load: UnderLoad, part: str) -> None:
    if part not in rig.parts():
        pytest.skip("the embedded log is no process")
    async with under_load() as load:
        with load.fault(f"{part} stands still"), rig.stopped(part):
            await load.lasting(STOPPED_S, rounds=4 if rig.log == "kafka" and part in GOES_ON else 0)
