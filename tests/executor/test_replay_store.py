"""The store of a replay, folded from the log: what other producers have put into the topic keeps no replay from running."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from langlog_backbone.log import NewRecord, started_log
from langlog_backbone.log.records import event_record
from langlog_backbone.process.settings import Settings
from langlog_executor.replay.run import stored_items
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.commands import StoreOp

from tests.stack.fixtures import MakeSettings

BEFORE, MOMENT, AFTER = (f"2026-11-30T1{hour}:00:00.000000Z" for hour in (0, 1, 2))
NAMESPACE = ["kept"]


@pytest.fixture
def settings(make_log_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The replay's process reads its settings from the environment."""
    made = make_log_settings(partitions=2)
    for name, value in {
        "LOG_URI": made.log_uri,
        "LANGLOG_TOPIC_PREFIX": made.topic_prefix,
        "LANGLOG_PARTITIONS": str(made.partitions),
    }.items():
        monkeypatch.setenv(name, value)
    return made


def written(key: str, time: str) -> NewRecord:
    ops = [StoreOp(key=key, value=msgspec.Raw(b'{"n":1}'))]
    return event_record(ev.StoreWritten(namespace=NAMESPACE, ops=ops), id=key, source="/test", time=time)


async def test_records_of_other_producers_keep_no_replay_from_its_store(settings: Settings) -> None:
    good = written("good", BEFORE)
    foreign = [
        good._replace(headers={}),
        good._replace(value=b"no body"),
        good._replace(headers=good.headers | {"ce_type": "langlog.store.painted.v9"}),
        *(
            late._replace(headers={name: text for name, text in late.headers.items() if name != "ce_time"} | time)
            for late in [written("timeless", BEFORE)]
            for time in ({}, {"ce_time": "soon"}, {"ce_time": "2026-11-30T10:00:00"})
        ),
        NewRecord(good.topic, good.key, b"", {envelope.GAP: "1"}),
    ]
    async with started_log(settings) as log:
        await log.append([*foreign, good, written("late", AFTER), *foreign])
    items = await asyncio.to_thread(stored_items, MOMENT)
    assert items == [(tuple(NAMESPACE), "good", {"n": 1})]
