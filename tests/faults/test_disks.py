"""Disks of the log and of Postgres are full, or slow."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.disk import required
from tests.faults.rig import Rig
from tests.history.workload import Workload
from tests.outage.eventually import eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

FULL_S = 3.0
ROUNDS = 8
"""Rounds that end once there is room again, more than are under way at once: by then no server ends any more for the lack of it."""
SLOW_S = 4.0
SYNC_MS = {"log": 300, "postgres": 10}
"""Duration of each fsync. A checkpoint of Postgres syncs hundreds of files."""
WRITE_MS = 20
"""Duration of each write of a broker, which does not sync."""
WRITES = ("create", "put", "delete", "answer")


def refusals(clients: Workload) -> int:
    return sum(1 for call in clients.history.calls if call.outcome == "refused" and call.action in WRITES)


@pytest.mark.parametrize("disk", ["log", "postgres"])
async def test_a_full_disk_loses_nothing_and_all_goes_on_when_there_is_room(
    rig: Rig, under_load: UnderLoad, disk: str
) -> None:
    """While the log's is full, writes are refused with 503, and none of them has taken effect."""
    small = rig.small_disks[disk]
    if small is None:
        required("a small disk needs root and the right to mount")
        return
    async with under_load() as load:
        before = refusals(load.clients)

        async def refused() -> bool:
            return refusals(load.clients) > before

        with load.fault(f"the disk of {disk} is full"):
            with small.full():
                if disk == "log":
                    await eventually(refused)
                await load.lasting(FULL_S)
            async with rig.supervised_servers():
                await load.clients.more(ROUNDS)


@pytest.mark.parametrize("disk", ["log", "postgres"])
async def test_a_slow_disk_loses_nothing(rig: Rig, under_load: UnderLoad, disk: str) -> None:
    if disk not in rig.slow_disks:
        required("a slow disk needs a compiler of C")
    slow = rig.slow_disks[disk]
    before = slow.slowed
    async with under_load() as load:
        writes_ms = WRITE_MS if disk == "log" and rig.brokers else 0
        with load.fault(f"the disk of {disk} is slow"), slow.slow(sync_ms=SYNC_MS[disk], write_ms=writes_ms):
            await load.lasting(SLOW_S, rounds=1)
            if disk == "postgres":  # nothing else syncs in so short a time: commits are not waited for
                await asyncio.to_thread(rig.checkpoint)
    assert slow.slowed > before
