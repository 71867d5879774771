"""A second read model, folded from the log beside the live one: to be swapped in, or compared and dropped.

    log ──► the projector's own fold (`projection`) ──► schema <live>_new, or <live>_verify
                                                                │  at the same positions
    live projector ──► schema <live>  ◄──── compared row by row; then the schemas change names (`swap`)

It never folds past the live positions: so it is never ahead of the live projector's notifications, and sends none itself.

Concurrency: one builder a schema, held by an advisory lock. The live projector and all readers continue; the projector is stopped
for the moment in which both models are brought to the same positions.
Death: positions are committed with the rows, so the next builder continues from there; a rebuild by another version of langlog is
dropped and begun again. The live schema is never written.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files

import asyncpg
import structlog
from langlog_backbone.log import Log, LogReader, Positions, Record, TopicPartition
from langlog_backbone.postgres.database import connect_pool, ensure_read_model, load_sql
from langlog_backbone.process.settings import Settings
from langlog_backbone.read_model import same_log
from langlog_schemas import envelope
from langlog_schemas import events as ev
from msgspec.structs import replace

from ..erasure import Erasure
from ..listener import NoListener, Refused
from ..projection import Projection
from .snapshot_read import Snapshots, restore, restore_partition, starts_of
from .snapshot_write import SNAPSHOT

logger = structlog.get_logger(__name__)

SQL = load_sql("langlog_projector", "rebuild.sql")

BATCH_RECORDS = 10_000
"""Maximum number of records in one transaction: many, since no client waits for it."""
BATCH_BYTES = 16_000_000
"""Maximum bytes of values in one transaction."""
CLOSE_RECORDS = 500
"""Maximum number of remaining records for which the live projector may be stopped."""
CLOSE_TRIES = 50
LOCK_TIMEOUT_MS = 5_000
"""Milliseconds for the live projector to end a transaction."""

Progress = Callable[[int, int], None]
"""Called with the number of records folded so far, and how many are to be folded as far as is known."""


class RebuildError(Exception):
    """The rebuild cannot continue; the message is one line. The live schema is unchanged."""


class Builder:
    """Folds the log into one schema that is not the live one. Created by `building`."""

    def __init__(self, log: Log, pool: asyncpg.Pool, settings: Settings, progress: Progress) -> None:
        self.pool, self.settings = pool, settings
        self.done = 0
        """Number of records folded by this builder."""
        self.refused = 0
        """Number of those that cannot be folded: the live projector has put them into ``dead-letters``."""
        self._log = log
        self._progress = progress
        erasure = None if settings.encryption == "off" else Erasure(settings, keys=False)
        self._projection = Projection(pool, self._count_refused, NoListener(), settings.outcomes_kept_s, erasure)
        self._reader: LogReader | None = None
        self._reading: asyncio.Task[list[Record]] | None = None
        self._ahead: list[Record] = []
        """Records that were read ahead of the requested ends."""

    @property
    def schema(self) -> str:
        return self.settings.projection

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset to fold of each partition."""
        return self._projection.positions

    def left(self, ends: Mapping[TopicPartition, int]) -> int:
        """Return the number of records to fold up to these positions."""
        return sum(max(0, end - self._projection.positions.get(partition, 0)) for partition, end in ends.items())

    async def open(self, beginning: Snapshots | None = None) -> None:
        """Read positions, and all other state that outlives a batch, from the schema; where nothing is folded and the log was cut, rows
        from its snapshots first. ``beginning``: partitions to begin with these instead, cut or not. Raises as `restore`."""
        if beginning is None:
            await restore(self._log, self.pool, self.schema, range(self._log.partitions))
        else:
            for part, taken in beginning.items():
                await restore_partition(self._log, self.pool, self.schema, part, taken)
        await self._projection.open([(topic, p) for topic in ev.FOLDED_TOPICS for p in range(self._log.partitions)])

    async def fold_to(self, ends: Mapping[TopicPartition, int]) -> None:
        """Fold all records below ``ends``, and none beyond. Raises OtherLog when the log does not hold all of it."""
        left = self.left(ends)
        if not left:
            return
        await self._check(ends)
        total = self.done + left
        batch = self._within(ends, self._take_ahead())
        while True:
            while len(batch) < min(left, BATCH_RECORDS) and _size(batch) < BATCH_BYTES:
                batch += self._within(ends, await self._read())
            await self._projection.project(batch)
            if self._projection.went_back:
                await self._read_again()
            left = self.left(ends)
            self.done = total - left
            self._progress(self.done, total)
            if not left:
                return
            batch = []

    async def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._reader is not None:
            await self._reader.stop()

    async def _read_again(self) -> None:
        """Read again from the positions in Postgres, which has lost commits."""
        await self.stop()
        self._reader = self._reading = None
        self._ahead = []
        self._projection.went_back = False

    async def _read(self) -> list[Record]:
        """Return the next records; the read after them is under way while they are folded."""
        if self._reader is None:
            self._reader = self._log.reader(ev.FOLDED_TOPICS, self._projection.positions)
        reading = self._reading or asyncio.create_task(self._reader.read(BATCH_RECORDS))
        self._reading = None
        try:
            records = await reading
        except asyncio.CancelledError:
            reading.cancel()
            raise
        if self.settings.encryption == "off" and any(envelope.SEALED in record.headers for record in records):
            raise RebuildError("the log holds encrypted records: set LANGLOG_ENCRYPTION (and LANGLOG_MASTER_KEY)")
        self._reading = asyncio.create_task(self._reader.read(BATCH_RECORDS))
        return records

    def _within(self, ends: Mapping[TopicPartition, int], records: Sequence[Record]) -> list[Record]:
        accepted = []
        for record in records:
            if record.offset < ends.get((record.topic, record.partition), 0):
                accepted.append(record)
            else:
                self._ahead.append(record)
        return accepted

    def _take_ahead(self) -> list[Record]:
        ahead, self._ahead = self._ahead, []
        return ahead

    async def _check(self, ends: Mapping[TopicPartition, int]) -> None:
        for topic in ev.FOLDED_TOPICS:
            for part, end in enumerate(await self._log.end_offsets(topic)):
                if ends.get((topic, part), 0) > end:
                    there = {(topic, part): ends[topic, part]}
                    trouble = same_log.ahead(there, {(topic, part): end}, "beside which this is built")
                    raise same_log.OtherLog(f"{trouble}: {same_log.REMEDY}")

    async def _count_refused(self, bad: Refused) -> None:
        self.refused += len(bad)


