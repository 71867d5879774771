"""Everything is killed at the same moment, as by a power cut, and started again."""

from __future__ import annotations

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.rig import Rig

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_everything_is_killed_at_once_and_nothing_is_lost(rig: Rig, under_load: UnderLoad) -> None:
    async with under_load() as load:
        with load.fault("everything is killed"):
            await rig.all_killed()
