"""A broker is killed; Postgres has no connection left, or a table is locked by somebody; Redis is at its limit.

The tests of `tests.outage` have more.
"""

from __future__ import annotations

import pytest

from tests.faults.conftest import UnderLoad
from tests.faults.postgres import locked, without_connections
from tests.faults.rig import Rig
from tests.outage import faults

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

HELD_S = 4.0
LOCKED_S = 60.0
"""Longer than any deadline: a migration, or somebody who has left a transaction open."""


@pytest.mark.parametrize("rig", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_a_broker_that_is_killed_loses_nothing_acknowledged(rig: Rig, under_load: UnderLoad) -> None:
    """The only one: until it is started again nothing can be acknowledged."""
    async with under_load() as load:
        for broker in rig.brokers.values():
            with load.fault("kafka is killed"):
                await broker.kill()
                await load.lasting(HELD_S)
                await broker.start()


async def test_a_postgres_without_a_connection_left_loses_nothing(rig: Rig, under_load: UnderLoad) -> None:
    async with under_load() as load:
        with load.fault("postgres has no connection left"):
            async with without_connections(rig.cluster.postgres.uri):
                await load.lasting(HELD_S)


async def test_a_table_that_somebody_locks_loses_nothing(rig: Rig, under_load: UnderLoad) -> None:
    async with under_load() as load:
        with load.fault("a table of postgres is locked"):
            async with locked(rig.cluster, "positions"):
                await load.lasting(LOCKED_S)


async def test_a_redis_at_its_memory_limit_loses_nothing(rig: Rig, under_load: UnderLoad) -> None:
    async with under_load() as load:
        with load.fault("redis is at its memory limit"):
            async with faults.out_of_memory(rig.cluster):
                await load.lasting(HELD_S)