@contextlib.asynccontextmanager
async def building(
    log: Log,
    live: Settings,
    schema: str,
    progress: Progress,
    *,
    keep: bool = True,
    as_it_is: bool = False,
    beginning: Snapshots | None = None,
) -> AsyncIterator[Builder]:
    """Yield a builder of the schema. ``keep``: continue an earlier builder's work, if it was of this version of langlog.
    ``as_it_is``: the schema must exist already. ``beginning``: see `Builder.open`.

    Raises RebuildError if another builder is at work on it, it does not exist, or the log is being cut; StartError.
    """
    settings = replace(live, projection=schema)
    # a lost commit is folded again
    pool = await connect_pool(settings, size=2, synchronous_commit="off")
    try:
        async with pool.acquire() as guard:
            if not await guard.fetchval(SQL["try_lock"], f"langlog.operations.rebuild.{schema}"):
                raise RebuildError(f"another process is building {schema}: wait until it is done")
            shared = False
            try:
                shared = await guard.fetchval(SNAPSHOT["share_log"], reading(live))
                if not shared:
                    raise RebuildError("the log is being cut: try again when that is over")
                await _prepare(log, pool, settings, keep=keep, as_it_is=as_it_is)
                builder = Builder(log, pool, settings, progress)
                try:
                    await builder.open(beginning)
                    yield builder
                finally:
                    await builder.stop()
            finally:
                if shared:
                    await guard.execute(SNAPSHOT["unshare_log"], reading(live))
                await guard.execute(SQL["unlock"], f"langlog.operations.rebuild.{schema}")
    finally:
        await pool.close()


