"""The network between one process and one server is cut: connections drop and are refused, or stall without a word."""

from __future__ import annotations

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.proxy import CUTS
from tests.faults.rig import SERVERS, Rig
from tests.loss.cluster import LEASE_S, SERVICES

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CUT_S = {"worker": LEASE_S + 1.0}
"""Longer than the lease of a worker's runs."""
OTHERWISE_S = 2.5
"""Longer than a session of a group."""
BETWEEN = 4
"""Rounds that end before the next cut."""


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("process", list(SERVICES))
async def test_a_process_that_is_cut_off_from_a_server_changes_nothing(
    rig: Rig, under_load: UnderLoad, process: str, server: str
) -> None:
    if (process, server) not in rig.proxies:
        pytest.skip("the embedded log is a file")
    async with under_load() as load:
        for how in CUTS:
            with load.fault(f"{process} cut off from {server}: {how}"):
                async with rig.proxies[process, server].cut(how):
                    await load.lasting(CUT_S.get(process, OTHERWISE_S))
            await load.clients.more(BETWEEN)
