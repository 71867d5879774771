"""Three brokers, each of which loses its disk in turn, under load: what was acknowledged is on the others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from langlog_backbone.log import open_log
from langlog_backbone.log.kafka.kafka_log import TOPICS
from langlog_backbone.process.settings import Settings

from tests.log.conftest import Following, record
from tests.log.test_kafka_broker_killed import Writers
from tests.outage.eventually import eventually
from tests.stack.fixtures import make_kafka_cluster

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MORE = 500
PARTITIONS = 4
REPLICAS = 3


async def replicated(bootstrap: str) -> None:
    """Returns when each partition is whole on three brokers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def whole() -> bool:
        described = await admin.describe_topics(list(TOPICS))
        partitions = [partition for topic in described for partition in topic["partitions"]]
        return len(partitions) == len(TOPICS) * PARTITIONS and all(len(p["isr"]) == REPLICAS for p in partitions)

    try:
        await eventually(whole)
    finally:
        await admin.close()


async def test_brokers_that_lose_their_disks_one_after_the_other_lose_nothing_acknowledged(tmp_path: Path) -> None:
    cluster = make_kafka_cluster(tmp_path)
    await cluster.start()
    try:
        log = open_log(
            Settings(
                log_uri=f"kafka://{cluster.bootstrap}",
                partitions=PARTITIONS,
                replication_factor=REPLICAS,
                production=True,
            )
        )
        await log.start()
        writers = Writers(log)
        for broker in cluster.brokers.values():
            await replicated(cluster.bootstrap)
            await writers.more(MORE)
            await broker.kill()
            broker.lose_disk()
            await writers.more(MORE)
            await broker.start()
        await replicated(cluster.bootstrap)
        await writers.more(MORE)
        await writers.stop()
        following = Following(log.reader(["commands"]))
        counts = Counter(r.value.decode() for r in await following.until(sum(await log.end_offsets("commands"))))
        assert [name for name in writers.acknowledged if counts[name] != 1] == []
        assert not set(counts) & set(writers.refused)
        await following.stop()
        await log.stop()
    finally:
        await cluster.stop()


async def test_a_log_opens_while_one_of_three_brokers_is_away(tmp_path: Path) -> None:
    cluster = make_kafka_cluster(tmp_path)
    await cluster.start()
    try:
        settings = Settings(log_uri=f"kafka://{cluster.bootstrap}", partitions=PARTITIONS, replication_factor=REPLICAS)
        await opened(settings)
        await cluster.brokers[1].kill()
        await opened(settings)
    finally:
        await cluster.stop()


async def opened(settings: Settings) -> None:
    """Several times: which broker is asked first is chance."""
    for n in range(4):
        log = open_log(settings)
        await log.start()
        await log.append([record("key", str(n))])
        await log.stop()
