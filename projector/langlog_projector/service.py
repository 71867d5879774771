"""The projector: folds the event topics into Postgres, the only writer of the read model.

One loop: take what has gathered, fold it in memory, write it in one transaction together with the positions, tell those
who wait. Partitions come from the log's consumer group; a former owner that still writes finds the positions moved
and drops its batch. When it dies, its partitions go to another, which goes on from the saved positions. A batch that Postgres
refuses is folded record by record, and what is refused alone goes to ``dead-letters``: that record is parked, the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import asyncpg
import msgspec
import structlog
from langlog_backbone.clock import now_iso
from langlog_backbone.context import Backbone
from langlog_backbone.log import LogReader, LogUnavailable, NewRecord, Record, TopicPartition
from langlog_backbone.postgres import AWAY
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause
from langlog_schemas.messages import Reply

from .announce import AWAITED, Announcements, reply_to
from .apply import SQL, PositionsMoved, Step, apply
from .fold import Fences, Fold

logger = structlog.get_logger(__name__)

GROUP = "projectors"
BATCH_RECORDS = 2_000
LINGER_S = 0.015
"""Records that nobody waits for (checkpoints, starts) are folded after this at the latest. Most often the end of their run comes
first: what a stateless run wrote on the way then never gets to Postgres."""
RETRY_PAUSE_S = 0.5


class ProjectorService:
    """See the module. Also the `Assignment` of its reader."""

    name = "projector"

    def __init__(self, backbone: Backbone) -> None:
        self._log, self._pool, self._bus = backbone.log, backbone.pool, backbone.bus
        self._fences = Fences()
        self._positions: dict[TopicPartition, int] = {}
        self._pending: dict[tuple[str, int, int], tuple[str, Reply]] = {}
        """(topic, partition, cause offset) -> the reply that goes out when the command's last event is folded"""
        self._turn = asyncio.Lock()
        """A read may be under way while a batch is folded: partitions change hands between batches all the same."""
        self._reader: LogReader | None = None

    async def start(self) -> None:
        self._reader = self._log.member(GROUP, ev.EVENT_TOPICS, self)

    async def serve(self) -> None:
        assert self._reader is not None
        reading: asyncio.Task[list[Record]] | None = None
        try:
            while True:
                reading = reading or asyncio.create_task(self._reader.read(BATCH_RECORDS))
                records = await reading
                reading = None
                if not _awaited(records):
                    records, reading = await self._gather(self._reader, records)
                async with self._turn:
                    await self._project(self._next(records))
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _gather(
        self, reader: LogReader, records: list[Record]
    ) -> tuple[list[Record], asyncio.Task[list[Record]] | None]:
        """More records for company, until one that somebody waits for, and a read that is still under way."""
        until = asyncio.get_running_loop().time() + LINGER_S
        while True:
            reading = asyncio.create_task(reader.read(BATCH_RECORDS))
            await asyncio.wait([reading], timeout=max(0.0, until - asyncio.get_running_loop().time()))
            if not reading.done():
                return records, reading
            more = reading.result()
            records = records + more
            if _awaited(more) or len(records) >= BATCH_RECORDS:
                return records, None

    async def drain(self) -> None:
        """Nothing to bring to an end: what is not folded is folded by the next owner."""

    async def stop(self) -> None:
        if self._reader is not None:
            await self._reader.stop()

    async def healthy(self) -> bool:
        return self._reader is not None

    # --- ownership ---------------------------------------------------------------------------

    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Positions from Postgres; what is kept between batches is read anew."""
        async with self._turn:
            while True:
                try:
                    return await self._open(partitions)
                except AWAY as error:
                    logger.warning("projector.postgres_away", error=str(error))
                    await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that Postgres is back

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        async with self._turn:
            for partition in partitions:
                self._positions.pop(partition, None)
                self._fences.causes.pop(partition, None)

    async def _open(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
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
        for blob_id, index, data in pieces:
            self._fences.parts.setdefault(blob_id, {})[index] = data
        self._positions.update(found)
        return found

    # --- a batch -----------------------------------------------------------------------------

    def _next(self, records: Sequence[Record]) -> list[Record]:
        """Those that go on from our positions: what was read before a partition changed hands is read again by its owner."""
        expected = dict(self._positions)
        found = []
        for record in records:
            lane = (record.topic, record.partition)
            if record.offset == expected.get(lane):
                expected[lane] += 1
                found.append(record)
        return found

    async def _project(self, records: Sequence[Record]) -> None:
        """Fold, write, tell. Comes back only when the batch is behind us."""
        while records:
            fold, said, steps = Fold(self._fences), Announcements(), self._steps(records)
            bad = self._fold(records, fold, said)
            for partition, step in steps.items():
                steps[partition] = step._replace(cause=self._fences.causes.get(partition))
            try:
                await self._bury(bad)
                async with self._pool.acquire() as connection:
                    await self._repeat_outcomes(connection, said)
                    await apply(connection, fold.changes, steps)
            except PositionsMoved:
                logger.warning("projector.positions_moved", partitions=len(steps))
                await self._open(list(self._positions))
                records = self._next(records)
            except (*AWAY, LogUnavailable) as error:
                logger.warning("projector.waits", error=str(error))
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the server is back
                await self._reopen()
            except asyncpg.PostgresError as error:
                await self._reopen()
                if len(records) == 1:
                    await self._park(records[0], error)
                    return
                logger.warning("projector.batch_refused", records=len(records), error=str(error))
                middle = len(records) // 2
                await self._project(records[:middle])
                await self._project(records[middle:])
                return
            else:
                marks: dict[str, dict[int, int]] = {}
                for (topic, part), step in steps.items():
                    self._positions[topic, part] = step.after
                    marks.setdefault(topic, {})[part] = step.after
                said.publish(self._bus, marks)
                return

    def _steps(self, records: Sequence[Record]) -> dict[TopicPartition, Step]:
        steps: dict[TopicPartition, Step] = {}
        for record in records:
            key = (record.topic, record.partition)
            before = self._positions.get(key, 0)
            steps[key] = Step(before, record.offset + 1, None)
        return steps

    def _fold(self, records: Sequence[Record], fold: Fold, said: Announcements) -> list[tuple[Record, Exception]]:
        """Fold all records that can be; the others come back with what is wrong with them."""
        bad: list[tuple[Record, Exception]] = []
        for record in records:
            headers = record.headers
            try:
                cause = Cause.parse(headers["ce_cause"]) if "ce_cause" in headers else None
                if cause is not None and self._fences.duplicate(record.topic, cause):
                    continue
                event = ev.decode(envelope.type_of(headers), record.value)
                time = headers["ce_time"]
                if not fold.event(event, time, record.offset):
                    continue
            except (KeyError, ValueError, TypeError, msgspec.MsgspecError) as error:
                bad.append((record, error))
                continue
            said.note(event, record.value, time)
            if cause is not None:
                self._fences.causes[record.topic, record.partition] = cause
                self._reply(record, event, cause, fold, said)
        return bad

    def _reply(self, record: Record, event: ev.AnyEvent, cause: Cause, fold: Fold, said: Announcements) -> None:
        """The first event of a command is its outcome; it goes out when the last one is folded."""
        headers, place = record.headers, (record.topic, record.partition, cause.offset)
        command_id = headers.get("ce_command")
        if command_id is not None:
            reply = reply_to(event, record.value, command_id, headers["ce_time"])
            if "ce_retry" in headers and not isinstance(event, ev.CommandRepeated):
                at = datetime.fromisoformat(headers["ce_time"])
                fold.changes.outcomes[command_id] = (
                    event.key,
                    reply.status,
                    reply.detail,
                    reply.type,
                    reply.body.decode(),
                    at,
                )
            if "ce_replyto" in headers:
                self._pending[place] = (headers["ce_replyto"], reply)
        if cause.index == cause.count - 1 and place in self._pending:
            said.replies.append(self._pending.pop(place))

    async def _repeat_outcomes(self, connection: asyncpg.Connection, said: Announcements) -> None:
        """A repeated command is answered with its first outcome."""
        repeated = [r.command_id for _, r in said.replies if r.type == ev.CommandRepeated.TYPE]
        if not repeated:
            return
        first = {row["command_id"]: row for row in await connection.fetch(SQL["read_outcomes"], repeated)}
        for n, (gateway, reply) in enumerate(said.replies):
            row = first.get(reply.command_id) if reply.type == ev.CommandRepeated.TYPE else None
            if row is not None:
                said.replies[n] = (
                    gateway,
                    Reply(
                        command_id=reply.command_id,
                        status=row["status"],
                        detail=row["detail"],
                        type=row["type"],
                        body=row["body"].encode(),
                        time=row["at"].isoformat(timespec="microseconds"),
                    ),
                )

    async def _reopen(self) -> None:
        """After a failed commit: what the fold changed along the way is not true; read it anew."""
        while True:
            try:
                self._fences.causes.clear()
                await self._open(list(self._positions))
                return
            except AWAY:
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that Postgres is back

    async def _park(self, record: Record, error: Exception) -> None:
        """One record that Postgres refuses: to the dead letters, and the position past it."""
        await self._bury([(record, error)])
        key = (record.topic, record.partition)
        step = Step(self._positions.get(key, 0), record.offset + 1, self._fences.causes.get(key))
        async with self._pool.acquire() as connection:
            await apply(connection, Fold(Fences()).changes, {key: step})
        self._positions[key] = step.after

    async def _bury(self, bad: Sequence[tuple[Record, Exception]]) -> None:
        if not bad:
            return
        for record, error in bad:
            logger.error(
                "projector.dead_letter",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=f"{type(error).__name__}: {error}"[:300],
            )
        await self._log.append([dead_letter(record, error) for record, error in bad])


def _awaited(records: Sequence[Record]) -> bool:
    """Whether somebody waits for one of these to be folded."""
    return any("ce_replyto" in r.headers or envelope.type_of(r.headers) in AWAITED for r in records)


def dead_letter(record: Record, error: Exception) -> NewRecord:
    """A record as it was, with where it came from and what was wrong with it in the headers."""
    place = f"{record.topic}-{record.partition}-{record.offset}"
    return NewRecord(
        ev.DEAD_LETTERS,
        record.key,
        record.value,
        {
            **record.headers,
            "dead_origin": place,
            "dead_error": f"{type(error).__name__}: {error}"[:1000],
            "dead_time": now_iso(),
        },
    )
