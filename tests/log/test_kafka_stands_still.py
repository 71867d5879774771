"""A broker that accepts connections and does not answer: services that start meanwhile wait for it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from langlog_backbone.context import start_log
from langlog_backbone.log import LogSilent, open_log
from langlog_backbone.process.retry import Availability
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings

from tests.log.conftest import record
from tests.outage.eventually import eventually
from tests.stack.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


async def test_a_start_goes_on_when_a_broker_that_stood_still_goes_on(own_kafka: KafkaBroker) -> None:
    await own_kafka.start()
    assert own_kafka.child is not None
    log = open_log(Settings(log_uri=f"kafka://{own_kafka.bootstrap}", partitions=2))
    os.kill(own_kafka.child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(LogSilent):
            await log.start()
        availability = Availability("start", "log")
        starting = asyncio.create_task(start_log(log, availability))

        async def failed() -> bool:
            return availability.failures > 0

        await eventually(failed)
        assert not starting.done()
        assert availability.reason is not None
    finally:
        os.kill(own_kafka.child.pid, signal.SIGCONT)
    await starting
    assert availability.reason is None
    await log.append([record("a key", "a value")])
    await log.stop()


async def test_a_start_without_a_broker_at_the_address_fails(own_kafka: KafkaBroker) -> None:
    log = open_log(Settings(log_uri=f"kafka://{own_kafka.bootstrap}", partitions=2))
    with pytest.raises(StartError):
        await start_log(log, Availability("start", "log"))
