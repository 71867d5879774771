"""The network between brokers of a cluster is cut, of brokers and controllers: one of three is alone, or two do not hear each other.

Clients reach all of them meanwhile: also the one that is alone, and leads what it led until the others have chosen anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import combinations

import pytest
import pytest_asyncio

from tests.faults.conftest import UnderLoad
from tests.faults.proxy import CUTS, Cut
from tests.faults.replicas import in_sync, left_out, replicated
from tests.faults.rig import Rig, running_rig

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.asyncio(loop_scope="session")]

CUT_S = 8.0
"""Longer than a session of a broker (3 s), than a replica may lag (4 s), and than an append may take (6 s)."""
BETWEEN = 4
"""Rounds that end before the next cut."""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["kafka"])
async def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """Three brokers, and one of each service."""
    folder = tmp_path_factory.mktemp("apart")
    async with running_rig(request.param, folder, brokers=3, doubled=(), small=False) as opened:
        yield opened


@pytest.mark.parametrize("how", CUTS)
async def test_a_broker_that_is_cut_off_from_the_others_loses_nothing(
    rig: Rig, under_load: UnderLoad, how: Cut
) -> None:
    async with under_load() as load:
        for broker in rig.brokers:
            await replicated(rig)
            async with in_sync(rig) as look:
                with load.fault(f"a broker cut off from the others: {how}"):
                    async with rig.cut_apart(rig.alone(broker), how):
                        await load.lasting(CUT_S)
                        await left_out(look, [broker])
            await load.clients.more(BETWEEN)


@pytest.mark.parametrize("how", CUTS)
async def test_two_brokers_that_do_not_hear_each_other_lose_nothing(rig: Rig, under_load: UnderLoad, how: Cut) -> None:
    async with under_load() as load:
        for pair in combinations(rig.brokers, 2):
            await replicated(rig)
            async with in_sync(rig) as look:
                with load.fault(f"two brokers cut off from each other: {how}"):
                    async with rig.cut_apart([pair], how):
                        await load.lasting(CUT_S)
                        await left_out(look, pair)
            await load.clients.more(BETWEEN)
