"""One read model being folded: its positions, the state that outlives a batch, and the writing of batches.

The live projector and a rebuild use the same class with different listeners. A batch is folded in memory and written in one
transaction with the positions. A record that cannot be folded, or that Postgres refuses (found by halving the batch), parks its
key (`parking`): the position passes it and all later records of the key; other keys are unaffected.

Concurrency: one call of `open`, `project` or `check` at a time, by the owner of the partitions. If another owner has moved the positions
meanwhile, `PositionsMoved` is raised, and the records that it folded are skipped.
Death: uncommitted records are folded again from the saved positions. Postgres may also lose commits (a crash with
``synchronous_commit=off``, a failover to an asynchronous replica): the saved positions went back then, and `went_back` asks the
owner to read the log again from there. A batch is written only if it begins at the saved positions.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import structlog
from langlog_backbone.log import Record, TopicPartition
from langlog_backbone.log.dead_letters import error_text
from langlog_backbone.metrics import table
from langlog_backbone.postgres.pool import ACQUIRE_S
from langlog_backbone.process import tracing
from langlog_backbone.process.retry import READ_LIMIT_S, Availability, until_available
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.time.sources import machine_time_ns
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause

from .announce import reply_to
from .apply import SQL, PositionsMoved, Step, apply
from .erasure import Erasure
from .folding.changes import Changes
from .folding.dead_letters import SQL as DEAD_LETTER_SQL
from .folding.dead_letters import parsed_origin
from .folding.fold import Fences, Fold, ReceivedParts
from .folding.outcomes import Outcome
from .folding.removals import deletion_in, removes_thread
from .listener import Listener, PublishDeadLetter
from .parking import Parked, ParkedEvent, origin_of, own_fault, parked_events, releases_events

logger = structlog.get_logger(__name__)

_folded = functools.cache(table.FOLDED.labels)

RETRY_PAUSE_S = 0.5
WRITE_LIMIT_S = 120.0
"""Seconds for writing one batch. A connection whose peer has vanished stays silent: the batch is written again on another one."""


class _Unfoldable(Exception):
    """Folding a record failed midway: the changes collected so far must not be written."""


class Projection:
    def __init__(
        self,
        pool: asyncpg.Pool,
        publish_dead_letter: PublishDeadLetter,
        listener: Listener,
        outcomes_kept_s: float = Settings().outcomes_kept_s,
        erasure: Erasure | None = None,
    ) -> None:
        self.availability = Availability("projector")
        self._pool = pool
        self._erasure = erasure
        self._gone: list[str] = []
        """Threads that the current batch removes."""
        self._publish_dead_letter = publish_dead_letter
        self._listener = listener
        self._outcomes_kept = timedelta(seconds=outcomes_kept_s)
        self._fences = Fences()
        self._parked = Parked()
        self._ended = False
        """Whether the current batch ends with the deletion of a thread whose key is parked."""
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
        parts_received = await connection.fetch(SQL["read_parts"])
        await self._parked.read(connection)
        offsets: dict[TopicPartition, int] = {}
        for topic, part, offset, cause_offset, index, count in rows:
            offsets[topic, part] = offset
            if cause_offset >= 0:
                self._fences.causes[topic, part] = Cause(part, cause_offset, index, count)
            else:  # lost with its commit: what it stands for is to be folded again
                self._fences.causes.pop((topic, part), None)
        self._fences.attempts = {row["run_id"]: row["attempt"] for row in attempts}
        self._fences.parts = {}
        for blob_id, index, run_id, data in parts_received:
            self._fences.parts.setdefault(blob_id, ReceivedParts(run_id, {})).chunks[index] = data
        self.positions.update(offsets)
        return offsets

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
            with self.availability.attempt():
                async with asyncio.timeout(READ_LIMIT_S), self._connection() as connection:
                    rows = await connection.fetch(
                        SQL["read_positions"], [t for t, _ in partitions], [p for _, p in partitions]
                    )
        except Exception as error:
            if not is_unavailable(error):
                raise
        else:
            if {(row["topic"], row["part"]): row["offset"] for row in rows} == self.positions:
                return
        await self._reopen()

    async def project(self, records: Sequence[Record]) -> None:
        """Fold and write those of the records that continue from the positions.

        When it returns, they are committed, or the positions went back and `went_back` is set.
        """
        records = self.next(records)
        while records:
            if releases_events(records[0]):
                await self._release(records[0])
                records = records[1:]
                continue
            fold = Fold(self._fences)
            batch: Sequence[Record] = records
            steps: dict[TopicPartition, Step] = {}
            began_ns = machine_time_ns()
            try:
                count, bad = self._fold(records, fold)
                batch, rest = records[:count], records[count:]
                steps = self._steps(batch)
                with self.availability.attempt():
                    if bad:
                        await self._publish_dead_letter(bad)
                    async with asyncio.timeout(WRITE_LIMIT_S), self._connection() as connection:
                        await self._write(connection, fold.changes, steps)
            except PositionsMoved:
                logger.warning("projector.positions_moved", partitions=len(steps))
                self._listener.dropped()
                await self._reopen()
                records = self.next(records)
            except Exception as error:
                if not isinstance(error, _Unfoldable | asyncpg.PostgresError) and not is_unavailable(error):
                    raise
                if not isinstance(error, _Unfoldable) and not own_fault(error):
                    await self._wait_for_postgres(error, fold, steps)
                    records = self.next(records)
                    continue
                self._listener.dropped()
                await self._reopen()
                if isinstance(error, _Unfoldable):
                    records = self.next(records)
                elif len(batch) == 1:
                    self._parked.refused[origin_of(batch[0])] = error_text(error)
                    records = self.next(records)
                else:
                    logger.warning("projector.batch_refused", records=len(batch), error=error_text(error))
                    middle = len(batch) // 2
                    await self.project(batch[:middle])
                    await self.project(batch[middle:])
                    records = self.next(rest)
            else:
                await self._written(batch, fold, steps, began_ns)
                records = rest

    async def _written(
        self, batch: Sequence[Record], fold: Fold, steps: Mapping[TopicPartition, Step], began_ns: int
    ) -> None:
        """Advance the positions past a batch that is committed, and notify the listener."""
        self.positions.update({partition: step.after for partition, step in steps.items()})
        _count(steps)
        if tracing.on():
            _trace(batch, began_ns)
        await self._listener.committed(steps, empty=fold.changes.empty)
        if self._ended:
            # attempts of runs that only the parked events would have ended: the thread took their rows along
            await self._reopen()

    async def _wait_for_postgres(self, error: Exception, fold: Fold, steps: Mapping[TopicPartition, Step]) -> None:
        """Wait until Postgres is back after a write that failed, and notify the listener of what became of the batch."""
        self.availability.failed(error)
        await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the server is back
        await self._reopen()
        if steps and all(self.positions[partition] >= step.after for partition, step in steps.items()):
            # the connection was lost over the commit, which has happened
            self._listener.removed(dict.fromkeys(fold.changes.removed_threads))
            await self._listener.committed(steps)
        else:
            self._listener.dropped()

    def _steps(self, records: Sequence[Record]) -> dict[TopicPartition, Step]:
        begins: dict[TopicPartition, int] = {}
        ends: dict[TopicPartition, int] = {}
        for record in records:
            partition = (record.topic, record.partition)
            begins.setdefault(partition, record.offset)
            ends[partition] = record.offset + 1
        return {
            partition: Step(begins[partition], after, self._fences.causes.get(partition))
            for partition, after in ends.items()
        }

    def _fold(self, records: Sequence[Record], fold: Fold) -> tuple[int, list[tuple[Record, str]]]:
        """Fold as many records as may be written together; return their number, and what cannot be folded with what is wrong with it.

        Raises _Unfoldable when what is gathered is spoilt; the record is known for bad from then on.
        """
        bad: list[tuple[Record, str]] = []
        self._gone, self._ended = [], False
        for n, record in enumerate(records):
            partition = (record.topic, record.partition)
            if record.topic == ev.DEAD_LETTERS:
                if releases_events(record):
                    return n, bad
                _add_dead_letter(record, fold)
                continue
            event = cause = None
            decoded: ev.AnyEvent | str | None
            try:
                cause = envelope.cause_of(record.headers)
                if cause is not None and self._fences.duplicate(record.topic, cause):
                    continue
                decoded = self._event_of(record, fold) or deletion_in(record)
            except Exception as error:
                decoded = error_text(error)  # its cause is passed: what is written again of it is no other record
            if isinstance(decoded, str):
                bad.append((record, decoded))
                self._park(record, decoded, fold)
                decoded = deletion_in(record)
            if decoded is not None:
                if n and fold.must_wait(decoded):
                    return n, bad
                if not self._fold_event(decoded, record, fold):
                    continue
                record, event = _whole(record, decoded, fold)
            if cause is not None:
                self._fences.causes[partition] = cause
            if event is not None and self._folded(record, event, cause, fold):
                return n + 1, bad
        return len(records), bad

    def _fold_event(self, event: ev.AnyEvent, record: Record, fold: Fold) -> bool:
        """Fold an event; return False if it was dropped. Raises _Unfoldable, and remembers the record as bad."""
        try:
            return fold.event(event, record.headers["ce_time"], record.offset, record.partition)
        except Exception as error:
            self._parked.refused[origin_of(record)] = error_text(error)
            raise _Unfoldable from error

    def _event_of(self, record: Record, fold: Fold) -> ev.AnyEvent | str | None:
        """Return the event to fold, or the earlier error of the record; None: it is erased, dropped, or waits behind its key.

        Raises whatever is wrong with the record.
        """
        parked, type_name = self._parked, envelope.type_of(record.headers)
        if envelope.ERASED in record.headers or (parked.dropped and origin_of(record) in parked.dropped):
            return None
        if parked.keys and (record.topic, record.key) in parked.keys and type_name != ev.ThreadDeleted.TYPE:
            fold.changes.dead_letters.park(origin_of(record), record, None)
            return None
        if (known := parked.refused.get(origin_of(record))) is not None:
            return known
        if "ce_time" not in record.headers:
            raise KeyError("ce_time")
        return ev.decode(type_name, record.value)

    def _park(self, record: Record, why: str, fold: Fold) -> None:
        """Park a record that cannot be folded: it and all later ones of its key wait."""
        fold.changes.dead_letters.park(origin_of(record), record, why)
        self._parked.keys.add((record.topic, record.key))
        self._listener.parked(record.key)

    def _folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None, fold: Fold) -> bool:
        """Notify the listener; return whether the event ends the batch, because it removed a thread with parked events."""
        if cause is not None:
            self._note_gone(event, fold)
            self._outcome(record, event, fold)
        self._listener.folded(record, event, cause)
        parked = (record.topic, record.key)
        if not removes_thread(event) or parked not in self._parked.keys:
            return False
        fold.changes.dead_letters.forget(*parked)
        self._parked.keys.discard(parked)
        self._ended = True
        return True

    async def _release(self, release: Record) -> None:
        """Fold the waiting events of a key, one by one, until one cannot be folded. Continues where it stood if it is done again."""
        partition = (release.topic, release.partition)
        while True:
            try:
                with self.availability.attempt():
                    async with self._connection() as connection:
                        await self._release_events(connection, release)
                        step = Step(release.offset, release.offset + 1, self._fences.causes.get(partition))
                        await apply(connection, Fold(Fences()).changes, {partition: step})
                        await self._parked.read(connection)
            except PositionsMoved:
                self._listener.dropped()
                await self._reopen()
                if not self.next([release]):
                    return
            except Exception as error:
                if not isinstance(error, asyncpg.PostgresError) and not is_unavailable(error):
                    raise
                self.availability.failed(error)
                self._listener.dropped()
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the server is back
                await self._reopen()
                if not self.next([release]):
                    return
            else:
                self.positions[partition] = step.after
                await self._listener.committed({partition: step})
                return

    async def _release_events(self, connection: asyncpg.Connection, release: Record) -> None:
        try:
            request = ev.decode(ev.ParkedEventsReleased.TYPE, release.value)
            time = datetime.fromisoformat(release.headers["ce_time"])
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            logger.error("projector.release_not_understood", offset=release.offset, error=error_text(error))
            return
        assert isinstance(request, ev.ParkedEventsReleased)
        origin = parsed_origin(request.drop or "")
        if origin is not None:
            await connection.execute(DEAD_LETTER_SQL["drop_event"], *origin, request.aggregate_id, time)
        stuck: set[str] = set()
        for parked in await parked_events(connection, request.aggregate_id):
            if parked.record.topic not in stuck and not await self._fold_parked(connection, parked):
                stuck.add(parked.record.topic)

    async def _fold_parked(self, connection: asyncpg.Connection, parked: ParkedEvent) -> bool:
        """Fold a parked event and delete its row in the same transaction; return whether it could be folded. Its cause was
        passed when it was parked."""
        record, fold = parked.record, Fold(self._fences)
        self._gone = []
        try:
            async with connection.transaction():
                taken: str = await connection.execute(DEAD_LETTER_SQL["take"], *parked.origin)
                if not taken.endswith(" 1"):
                    raise PositionsMoved
                event = ev.decode(envelope.type_of(record.headers), record.value)
                counts = fold.event(event, record.headers["ce_time"], record.offset, record.partition)
                if counts:
                    self._note_gone(event, fold)
                    self._outcome(record, event, fold)
                await self._write(connection, fold.changes, {})
        except PositionsMoved:
            raise
        except Exception as error:
            if is_unavailable(error) or (isinstance(error, asyncpg.PostgresError) and not own_fault(error)):
                raise
            logger.error("projector.still_bad", topic=record.topic, offset=record.offset, error=error_text(error))
            await self._open(connection, list(self.positions))  # what the fold changed along the way is not true
            await connection.execute(DEAD_LETTER_SQL["still_bad"], *parked.origin, error_text(error))
            return False
        self._parked.refused.pop(parked.origin, None)
        if counts:
            self._listener.folded(*_whole(record, event, fold), None)
        return True

    async def _write(
        self, connection: asyncpg.Connection, changes: Changes, steps: Mapping[TopicPartition, Step]
    ) -> None:
        if self._erasure is None or not (self._gone or changes.webhook_tries):
            removed = await apply(connection, changes, steps)
        else:
            async with connection.transaction():
                if self._gone:
                    await self._erasure.before(connection, self._gone)
                removed = await apply(connection, changes, steps)
                await self._erasure.after(connection, changes)
        if removed:
            self._listener.removed(removed)

    def _note_gone(self, event: ev.AnyEvent, fold: Fold) -> None:
        if self._erasure is not None and removes_thread(event):
            self._gone.append(event.key)
            fold.changes.outcomes.forget(event.key)

    def _outcome(self, record: Record, event: ev.AnyEvent, fold: Fold) -> None:
        """Store the first event of a repeatable command, which its repetitions are answered with."""
        headers = record.headers
        if "ce_retry" not in headers or "ce_command" not in headers or isinstance(event, ev.CommandRepeated):
            return
        command_id, time = record.headers["ce_command"], record.headers["ce_time"]
        reply = reply_to(event, record.value, command_id, time)
        at, body = datetime.fromisoformat(time), reply.body.decode()
        outcome = Outcome(record.topic, record.partition, event.key, reply.status, reply.detail, reply.type, body, at)
        fold.changes.outcomes.note(command_id, outcome, self._outcomes_kept)

    async def _reopen(self) -> None:
        """After a failed commit, discard the state that the fold changed, and read it again. Sets `went_back`."""
        before = dict(self.positions)

        await until_available(lambda: self.open(list(self.positions)), on=self.availability, limit_s=READ_LIMIT_S)
        lost = sum(max(0, offset - self.positions[partition]) for partition, offset in before.items())
        if lost:
            logger.warning("projector.positions_went_back", records=lost)
            self.went_back = True


def _count(steps: Mapping[TopicPartition, Step]) -> None:
    for (topic, _), step in steps.items():
        _folded(topic).inc(step.after - step.before)


def _whole(record: Record, event: ev.AnyEvent, fold: Fold) -> tuple[Record, ev.AnyEvent]:
    """Return a run's end as it would have been in one record; any other event unchanged."""
    whole = fold.whole_ends.pop(event.run_id, None) if isinstance(event, ev.RunEnded) else None
    if whole is None:
        return record, event
    return msgspec.structs.replace(record, value=ev.encode(whole)), whole


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


def _add_dead_letter(record: Record, fold: Fold) -> None:
    if envelope.ERASED not in record.headers:
        fold.changes.dead_letters.add(record)