def reading(live: Settings) -> str:
    """Return the name of the lock that builders beside a read model share, and that a cut of the log needs alone."""
    return f"langlog.reading.{live.projection}"


async def _prepare(log: Log, pool: asyncpg.Pool, settings: Settings, *, keep: bool, as_it_is: bool) -> None:
    schema, mark = settings.projection, _mark()
    state = await pool.fetchrow(SQL["schema"], schema)
    cut = ahead = None
    if state is not None and (keep or as_it_is):
        positions = await live_positions(pool) or {}
        cut = same_log.behind(positions, await starts_of(log), schema)
        ahead = same_log.ahead(positions, await same_log.bounds(log.end_offsets), schema)
    if as_it_is:
        if state is None:
            raise RebuildError(f"there is no schema {schema}")
        if cut is not None:
            raise RebuildError(f"{cut}: it cannot be brought up to date (--drop-old deletes it)")
        if ahead is not None:
            raise RebuildError(f"{ahead}: it cannot be brought up to date (--drop-old deletes it)")
        return
    if state is not None and (cut is not None or ahead is not None or not (keep and state["mark"] == mark)):
        await pool.execute(f"DROP SCHEMA {schema} CASCADE")
    await ensure_read_model(pool, settings)
    await pool.execute(f"COMMENT ON SCHEMA {schema} IS '{mark}'")


def _mark() -> str:
    """Return the conditions under which another builder may continue the work of this one."""
    ddl = files("langlog_backbone").joinpath("sql", "read_model.sql").read_bytes()
    return f"langlog {version('langlog')} {hashlib.sha256(ddl).hexdigest()[:16]}"


# --- beside the live model --------------------------------------------------------------------


async def live_positions(pool: asyncpg.Pool) -> Positions | None:
    """Return the positions of the live model; None without one."""
    try:
        rows = await pool.fetch(SQL["positions"])
    except asyncpg.UndefinedTableError:
        return None
    return {(topic, part): offset for topic, part, offset in rows}


@contextlib.asynccontextmanager
async def held(pool: asyncpg.Pool) -> AsyncIterator[tuple[asyncpg.Connection, Positions]]:
    """Stop the live projector for the duration of a block, in a transaction; yield how far the live model is meanwhile.

    Readers go on. Raises RebuildError when the projector does not end its own transaction in time.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        try:
            await connection.execute(SQL["hold"])
        except asyncpg.LockNotAvailableError:
            raise RebuildError(f"the live projector did not end a transaction within {LOCK_TIMEOUT_MS} ms") from None
        rows = await connection.fetch(SQL["positions"])
        yield connection, {(topic, part): offset for topic, part, offset in rows}


async def catch_up(builder: Builder, live: asyncpg.Pool) -> None:
    """Fold until few records are missing to the live model. Raises RebuildError if that advances faster than this fold."""
    for _ in range(CLOSE_TRIES):
        ends = await live_positions(live)
        assert ends is not None
        if builder.left(ends) <= CLOSE_RECORDS:
            return
        await builder.fold_to(ends)
    raise RebuildError(
        f"rebuild of {builder.schema} cannot catch up: the live projection advances faster than it can be replayed; try at a quieter hour"
    )


async def follow_log(builder: Builder, log: Log) -> None:
    """Fold to the end of the log, without a live model to stay behind."""
    ends = {(topic, p): end for topic in ev.FOLDED_TOPICS for p, end in enumerate(await log.end_offsets(topic))}
    await builder.fold_to(ends)


def _size(records: Sequence[Record]) -> int:
    return sum(len(record.value) for record in records)
