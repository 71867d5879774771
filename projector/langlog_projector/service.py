"""The projector: folds the event topics into Postgres, the only writer of the read model.

One loop: read the available records, fold and write them (`projection`), notify waiters (`announce`). Partitions come
from the log's consumer group; a former owner that still writes finds the positions moved and drops its batch. When it dies, its
partitions move to another, which continues from the saved positions; so they do when Postgres is unavailable to this one for
`Settings.projector_give_up_s`. Records that cannot be folded are published to ``dead-letters``.

Postgres may lose its last commits. After every lost connection, and every `CHECK_S` without records, the saved
positions are read; if they went back, the log is read again from there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import asyncpg
import msgspec
import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.log import LogReader, Record, TopicPartition
from langlog_backbone.log.dead_letters import dead_letter
from langlog_backbone.metrics import table
from langlog_backbone.metrics.ages import BatchAge
from langlog_backbone.postgres.database import connect_pool, of_services
from langlog_backbone.postgres.kept_connection import KeptConnection
from langlog_backbone.process.retry import READ_LIMIT_S, Availability, reason_of, until_available
from langlog_backbone.process.service import JOIN_S
from langlog_backbone.redis import channels
from langlog_backbone.time.sources import monotonic
from langlog_schemas import envelope
from langlog_schemas import events as ev

from .announce import AWAITED, Announcer
from .erasure import Erasure
from .listener import Refused
from .projection import Projection
from .publishing.recent_replies import RecentReplies
from .rebuild.snapshot_read import restore

logger = structlog.get_logger(__name__)

GROUP = "projectors"
BATCH_RECORDS = 2_000
CLOSE_S = 2.0
"""Seconds for a batch under way at `stop`; an interrupted one is folded again."""
CHECK_S = 10.0
"""Seconds after which positions are checked: a hanging connection (the server's machine has vanished) does not report its loss."""
RECHECK_S = 1.0
"""The same after a write that failed, if nothing is left to be written."""
LINGER_S = 0.015
"""Maximum seconds before records without a waiting client (checkpoints, starts) are folded. Most often the end of their run arrives
first: intermediate records of a stateless run then never reach Postgres."""
UNNAMED_LINGER_S = 0.1
"""The same for a stateless run whose client waits only for its end: no response has named such a run to any client yet."""
HELD_BYTES = 8_000_000
"""Maximum bytes of the values held; beyond that everything held is folded."""


class Held:
    """Records that were read and are not folded yet. Each partition is folded once a client waits for one of its records, or one
    of them has been held long enough. Pure: times are arguments."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._until: dict[TopicPartition, float] = {}
        self._unnamed: set[str] = set()
        """Threads of stateless runs that no client knows yet, created by one of the records held."""
        self._bytes = 0

    @property
    def until(self) -> float:
        """When the first partition has waited long enough."""
        return min(self._until.values(), default=math.inf)

    def clear(self) -> None:
        """Drop everything; it will be read again."""
        self._records, self._bytes = [], 0
        self._until.clear()
        self._unnamed.clear()

    def add(self, records: Sequence[Record], now: float) -> None:
        self._records += records
        for record in records:
            partition = (record.topic, record.partition)
            self._bytes += len(record.value)
            until = now if _awaited(record) else now + self._patience(record)
            if until < self._until.get(partition, math.inf):
                self._until[partition] = until

    def take(self, now: float) -> list[Record]:
        """Return the records of due partitions in the order of reading."""
        if (
            len(self._records) >= BATCH_RECORDS
            or self._bytes >= HELD_BYTES
            or max(self._until.values(), default=0) <= now
        ):
            taken = self._records
            self.clear()
            return taken
        ripe = {partition for partition, until in self._until.items() if until <= now}
        if not ripe:
            return []
        taken = []
        left: list[Record] = []
        for record in self._records:
            (taken if (record.topic, record.partition) in ripe else left).append(record)
        self._records = left
        for partition in ripe:
            del self._until[partition]
        self._unnamed.difference_update(record.key for record in taken)
        self._bytes = sum(len(record.value) for record in left)
        return taken

    def _patience(self, record: Record) -> float:
        if record.key in self._unnamed:
            return UNNAMED_LINGER_S
        if envelope.type_of(record.headers) == ev.RunCreated.TYPE and b'"temporary":true' in record.value:
            self._unnamed.add(record.key)
            return UNNAMED_LINGER_S
        return LINGER_S


class FirstFold:
    """Events from before the start: number to fold, number that is left, and the time spent on them so far."""

    def __init__(self) -> None:
        self.events = 0
        self.unfolded = 0
        self.seconds = 0.0
        self._began = 0.0

    def left(self, events: int) -> None:
        now = monotonic()
        if events and not self.events:
            self.events, self._began = events, now
        if self.unfolded or events:
            self.seconds = round(now - self._began, 2)
        self.unfolded = events


class ProjectorService:
    """The projector (see the module). Also the `Assignment` of its reader."""

    name = "projector"

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._log = backbone.log
        self._pool: asyncpg.Pool | None = None
        self._projection: Projection
        self._kept: KeptConnection
        self._announcer: Announcer | None = None
        self._replies: RecentReplies | None = None
        self._turn = asyncio.Lock()
        """Lock: a read may be under way while a batch is folded, and partitions change owners between batches all the same."""
        self._reader: LogReader | None = None
        self._restoring = Availability("projector.restore", hanging_s=math.inf)
        self._joins_until = math.inf
        """Time of the loop's clock until which no partitions means that the group has not given them yet."""
        self._ends: dict[TopicPartition, int] = {}
        """Ends of the log at the first assignment: records before them must be folded before the service is ready."""
        self.first_fold = FirstFold()
        self._age = BatchAge(table.PROJECTOR_LAG, table.DELIVERIES.labels(GROUP), table.FOLDING)
        self._gave_up = False
        """Whether the partitions are left to others because Postgres was unavailable for too long."""
        self._woken: asyncio.Future[None] | None = None
        """Done when records have arrived, a connection to Postgres ends, or the time for both is over."""

    async def start(self) -> None:
        """Connect. Raises StartError."""
        # its statements have arrays as parameters: planned anew for each batch, Postgres' default, planning costs more than executing
        settings = self._backbone.settings
        self._pool = await connect_pool(
            settings, size=2, opened=self._watch, plan_cache_mode="force_generic_plan", **of_services(settings)
        )
        self._kept = KeptConnection(self._pool)
        announcer, kept_s = Announcer(self._pool, self._backbone.bus), settings.outcomes_kept_s
        self._announcer, self._replies = announcer, announcer.replies
        await self._replies.start()
        erasure = None if settings.encryption == "off" else Erasure(settings, keys=True)
        self._projection = Projection(
            self._kept, self._publish_dead_letter, announcer, kept_s, erasure, self._log.partition_of
        )
        self._joins_until = asyncio.get_running_loop().time() + JOIN_S
        self._reader = self._log.member(GROUP, ev.FOLDED_TOPICS, self)

    async def serve(self) -> None:
        while True:
            following = asyncio.create_task(self._follow(), name="projector")
            try:
                await self._until_stalled(following)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            await self._give_up()

    @property
    def projection(self) -> Projection:
        return self._projection

    async def _until_stalled(self, following: asyncio.Task[None]) -> None:
        """Wait until Postgres has been unavailable for too long. Raises what following the log ends with."""
        limit_s = self._backbone.settings.projector_give_up_s
        while (left := limit_s - self._projection.away_s) > 0:
            await asyncio.wait([following], timeout=max(left, 1.0))
            if following.done():
                following.result()

    async def _give_up(self) -> None:
        """Leave the partitions to another projector that may reach Postgres; join again when this one can."""
        assert self._reader is not None
        logger.warning("projector.gave_up", reason=self._reason())
        self._gave_up = True
        await self._reader.stop()
        self._projection.abandon()
        await until_available(self._projection.check_writes, on=self._projection.availability, limit_s=READ_LIMIT_S)
        self._reader = self._log.member(GROUP, ev.FOLDED_TOPICS, self)
        self._gave_up = False
        logger.info("projector.joins_again")

    async def _follow(self) -> None:
        assert self._reader is not None
        reading: asyncio.Task[list[Record]] | None = None
        held, now = Held(), asyncio.get_running_loop().time
        try:
            while True:
                reading = reading or asyncio.create_task(self._reader.read(BATCH_RECORDS))
                idle_s = RECHECK_S if self._projection.availability.failing_s else CHECK_S
                if await self._arrived(reading, min(idle_s, held.until - now())):
                    held.add(reading.result(), now())
                    reading = None
                elif held.until > now():
                    async with self._turn:
                        await self._projection.check()
                        await self._read_again(self._reader, held)
                    continue
                records = held.take(now())
                if not records:
                    continue
                async with self._turn:
                    with self._age.of(records[0].headers):
                        await self._projection.project(records)
                    await self._read_again(self._reader, held)
                if self._ends:
                    self._behind()
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _arrived(self, reading: asyncio.Task[list[Record]], timeout_s: float) -> bool:
        """Wait for records; return False if a connection was lost or the time is over."""
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        # for each batch: `asyncio.wait` costs three times as much
        timer = loop.call_later(max(0.0, timeout_s), self._wake)
        reading.add_done_callback(self._wake)
        try:
            await self._woken
        finally:
            timer.cancel()
            reading.remove_done_callback(self._wake)
        return reading.done()

    def _wake(self, _: object = None) -> None:
        """End the wait of `_arrived`."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _read_again(self, reader: LogReader, held: Held) -> None:
        """Read again from the saved positions after Postgres has lost commits."""
        while self._projection.went_back:
            self._projection.went_back = False
            held.clear()
            reader.seek(await self._positions(list(self._projection.positions)))

    async def _watch(self, connection: asyncpg.Connection) -> None:
        connection.add_termination_listener(self._wake)

    async def drain(self) -> None:
        """Do nothing: the next owner folds the remaining records."""

    async def stop(self) -> None:
        if self._reader is not None:
            await self._reader.stop()
        if self._announcer is not None:
            self._announcer.stop()
        if self._replies is not None:
            await self._replies.stop()
        if self._pool is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._kept.release()
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def not_ready(self) -> str | None:
        if self._reader is None:
            return "it has not started"
        reason = self._reason()
        if reason is not None and self._gave_up:
            return f"{reason}; its partitions are left to other projectors"
        if reason is not None:
            return reason
        if asyncio.get_running_loop().time() < self._joins_until:
            return "its group has not given it partitions yet"
        if behind := self._behind():
            return f"{behind} events from before its start are not folded yet"
        return None

    def _reason(self) -> str | None:
        return reason_of([self._projection.availability, self._projection.opening, self._restoring])

    def _behind(self) -> int:
        """Return the number of events from before the start that are not folded yet; records the time when none is left."""
        positions = self._projection.positions
        behind = sum(
            max(0, end - positions[partition]) for partition, end in self._ends.items() if partition in positions
        )
        self.first_fold.left(behind)
        if not behind and self._ends:
            self._ends.clear()
            if self.first_fold.events:
                logger.info("projector.caught_up", events=self.first_fold.events, seconds=self.first_fold.seconds)
        return behind

    # --- ownership ---------------------------------------------------------------------------

    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return positions from Postgres; read the state between batches again. An empty read model begins where the log does."""
        if self._joins_until > 0:
            topics = sorted({topic for topic, _ in partitions})
            ends = [await until_available(partial(self._log.end_offsets, t), on=self._restoring) for t in topics]
            self._ends = {
                (t, part): end for t, positions in zip(topics, ends, strict=True) for part, end in enumerate(positions)
            }
        async with self._turn:
            positions = await self._positions(partitions)
            self._joins_until = -math.inf
            self._behind()
        # the former owner may not have sent the notifications of its last commit
        taken = msgspec.json.encode(sorted({part for _, part in partitions}))
        self._backbone.bus.deliver_local(channels.SUCCESSION, taken)
        self._backbone.bus.publish(channels.SUCCESSION, taken)
        return positions

    async def _positions(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        pool, schema = self._pool, self._backbone.settings.projection
        assert pool is not None
        parts = {part for _, part in partitions}
        # may take minutes where the log was cut: this is no failure
        await until_available(lambda: restore(self._log, pool, schema, parts), on=self._restoring)
        return await until_available(
            lambda: self._projection.open(partitions), on=self._projection.opening, limit_s=READ_LIMIT_S
        )

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        async with self._turn:
            self._projection.close(partitions)

    # --- records that cannot be folded --------------------------------------------------

    async def _publish_dead_letter(self, bad: Refused) -> None:
        for record, error in bad:
            logger.error(
                "projector.dead_letter",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=error[:300],
            )
        await self._log.append([dead_letter(record, error, self._log.max_record_bytes) for record, error in bad])
        table.DEAD_LETTERS.labels("projector").inc(len(bad))


def _awaited(record: Record) -> bool:
    """Whether a process waits until the record is folded."""
    return "ce_replyto" in record.headers or envelope.type_of(record.headers) in AWAITED
