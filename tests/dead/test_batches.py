"""Parked records do not depend on the ends of batches, on crashes, or on the order of partitions: any log, with any records spoilt.

The projection that services and rebuilds use, on a real Postgres; the log is drawn, as a list.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from langlog_backbone.log import Record
from langlog_projector.listener import NoListener
from langlog_projector.projection import Projection
from langlog_schemas import envelope
from langlog_schemas import events as ev

from tests.core.drawn_journals import journals
from tests.core.journal import Journal, partition_of
from tests.core.test_projection import FEW, FOLDED_PARTITIONS, Model, chances, interleaved, plainly, somehow
from tests.core.test_projection import model as model

SPOILERS: tuple[bytes, ...] = (b"\xff", b"{}", b'{"thread_id":1}')


class Lenient(Model):
    """Records that cannot be folded are expected here."""

    async def restart(self) -> Projection:
        async def bury(bad: Any) -> None:
            return None

        self._projection = Projection(self.pool, bury, NoListener())
        await self._projection.open(FOLDED_PARTITIONS)
        return self._projection


@pytest.fixture
def lenient(model: Model) -> Lenient:
    return Lenient(model.pool, model.tables)


def spoilt(journal: Journal, chance: random.Random) -> list[Record]:
    """Some of the records cannot be decoded; after some of them an operator releases or drops records."""
    log = Journal()
    bad: list[Record] = []
    for record in journal.records:
        if chance.random() < 0.04:
            record = msgspec.structs.replace(record, value=chance.choice(SPOILERS))
            bad.append(log.put(record))
        else:
            log.put(record)
        if bad and chance.random() < 0.02:
            result = chance.choice(bad)
            origin = f"{result.topic}-{result.partition}-{result.offset}"
            released(log, result.key, origin if chance.random() < 0.7 else None)
    return log.records


def released(log: Journal, key: str, drop: str | None) -> None:
    event = ev.ParkedEventsReleased(aggregate_id=key, drop=drop)
    time = f"2026-02-01T00:00:{len(log.records) % 60:02}.000000+00:00"
    headers = envelope.headers(id="", type=event.TYPE, source="/test", time=time, subject=key)
    log.put(Record(ev.DEAD_LETTERS, partition_of(key), 0, key, ev.encode(event), headers))


@given(journal=journals, chance=chances)
@FEW
async def test_any_batches_and_any_crashes_park_the_same(
    lenient: Lenient, monkeypatch: pytest.MonkeyPatch, journal: Journal, chance: random.Random
) -> None:
    records = spoilt(journal, chance)
    plain = await plainly(lenient, records)
    assert await somehow(lenient, records, chance, monkeypatch) == plain


@given(journal=journals, chance=chances)
@FEW
async def test_a_rebuild_that_reads_partitions_and_topics_in_any_order_parks_the_same(
    lenient: Lenient, monkeypatch: pytest.MonkeyPatch, journal: Journal, chance: random.Random
) -> None:
    """An operator's word may be read long before the record that it is about, or long after."""
    records = spoilt(journal, chance)
    plain = await plainly(lenient, records)
    assert await somehow(lenient, interleaved(records, chance), chance, monkeypatch) == plain
