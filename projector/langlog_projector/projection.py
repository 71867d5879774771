"""One read model being folded: its positions, the state that outlives a batch, and the writing of batches.

The live projector and a rebuild use the same class with different listeners. A batch is folded in memory and written in one
transaction with the positions (`batch`). A record that cannot be folded, or that Postgres refuses (found by halving the batch), parks its
key (`parking`): the position passes it and all later records of the key; other keys are unaffected (a release folds them later). So does one
that Postgres alone fails at by an internal error, for some time (`internal_errors`).

Concurrency: one call of `open`, `project` or `check` at a time, by the owner of the partitions. If another owner has moved the positions
meanwhile, `PositionsMoved` is raised, and the records that it folded are skipped.
Death: uncommitted records are folded again from the saved positions. Postgres may also lose commits (a crash with
``synchronous_commit=off``, a failover to an asynchronous replica): the saved positions went back then, and `went_back` asks the
owner to read the log again from there. A batch is written only if it begins at the saved positions.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import timedelta
from typing import Any

import asyncpg
import structlog
from langlog_backbone.log import Record, TopicPartition
from langlog_backbone.log.dead_letters import error_text
from langlog_backbone.log.foreign_records import storable
from langlog_backbone.metrics import table
from langlog_backbone.metrics.deferred import later
from langlog_backbone.postgres.kept_connection import KeptConnection
from langlog_backbone.postgres.pool import ACQUIRE_S
from langlog_backbone.process import tracing
from langlog_backbone.process.retry import MAX_PAUSE_S, READ_LIMIT_S, Availability, until_available
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import is_internal, is_unavailable, may_pass, own_fault
from langlog_backbone.time.sources import machine_time_ns, monotonic
from langlog_schemas import envelope
from langlog_schemas.envelope import Cause

from .apply import SQL, PositionsMoved, Step, apply
from .batch import Batch, Unfoldable
from .erasure import Erasure
from .folding.changes import Changes
from .folding.dead_letters import Origin
from .folding.fold import Fences, ReceivedParts
from .internal_errors import Trial, record_at_fault
from .listener import Listener, PublishDeadLetter, Refused
from .parking import Parked, origin_of, release_events, releases_events, take_parked

logger = structlog.get_logger(__name__)

_folded = functools.cache(table.FOLDED.labels)

RETRY_PAUSE_S = 0.5
"""Seconds before a write that failed is tried again; doubled each time, up to `MAX_PAUSE_S`."""
INTERNAL_S = 15.0
"""Seconds for which Postgres has to fail by internal errors before a record may be at fault: many are over at the next attempt."""
PUBLISHED_REMEMBERED = 10_000
"""Maximum number of records that are remembered because their dead letter is in the log."""
WRITE_LIMIT_S = 120.0
"""Seconds for writing one batch. A connection whose peer has vanished stays silent: the batch is written again on another one."""


class Projection:
    def __init__(
        self,
        pool: asyncpg.Pool | KeptConnection,
        publish_dead_letter: PublishDeadLetter,
        listener: Listener,
        outcomes_kept_s: float = Settings().outcomes_kept_s,
        erasure: Erasure | None = None,
        partition_of: Callable[[str], int] | None = None,
    ) -> None:
        """``partition_of``: the log's function from a thread's id to its partition; None: all threads are folded here."""
        self._partition_of = partition_of
        self.availability = Availability("projector")
        self.opening = Availability("projector.positions")
        """Availability of reads of the positions, which succeed where only writes fail."""
        self._opened_at = monotonic()
        self._failed_writes = 0
        """Number of writes that failed since the last one that did not."""
        self._internal_since: float | None = None
        """Since when writes fail by internal errors of Postgres."""
        self._pool = pool
        self._erasure = erasure
        self._publish_dead_letter = publish_dead_letter
        self._listener = listener
        self._outcomes_kept = timedelta(seconds=outcomes_kept_s)
        self._fences = Fences()
        self._parked = Parked()
        self._published: OrderedDict[Origin, None] = OrderedDict()
        """Records whose dead letter is in the log: a batch that is written again publishes none a second time."""
        self.positions: dict[TopicPartition, int] = {}
        """The next offset to fold of each open partition."""
        self.went_back = False
        """Whether records are missing between the positions and what is read: the log is to be read again from the positions."""

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Read the positions from Postgres, and the state that outlives a batch. Raises what `UNAVAILABLE_ERRORS` lists."""
        async with self._connection() as connection:
            return await self._open(connection, partitions)

    def _connection(self) -> Any:
        return self._pool.acquire(timeout=ACQUIRE_S)

    async def _open(
        self, connection: asyncpg.Connection, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        topics, parts = [t for t, _ in partitions], [p for _, p in partitions]
        await connection.execute(SQL["open_positions"], topics, parts)
        rows = await connection.fetch(SQL["read_positions"], topics, parts)
        attempts = await connection.fetch(SQL["read_attempts"])
        await self._read_parts(connection, {part for _, part in (*partitions, *self.positions)})
        await self._parked.read(connection)
        offsets: dict[TopicPartition, int] = {}
        for topic, part, offset, cause_offset, index, count in rows:
            offsets[topic, part] = offset
            if cause_offset >= 0:
                self._fences.causes[topic, part] = Cause(part, cause_offset, index, count)
            else:  # lost with its commit: what it stands for is to be folded again
                self._fences.causes.pop((topic, part), None)
        self._fences.attempts = {row["run_id"]: row["attempt"] for row in attempts}
        self.positions.update(offsets)
        self._opened_at = monotonic()
        return offsets

    async def _read_parts(self, connection: asyncpg.Connection, partitions: Set[int]) -> None:
        """Read the parts of unfinished bodies in these partitions, as Postgres has them. Those in memory are not read again: an id is
        never that of another body."""
        known, self._fences.parts = self._fences.parts, {}
        absent: list[tuple[str, int]] = []
        for blob_id, index, run_id, thread_id in await connection.fetch(SQL["part_keys"]):
            if self._partition_of is not None and thread_id and self._partition_of(thread_id) not in partitions:
                continue
            received = self._fences.parts.setdefault(blob_id, ReceivedParts(run_id, {}))
            chunk = known[blob_id].chunks.get(index) if blob_id in known else None
            if chunk is None:
                absent.append((blob_id, index))
            else:
                received.chunks[index] = chunk
        if absent:
            for blob_id, index, data in await connection.fetch(
                SQL["read_parts"], *map(list, zip(*absent, strict=True))
            ):
                self._fences.parts[blob_id].chunks[index] = data

    @property
    def away_s(self) -> float:
        """Return the seconds for which neither a write nor reading the positions succeeds; 0 while either does."""
        return min(max(self.availability.failing_s, self.opening.failing_s), monotonic() - self._opened_at)

    def close(self, partitions: Collection[TopicPartition]) -> None:
        """Drop partitions that now belong to another owner."""
        for partition in partitions:
            self.positions.pop(partition, None)
            self._fences.causes.pop(partition, None)

    def abandon(self) -> None:
        """Drop an interrupted batch, and all partitions."""
        self._listener.dropped()
        self.close(list(self.positions))
        self.went_back = False
        self._opened_at = monotonic()

    def next(self, records: Sequence[Record]) -> list[Record]:
        """Return the records that continue from the positions: records that were read before a change of ownership are read
        again by the owner.

        A record that begins beyond them sets `went_back`.
        """
        expected = dict(self.positions)
        new_records = []
        for record in records:
            partition = (record.topic, record.partition)
            offset = expected.get(partition)
            if offset is None:
                continue
            if record.offset == offset:
                expected[partition] += 1
                new_records.append(record)
            elif record.offset > offset:
                self.went_back = True
        return new_records

    async def check(self) -> None:
        """Compare the positions with the saved ones: after a lost connection Postgres may have forgotten the last commits."""
        partitions = list(self.positions)
        try:
            with self.opening.attempt():
                async with asyncio.timeout(READ_LIMIT_S), self._connection() as connection:
                    rows = await connection.fetch(
                        SQL["read_positions"], [t for t, _ in partitions], [p for _, p in partitions]
                    )
        except Exception as error:
            if not may_pass(error):
                raise
        else:
            if {(row["topic"], row["part"]): row["offset"] for row in rows} == self.positions:
                await self._recover()
                return
        await self._reopen()

    async def _recover(self) -> None:
        """Find out whether writes succeed again, if the last one failed: another owner may have folded what it was about."""
        if self.availability.failing_s:
            try:
                with self.availability.attempt():
                    async with asyncio.timeout(READ_LIMIT_S):
                        await self.check_writes()
            except Exception as error:
                if not may_pass(error):
                    raise

    async def check_writes(self) -> None:
        """Raise what writing a batch would, if tables are locked or the server is read-only; changes nothing."""
        with self.opening.attempt():
            async with self._connection() as connection:
                await connection.execute(SQL["write_nothing"])

    async def project(self, records: Sequence[Record]) -> None:
        """Fold and write those of the records that continue from the positions.

        When it returns, they are committed, or the positions went back and `went_back` is set.
        """
        await self._project([storable(record) for record in self.next(records)])
        if not self.went_back:
            self.availability.succeeded()  # also where the last write was found to be committed, or another owner's
            self._internal_since = None

    async def _project(self, records: Sequence[Record]) -> None:
        while records:
            if releases_events(records[0]):
                await self._release(records[0])
                records = records[1:]
                continue
            batch = self._batch()
            began_ns = machine_time_ns()
            try:
                batch.fold(records)
                with self.availability.attempt():
                    await self._publish_dead_letters(batch.bad)
                    async with asyncio.timeout(WRITE_LIMIT_S), self._connection() as connection:
                        await self._write(connection, batch)
            except PositionsMoved:
                logger.warning("projector.positions_moved", partitions=len(batch.steps))
                self._listener.dropped()
                await self._reopen()
                records = self.next(records)
            except Exception as error:
                if not isinstance(error, Unfoldable | asyncpg.PostgresError) and not is_unavailable(error):
                    raise
                if not isinstance(error, Unfoldable) and not own_fault(error):
                    records = await self._after_failure(error, batch, records)
                    continue
                self._listener.dropped()
                await self._reopen()
                if isinstance(error, Unfoldable):
                    records = self.next(records)
                elif len(batch.records) == 1:
                    self._parked.refused[origin_of(records[0])] = error_text(error)
                    records = self.next(records)
                else:
                    count, middle = len(batch.records), len(batch.records) // 2
                    logger.warning("projector.batch_refused", records=count, error=error_text(error))
                    await self._project(records[:middle])
                    await self._project(records[middle:count])
                    records = self.next(records[count:])
            else:
                await self._written(batch, began_ns)
                records = records[len(batch.records) :]

    async def _publish_dead_letters(self, bad: Refused) -> None:
        """Publish dead letters that are not in the log yet. Raises what the log does."""
        new = [(record, why) for record, why in bad if origin_of(record) not in self._published]
        if not new:
            return
        await self._publish_dead_letter(new)
        self._published.update((origin_of(record), None) for record, _ in new)
        while len(self._published) > PUBLISHED_REMEMBERED:
            self._published.popitem(last=False)

    def _batch(self) -> Batch:
        erases = self._erasure is not None
        return Batch(self._fences, self._parked, self._listener, self._outcomes_kept, erases=erases)

    async def _written(self, batch: Batch, began_ns: int) -> None:
        """Advance the positions past a batch that is committed, and notify the listener."""
        self._failed_writes = 0
        self.positions.update({partition: step.after for partition, step in batch.steps.items()})
        _count(batch.steps)
        if tracing.on():
            _trace(batch.records, began_ns)
        await self._listener.committed(batch.steps, empty=batch.changes.empty)
        if batch.ended:
            # attempts of runs that only the parked events would have ended: the thread took their rows along
            await self._reopen()

    async def _wait_for_postgres(self, error: Exception, batch: Batch) -> None:
        """Wait until Postgres is back after a write that failed, and notify the listener of what became of the batch."""
        await self._pause(error)
        await self._reopen()
        if batch.steps and all(self.positions[partition] >= step.after for partition, step in batch.steps.items()):
            # the connection was lost over the commit, which has happened
            self._listener.removed(dict.fromkeys(batch.changes.removed_threads))
            await self._listener.committed(batch.steps)
        else:
            self._listener.dropped()

    async def _after_failure(self, error: Exception, batch: Batch, records: Sequence[Record]) -> Sequence[Record]:
        """Wait, or find the record that Postgres alone fails at. Return the records that are to be written next."""
        if not self._lasts(error):
            await self._wait_for_postgres(error, batch)
        elif not await self._parks_alone(error, batch.records):
            await self._wait_for_postgres(error, batch)
            self.went_back = True  # read again with what has arrived meanwhile, which may tell more
            return ()
        return self.next(records)

    def _lasts(self, error: Exception) -> bool:
        """Return whether Postgres has failed by internal errors for `INTERNAL_S`."""
        if not is_internal(error):
            return False
        now = monotonic()
        self._internal_since = now if self._internal_since is None else self._internal_since
        return now - self._internal_since >= INTERNAL_S

    async def _parks_alone(self, error: Exception, records: Sequence[Record]) -> bool:
        """Find the record that Postgres alone fails at, to be parked. Return whether there is one."""
        culprit = await record_at_fault(records, self._tried)
        if culprit is None:
            return False
        logger.warning(
            "projector.fails_at_one_key", topic=culprit.topic, offset=culprit.offset, error=error_text(error)
        )
        self._parked.refused[origin_of(culprit)] = error_text(error)
        return True

    async def _tried(self, records: Sequence[Record]) -> Trial:
        """Return whether Postgres refuses these records at the moment. Changes nothing."""
        failure, wrote = None, False
        try:
            async with asyncio.timeout(WRITE_LIMIT_S), self._connection() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    while records:
                        batch = self._batch()
                        batch.fold(records)
                        await apply(connection, batch.changes, {})
                        wrote = batch.changes.of_objects
                        records = records[len(batch.records) or 1 :]
                finally:
                    await transaction.rollback()
        except Exception as error:
            failure = error
        self._listener.dropped()
        await self._reopen()
        return Trial(failure, wrote)

    async def _pause(self, error: Exception) -> None:
        self.availability.failed(error)
        pause_s = min(RETRY_PAUSE_S * 2**self._failed_writes, MAX_PAUSE_S)
        self._failed_writes = min(self._failed_writes + 1, 8)
        await asyncio.sleep(pause_s)  # nothing signals that the server is back

    async def _release(self, release: Record) -> None:
        """Fold the waiting events of a key, one by one, until one cannot be folded. Continues where it stood if it is done again.
        A request that names what cannot be there is passed over."""
        partition = (release.topic, release.partition)
        refused = False
        while True:
            try:
                with self.availability.attempt():
                    async with self._connection() as connection:
                        if not refused:
                            await release_events(connection, release, self._fold_parked)
                        step = Step(release.offset, release.offset + 1, self._fences.causes.get(partition))
                        await apply(connection, Changes(), {partition: step})
                        await self._parked.read(connection)
            except PositionsMoved:
                self._listener.dropped()
                await self._reopen()
                if not self.next([release]):
                    return
            except Exception as error:
                if not refused and own_fault(error):
                    logger.error("projector.release_not_understood", offset=release.offset, error=error_text(error))
                    refused = True
                    self._listener.dropped()
                    await self._reopen()
                    continue
                if not isinstance(error, asyncpg.PostgresError) and not is_unavailable(error):
                    raise
                self._listener.dropped()
                await self._pause(error)
                await self._reopen()
                if not self.next([release]):
                    return
            else:
                self.positions[partition] = step.after
                await self._listener.committed({partition: step})
                return

    async def _fold_parked(self, connection: asyncpg.Connection, record: Record) -> str | None:
        """Fold an event that was parked, and delete its row in the same transaction. Return why it still cannot be folded, if so."""
        batch = self._batch()
        try:
            async with connection.transaction():
                await take_parked(connection, record)
                folded = batch.fold_parked(record)
                await self._write(connection, batch)
        except PositionsMoved:
            raise
        except Exception as error:
            if may_pass(error) and not is_internal(error):
                raise
            await self._open(connection, list(self.positions))  # what the fold changed along the way is not true
            return error_text(error)
        self._parked.refused.pop(origin_of(record), None)
        if folded is not None:
            self._listener.folded(*folded, None)
        return None

    async def _write(self, connection: asyncpg.Connection, batch: Batch) -> None:
        changes = batch.changes
        if self._erasure is None or not (batch.erased or changes.webhook_steps):
            removed = await apply(connection, changes, batch.steps)
        else:
            async with connection.transaction():
                if batch.erased:
                    await self._erasure.before(connection, batch.erased)
                removed = await apply(connection, changes, batch.steps)
                await self._erasure.after(connection, changes)
        if removed:
            self._listener.removed(removed)

    async def _reopen(self) -> None:
        """After a failed commit, discard the state that the fold changed, and read it again. Sets `went_back`."""
        before = dict(self.positions)

        await until_available(lambda: self.open(list(self.positions)), on=self.opening, limit_s=READ_LIMIT_S)
        lost = sum(max(0, offset - self.positions[partition]) for partition, offset in before.items())
        if lost:
            logger.warning("projector.positions_went_back", records=lost)
            self.went_back = True


def _count(steps: Mapping[TopicPartition, Step]) -> None:
    for (topic, _), step in steps.items():
        later(_folded(topic).inc, step.after - step.before)


def _trace(records: Sequence[Record], began_ns: int) -> None:
    """Record one span for each record with a trace: the time of folding and writing, and the size of the batch."""
    for record in records:
        parent = record.headers.get("ce_traceparent")
        if parent is not None:
            about: tracing.Attributes = {
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
                "messaging.batch.message_count": len(records),
            }
            tracing.passed(f"project {envelope.type_of(record.headers)}", about, parent=parent, began_ns=began_ns)
