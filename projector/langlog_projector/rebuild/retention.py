"""Cuts the log before a time: first its front is folded into a snapshot, and the snapshot is verified; only then is it cut.

    log, up to the cut ──► scratch schema ──► rows, to the topic ``snapshots``
                                                    │ read back, and the rest of the log folded on top
                                                    ▼
                                             scratch schema ◄── compared with the live read model, row by row
                                                    │ no difference
                                                    ▼
                         `SnapshotTaken` for each partition (from here on it counts) ──► the topics are cut, old snapshots last

Nothing is cut that a group of readers has not read, nor what the live read model has not folded.

Concurrency: one cut at a time, beside services that go on; rebuilds wait for it, and it for them (advisory locks).
Death: before `SnapshotTaken` nothing has changed that counts; after it the snapshot replaces what is cut, however much of that
was done. Cutting again is harmless.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
import structlog
from langlog_backbone.log import Log, Positions, TopicPartition
from langlog_backbone.postgres.database import connect_pool
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.sources import random_hex
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas import snapshots

from .comparison import Comparison
from .rebuild import SQL, Builder, Progress, RebuildError, building, catch_up, live_positions, reading
from .snapshot_write import Written, taken_record, write
from .swap import compare_with_live

logger = structlog.get_logger(__name__)

CUT_TOPICS = (cmd.TOPIC, *ev.FOLDED_TOPICS)
DECIDERS = "deciders"
PROJECTORS = "projectors"
"""The group that distributes partitions; its positions are in Postgres."""


class Plan(NamedTuple):
    starts: Positions
    """Current starts of partitions."""
    cuts: Positions
    """Offsets below which partitions will be cut."""
    ends: Positions
    holders: Mapping[TopicPartition, Sequence[str]]
    """Groups because of which less is cut than requested."""

    @property
    def records(self) -> int:
        """Number of records that will be deleted."""
        return sum(cut - self.starts.get(partition, 0) for partition, cut in self.cuts.items())


class Cut(NamedTuple):
    plan: Plan
    rows: int
    """Number of rows in the snapshot."""
    snapshot_records: int
    comparison: Comparison | None
    """Comparison of the snapshot, or None if there was nothing to cut."""
    done: bool
    """Whether the log was cut. False: a difference was found, or there was nothing to cut."""


def bounded(
    requested: Mapping[TopicPartition, int],
    starts: Mapping[TopicPartition, int],
    held: Mapping[str, Mapping[TopicPartition, int]],
) -> tuple[Positions, dict[TopicPartition, list[str]]]:
    """Return the offsets below which the log may be cut, and the groups that limit them. Pure.

    ``held``: reader -> how far it has read what it reads. Never beyond what one of them has read, never below what is cut already.
    """
    cuts: Positions = {}
    holders: dict[TopicPartition, list[str]] = {}
    for partition, offset in requested.items():
        limits = {name: positions[partition] for name, positions in held.items() if partition in positions}
        cuts[partition] = max(min([offset, *limits.values()]), starts.get(partition, 0))
        if cuts[partition] < offset:
            holders[partition] = sorted(name for name, limit in limits.items() if limit < offset)
    return cuts, holders


async def plan(log: Log, settings: Settings, before: datetime, ignored: Collection[str] = ()) -> Plan:
    """Return the plan of a cut before a time. ``ignored``: groups whose positions do not limit the cut. Changes nothing.

    Raises RebuildError when there is no read model, LogUnavailable, StartError.
    """
    live = await connect_pool(settings, size=1)
    try:
        folded = await live_positions(live)
    finally:
        await live.close()
    if folded is None:
        raise RebuildError(f"there is no read model {settings.projection}")
    requested: Positions = {}
    starts: Positions = {}
    ends: Positions = {}
    for topic in CUT_TOPICS:
        requested |= _by_partition(topic, await log.offsets_at(topic, before))
        starts |= _by_partition(topic, await log.start_offsets(topic))
        ends |= _by_partition(topic, await log.end_offsets(topic))
    held = {group: of for group, of in (await log.group_positions()).items() if group not in (PROJECTORS, *ignored)}
    decided = held.pop(DECIDERS, {})
    held[DECIDERS] = {(cmd.TOPIC, part): decided.get((cmd.TOPIC, part), 0) for part in range(log.partitions)}
    held[f"projection {settings.projection}"] = {
        (topic, part): folded.get((topic, part), 0) for topic in ev.FOLDED_TOPICS for part in range(log.partitions)
    }
    cuts, holders = bounded(requested, starts, held)
    return Plan(starts, cuts, ends, holders)


def _by_partition(topic: str, offsets: Sequence[int]) -> Positions:
    return {(topic, part): offset for part, offset in enumerate(offsets)}


async def cut(log: Log, settings: Settings, before: datetime, progress: Progress, ignored: Collection[str] = ()) -> Cut:
    """Cut the log before a time. Raises RebuildError (a rebuild is under way), LogFault, LogUnavailable, StartError."""
    planned = await plan(log, settings, before, ignored)
    if not planned.records:
        return Cut(planned, 0, 0, None, done=False)
    live = await connect_pool(settings, size=4)
    try:
        async with _alone(
            live, f"langlog.operations.cut.{settings.projection}", "the log is being cut by another process"
        ):
            # those who read the log from its front would be held up at the end
            async with _nobody_reads(live, settings):
                pass
            return await _cut(log, settings, live, planned, progress)
    finally:
        await live.close()


async def _cut(log: Log, settings: Settings, live: asyncpg.Pool, planned: Plan, progress: Progress) -> Cut:
    scratch = scratch_schema(settings.projection)
    snapshot_id = random_hex(16)
    async with building(log, settings, scratch, progress, keep=False) as builder:
        try:
            # what an earlier cut has put into a snapshot is not taken out again
            cuts = {partition: max(cut, builder.positions.get(partition, 0)) for partition, cut in planned.cuts.items()}
            await builder.fold_to({partition: cut for partition, cut in cuts.items() if partition[0] != cmd.TOPIC})
            commands = {part: cut for (topic, part), cut in cuts.items() if topic == cmd.TOPIC}
            written = await write(log, builder.pool, scratch, snapshot_id, commands)
        finally:
            await _drop(builder)
    planned = planned._replace(cuts=cuts)
    rows, records = sum(w.rows for w in written.values()), sum(w.taken.records for w in written.values())
    logger.info("retention.snapshot_written", snapshot=snapshot_id, rows=rows, records=records)
    comparison = await _prove(log, settings, live, written, progress)
    if not comparison.same:
        return Cut(planned, rows, records, comparison, done=False)
    await log.append([taken_record(w.taken) for w in written.values()])
    logger.info("retention.snapshot_taken", snapshot=snapshot_id)
    async with _nobody_reads(live, settings):
        await _on_disk(live, settings, cuts)
        await log.cut(cuts)
    await log.cut({(snapshots.TOPIC, part): w.taken.first for part, w in written.items()})
    logger.info("retention.cut", records=planned.records)
    return Cut(planned, rows, records, comparison, done=True)


async def _on_disk(live: asyncpg.Pool, settings: Settings, cuts: Mapping[TopicPartition, int]) -> None:
    """Wait until the live model has the cut records on its disk: it must never have to fold them again.

    Raises RebuildError when a crash has taken it back below the cut meanwhile.
    """
    async with live.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        rows = await connection.fetch(SQL["touch_positions"])
    folded = {(topic, part): offset for topic, part, offset in rows}
    for partition, offset in cuts.items():
        if partition[0] != cmd.TOPIC and folded.get(partition, 0) < offset:
            raise RebuildError(
                f"{settings.projection} is at offset {folded.get(partition, 0)} of {partition[0]}/{partition[1]}, below the cut at {offset}: "
                "Postgres has lost commits; cut again when they are folded again"
            )


async def _prove(
    log: Log, settings: Settings, live: asyncpg.Pool, written: Mapping[int, Written], progress: Progress
) -> Comparison:
    """Build a read model from the snapshot and later records, as it would be built after the cut, compared with the live one."""
    scratch = scratch_schema(settings.projection)
    beginning = {part: w.taken for part, w in written.items()}
    async with building(log, settings, scratch, progress, keep=False, beginning=beginning) as builder:
        try:
            await catch_up(builder, live)
            return await compare_with_live(builder, live, settings.projection)
        finally:
            await _drop(builder)


async def _drop(builder: Builder) -> None:
    await builder.pool.execute(f"DROP SCHEMA IF EXISTS {builder.schema} CASCADE")


def scratch_schema(live: str) -> str:
    """Return the schema in which snapshots are made and verified; it is dropped afterwards."""
    return f"{live}_cut"


@contextlib.asynccontextmanager
async def _alone(pool: asyncpg.Pool, name: str, otherwise: str) -> AsyncIterator[None]:
    async with pool.acquire() as guard:
        if not await guard.fetchval(SQL["try_lock"], name):
            raise RebuildError(otherwise)
        try:
            yield
        finally:
            await guard.execute(SQL["unlock"], name)


def _nobody_reads(pool: asyncpg.Pool, settings: Settings) -> contextlib.AbstractAsyncContextManager[None]:
    return _alone(pool, reading(settings), "a rebuild or verify is under way: cut again when it is over")
