"""A log copied to Kafka and back: the same records at the same positions, whatever was cut, sealed, interrupted or there before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from langlog_backbone.log import DECIDERS, Log, LogFault, NewRecord, started_log
from langlog_backbone.log.kafka.copy_target import CopyTarget
from langlog_backbone.log.kafka.kafka_log import TOPICS
from langlog_backbone.log.partitioner import key_in
from langlog_backbone.process.settings import Settings
from langlog_backbone.transfer.copying import Copied, DifferentContent, compare, copy
from langlog_backbone.transfer.reading import ends_of, starts_of
from langlog_backbone.transfer.targets import Displaced, append, opened_target

from tests.stack.fixtures import _delete_topics
from tests.stack.foreign_transactions import transaction
from tests.transfer.conftest import BEGAN, at_rest, everything, fill, nobody_looks, records

pytestmark = pytest.mark.kafka


async def copied(source: Settings, target: Settings) -> Copied:
    async with started_log(source) as log, opened_target(target, target.log_uri) as into:
        return await copy(log, into, nobody_looks, at_rest)


async def cut_in_places(log: Log) -> None:
    """Cut one partition a little, one to its end, one not at all."""
    ends = await ends_of(log)
    held = sorted(partition for partition, end in ends.items() if end > 10)
    await log.cut({held[0]: 7, held[1]: ends[held[1]], held[2]: ends[held[2]] - 1})


async def test_a_copy_has_every_record_at_its_position_also_behind_cuts_and_a_copy_of_it_too(
    embedded: Settings, topics: Settings, tmp_path: Path
) -> None:
    async with started_log(embedded) as log:
        await fill(log, 600)
        await log.append([NewRecord("run-events", "large", bytes(9_000_000), {"ce_id": "large"})])
        await cut_in_places(log)
        await log.commit(DECIDERS, {("commands", 1): 3})
        starts, ends = await starts_of(log), await ends_of(log)
    assert any(starts.values())
    first = await copied(embedded, topics)
    assert first.before == 0 and first.appended == sum(ends.values()) - sum(starts.values())
    original = await everything(embedded)
    assert await everything(topics) == original
    async with started_log(topics) as log:
        assert (await starts_of(log), await ends_of(log)) == (starts, ends)
        assert await log.committed(DECIDERS, [("commands", 1)]) == {("commands", 1): 3}
        appended = await log.append([NewRecord("run-events", "large", b"next", {})])
        assert appended[0].offset == ends["run-events", appended[0].partition]
    back = msgspec.structs.replace(embedded, log_uri=f"sqlite://{tmp_path / 'back.sqlite'}")
    await copied(topics, back)
    assert await everything(back) == await everything(topics)


async def test_times_are_found_at_the_same_positions_in_a_copy(
    embedded: Settings, topics: Settings, tmp_path: Path
) -> None:
    async with started_log(embedded) as log:
        await fill(log, 500)
        ends = await ends_of(log)
        await log.cut({partition: 5 for partition, end in ends.items() if end > 10})
    back = msgspec.structs.replace(embedded, log_uri=f"sqlite://{tmp_path / 'back.sqlite'}")
    await copied(embedded, topics)
    await copied(topics, back)
    async with started_log(embedded) as here, started_log(topics) as there, started_log(back) as again:
        for minutes in (0, 123, 250, 499, 600):
            moment = BEGAN + timedelta(minutes=minutes)
            for topic in TOPICS:
                expected = await here.offsets_at(topic, moment)
                assert await there.offsets_at(topic, moment) == expected, (topic, minutes)
                assert await again.offsets_at(topic, moment) == expected, (topic, minutes)


async def test_a_copy_continues_where_the_target_ends(embedded: Settings, topics: Settings) -> None:
    async with started_log(embedded) as log:
        await fill(log, 100)
    assert await copied(embedded, topics) == Copied(0, 100)
    assert await copied(embedded, topics) == Copied(100, 0)
    async with started_log(embedded) as log:
        await fill(log, 50, first=100)
    assert await copied(embedded, topics) == Copied(100, 50)
    assert await everything(topics) == await everything(embedded)


async def test_a_target_that_holds_something_else_is_refused_and_stays_as_it_is(
    embedded: Settings, topics: Settings
) -> None:
    made = records(100)
    async with started_log(embedded) as log:
        await log.append(made)
    other = made[:60]
    changed = other[40]
    other[40] = changed._replace(headers={**changed.headers, "ce_actor": "somebody"})
    async with started_log(topics) as log:
        positions = await log.append(other)
    before = await everything(topics)
    at = f"{changed.topic}/{positions[40].partition}, offset {positions[40].offset}"
    with pytest.raises(DifferentContent, match=f"differ at {at}:"):
        await copied(embedded, topics)
    assert await everything(topics) == before
    async with started_log(topics) as log:  # and is no unfinished copy
        await log.append(records(2, first=200))


async def test_a_target_with_more_than_the_source_is_refused(embedded: Settings, topics: Settings) -> None:
    async with started_log(embedded) as log:
        await fill(log, 20)
    async with started_log(topics) as log:
        await fill(log, 30)
    with pytest.raises(DifferentContent, match="the target holds records that the source does not"):
        await copied(embedded, topics)


async def test_both_logs_are_compared_on_request(embedded: Settings, topics: Settings) -> None:
    async with started_log(embedded) as log:
        await fill(log, 90)
    await copied(embedded, topics)
    async with started_log(embedded) as here, started_log(topics) as there:
        assert await compare(here, there, nobody_looks) == 90
        await here.append(records(1, first=90))
        with pytest.raises(DifferentContent, match="reaches from offset 0 to"):
            await compare(here, there, nobody_looks)


async def test_no_service_starts_on_an_unfinished_copy(embedded: Settings, topics: Settings, tmp_path: Path) -> None:
    async with started_log(embedded) as log:
        await fill(log, 30)

    async def broken_off() -> bool:
        raise InterruptedError

    parts = msgspec.structs.replace(embedded, log_uri=f"sqlite://{tmp_path / 'parts.sqlite'}")
    for target in (topics, parts):
        async with started_log(embedded) as log, opened_target(target, target.log_uri) as into:
            await append(into.log, [])
            with pytest.raises(InterruptedError):
                await copy(log, into, nobody_looks, broken_off)
        with pytest.raises(LogFault, match="has not finished"):
            async with started_log(target):
                pass
        assert await copied(embedded, target) == Copied(0, 30)
        assert await everything(target) == await everything(embedded)


async def test_another_writer_is_noticed(embedded: Settings, topics: Settings) -> None:
    async with started_log(embedded) as log:
        await fill(log, 40)

    async def meanwhile() -> bool:
        other = CopyTarget(topics.log_uri.removeprefix("kafka://"), topics)
        await other.start()
        await other.append(records(40, first=500))
        await other.stop()
        return True

    async with started_log(embedded) as log, opened_target(topics, topics.log_uri) as into:
        with pytest.raises(Displaced, match="something else writes to the target"):
            await copy(log, into, nobody_looks, meanwhile)


async def test_the_settings_of_topics_that_were_there_are_kept(embedded: Settings, topics: Settings) -> None:
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    async with started_log(embedded) as log:
        await fill(log, 20)
    name = f"{topics.topic_prefix}commands"
    target = CopyTarget(topics.log_uri.removeprefix("kafka://"), topics)
    await target.start()
    admin = target._admin_client()

    async def settings_of_topic() -> dict[str, str]:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return {entry[0]: entry[1] for entry in response.resources[0][4]}

    try:
        before = await settings_of_topic()
        assert before["message.timestamp.type"] == "LogAppendTime" and before["retention.ms"] == "-1"
        await target.begin()
        during = await settings_of_topic()
        await target.finish()
        after = await settings_of_topic()
    finally:
        await target.stop()
    assert during == before | {"message.timestamp.type": "CreateTime"}
    assert after == before


async def test_what_transactions_of_others_leave_keeps_its_place_in_each_copy(
    embedded: Settings, topics: Settings, tmp_path: Path
) -> None:
    """Kafka marks the end of a transaction at an offset of its own, which no record has."""
    bootstrap = topics.log_uri.removeprefix("kafka://")
    async with started_log(topics) as log:
        await fill(log, 60)
        for part in range(log.partitions):
            stored = topics.topic_prefix + "commands"
            key = key_in(part, log.partitions).encode()
            await transaction(bootstrap, stored, part, [b"{}"], key=key)
            await transaction(bootstrap, stored, part, [b"{}"], key=key, commits=False)
        ends = await ends_of(log)
    await copied(topics, embedded)
    original = await everything(topics)
    assert {place: len(records) for place, records in original.items()} == ends
    assert await everything(embedded) == original
    again = msgspec.structs.replace(topics, topic_prefix=f"{topics.topic_prefix}again.")
    try:
        await copied(topics, again)
        assert await everything(again) == original
        back = msgspec.structs.replace(embedded, log_uri=f"sqlite://{tmp_path / 'back.sqlite'}")
        await copied(again, back)
        assert await everything(back) == original
    finally:
        await _delete_topics(again)
