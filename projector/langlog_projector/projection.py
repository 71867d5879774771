"""One read model being folded: its positions, what outlives a batch, and the writing of batches.

The live projector and a rebuild use the same: what differs is who listens. A batch is folded in memory and written in one
transaction with the positions. A batch that Postgres refuses is folded record by record, and what is refused alone is buried:
the position goes past it, the others go on.

Concurrency: one call of `open` or `project` at a time, by the one who owns the partitions. Another who moved the positions
meanwhile is noticed (`PositionsMoved`), and what he has folded is left out.
Death: what was not committed is folded again from the saved positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import asyncpg
import msgspec
import structlog
from langlog_backbone.log import LogUnavailable, Record, TopicPartition
from langlog_backbone.postgres import AWAY
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause

from .announce import reply_to
from .apply import SQL, PositionsMoved, Step, apply
from .fold import Fences, Fold, Pieces

logger = structlog.get_logger(__name__)

RETRY_PAUSE_S = 0.5

Refused = Sequence[tuple[Record, Exception]]
Bury = Callable[[Refused], Awaitable[None]]
"""Does with records that cannot be folded whatever is to be done before the position goes past them. May raise LogUnavailable."""
Marks = Mapping[str, Mapping[int, int]]
"""topic -> partition -> the next offset to fold"""


class Listener(Protocol):
    """Hears what a batch is made of. Nothing of it counts before `committed`."""

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None: ...

    def dropped(self) -> None:
        """The batch was not written: all of it will be told again."""
        ...

    async def committed(self, marks: Marks) -> None: ...


class Nobody:
    """Implements `Listener` for those who fold without telling anybody."""

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None:
        """Nobody waits for it."""

    def dropped(self) -> None:
        """Nothing was kept."""

    async def committed(self, marks: Marks) -> None:
        """Nobody waits for it."""


class Projection:
    def __init__(self, pool: asyncpg.Pool, bury: Bury, listener: Listener) -> None:
        self._pool = pool
        self._bury = bury
        self._listener = listener
        self._fences = Fences()
        self.positions: dict[TopicPartition, int] = {}
        """The next offset to fold of each partition that is open."""

    async def open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Positions from Postgres; what outlives a batch is read anew. Raises what `postgres.AWAY` lists."""
        topics, parts = [t for t, _ in partitions], [p for _, p in partitions]
        async with self._pool.acquire() as connection:
            await connection.execute(SQL["open_positions"], topics, parts)
            rows = await connection.fetch(SQL["read_positions"], topics, parts)
            attempts = await connection.fetch(SQL["read_attempts"])
            pieces = await connection.fetch(SQL["read_parts"])
        found: dict[TopicPartition, int] = {}
        for topic, part, offset, cause_offset, index, count in rows:
            found[topic, part] = offset
            if cause_offset >= 0:
                self._fences.causes[topic, part] = Cause(part, cause_offset, index, count)
        self._fences.attempts = {row["run_id"]: row["attempt"] for row in attempts}
        self._fences.parts = {}
        for blob_id, index, run_id, data in pieces:
            self._fences.parts.setdefault(blob_id, Pieces(run_id, {})).found[index] = data
        self.positions.update(found)
        return found

    def close(self, partitions: Collection[TopicPartition]) -> None:
        """They are another's now."""
        for partition in partitions:
            self.positions.pop(partition, None)
            self._fences.causes.pop(partition, None)

    def next(self, records: Sequence[Record]) -> list[Record]:
        """Those that go on from our positions: what was read before a partition changed hands is read again by its owner."""
        expected = dict(self.positions)
        found = []
        for record in records:
            lane = (record.topic, record.partition)
            if record.offset == expected.get(lane):
                expected[lane] += 1
                found.append(record)
        return found

    async def project(self, records: Sequence[Record]) -> None:
        """Fold and write. Comes back only when the batch is behind us."""
        while records:
            fold = Fold(self._fences)
            count, bad = self._fold(records, fold)
            batch, rest = records[:count], records[count:]
            steps = self._steps(batch)
            try:
                if bad:
                    await self._bury(bad)
                async with self._pool.acquire() as connection:
                    await apply(connection, fold.changes, steps)
            except PositionsMoved:
                logger.warning("projector.positions_moved", partitions=len(steps))
                self._listener.dropped()
                await self.open(list(self.positions))
                records = self.next(records)
            except (*AWAY, LogUnavailable) as error:
                logger.warning("projector.waits", error=str(error))
                self._listener.dropped()
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the server is back
                await self._reopen()
            except asyncpg.PostgresError as error:
                self._listener.dropped()
                await self._reopen()
                if len(batch) == 1:
                    await self._park(batch[0], error)
                else:
                    logger.warning("projector.batch_refused", records=len(batch), error=str(error))
                    middle = len(batch) // 2
                    await self.project(batch[:middle])
                    await self.project(batch[middle:])
                records = rest
            else:
                marks: dict[str, dict[int, int]] = {}
                for (topic, part), step in steps.items():
                    self.positions[topic, part] = step.after
                    marks.setdefault(topic, {})[part] = step.after
                await self._listener.committed(marks)
                records = rest

    def _steps(self, records: Sequence[Record]) -> dict[TopicPartition, Step]:
        ends = {(record.topic, record.partition): record.offset + 1 for record in records}
        return {
            lane: Step(self.positions.get(lane, 0), after, self._fences.causes.get(lane))
            for lane, after in ends.items()
        }

    def _fold(self, records: Sequence[Record], fold: Fold) -> tuple[int, list[tuple[Record, Exception]]]:
        """Fold as many as may be written together: how many that are, and what cannot be folded with what is wrong with it."""
        bad: list[tuple[Record, Exception]] = []
        causes = self._fences.causes
        for n, record in enumerate(records):
            headers, lane = record.headers, (record.topic, record.partition)
            try:
                cause = Cause.parse(headers["ce_cause"]) if "ce_cause" in headers else None
                if cause is not None and self._fences.duplicate(record.topic, cause):
                    continue
                event = ev.decode(envelope.type_of(headers), record.value)
                time = headers["ce_time"]
                if n and fold.must_wait(event):
                    return n, bad
                if not fold.event(event, time, record.offset, record.partition):
                    continue
            except (KeyError, ValueError, TypeError, msgspec.MsgspecError) as error:
                bad.append((record, error))
                continue
            if cause is not None:
                causes[lane] = cause
                if "ce_retry" in headers and "ce_command" in headers and not isinstance(event, ev.CommandRepeated):
                    self._outcome(record, event, fold)
            self._listener.folded(record, event, cause)
        return len(records), bad

    def _outcome(self, record: Record, event: ev.AnyEvent, fold: Fold) -> None:
        """The first event of a command that may be repeated is what its repetitions are answered with."""
        command_id, time = record.headers["ce_command"], record.headers["ce_time"]
        reply = reply_to(event, record.value, command_id, time)
        fold.changes.outcomes.setdefault(
            command_id,
            (event.key, reply.status, reply.detail, reply.type, reply.body.decode(), datetime.fromisoformat(time)),
        )

    async def _reopen(self) -> None:
        """After a failed commit: what the fold changed along the way is not true; read it anew."""
        while True:
            try:
                self._fences.causes.clear()
                await self.open(list(self.positions))
                return
            except AWAY:
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that Postgres is back

    async def _park(self, record: Record, error: Exception) -> None:
        """One record that Postgres refuses: buried, and the position past it."""
        await self._bury([(record, error)])
        lane = (record.topic, record.partition)
        step = Step(self.positions.get(lane, 0), record.offset + 1, self._fences.causes.get(lane))
        async with self._pool.acquire() as connection:
            await apply(connection, Fold(Fences()).changes, {lane: step})
        self.positions[lane] = step.after
