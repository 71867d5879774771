"""The decider: single owner of command partitions; decides in log order, appends the events, dispatches runs.

One loop: read the available commands, load the aggregates that are not in memory (one query), decide each command, append all
events in one go, then the effects that follow from the events: tasks into the hot queue, controls to workers.

Postgres may lose its last commits (a crash without synchronous commits, a failover). No decision then uses its rows until
the projector has folded up to where it had been: see `read_model`.

Ownership (ARCHITECTURE.md, "One owner per thread"): partitions come from the log's consumer group. A new owner reads the end of
the event partitions, waits until the projection has passed it, reads the last cause of each partition from Postgres and skips
the commands that have had their events; the events of one command are appended whole, so none is ever decided in part. A former
owner that still writes for a moment writes the same events again: deciding is pure, and folding drops them. Each of the two may find
in Postgres what the other has decided meanwhile from commands that it is about to decide itself. It then takes over again (`_load`).

A command that cannot be decided parks its key (`parked`), the others go on.

When it dies before the effects, the scheduler finds the dispatched run missing in Redis and has it dispatched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from operator import not_
from typing import NamedTuple

import msgspec
import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.log import (
    DECIDERS,
    LogReader,
    NewRecord,
    Position,
    Record,
    TopicPartition,
)
from langlog_backbone.log.dead_letters import dead_letter, error_text
from langlog_backbone.log.foreign_records import storable, storable_key
from langlog_backbone.metrics import table, tenants
from langlog_backbone.metrics.ages import BatchAge
from langlog_backbone.metrics.exposition import EXPOSITION
from langlog_backbone.process.retry import Availability, reason_of, until_available
from langlog_backbone.process.service import JOIN_S
from langlog_backbone.process.unavailable import is_internal, own_fault
from langlog_backbone.redis import channels
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, messages
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause, CommandMeta
from langlog_schemas.messages import Reply

from .aggregates import DECIDED_TOPICS, Aggregates
from .command_decider import CommandDecider
from .counting import count_command, count_dead_letters, count_runs, runs_of_tenants
from .decisions.parked_threads import Removal
from .decisions.threads import THREAD_MISSING
from .effects import Decided, Effects, event_records, topic_of
from .parking.keys import PARKED, RETRIED_BY_SCHEDULER, ParkedKeys
from .parking.release import ParkedRelease
from .parking.removal import REMOVALS, ParkedRemoval
from .read_model import ReadModel

logger = structlog.get_logger(__name__)

BATCH_COMMANDS = 1_000
RETRY_PAUSE_S = 0.5
COMMIT_INTERVAL_S = 1.0
"""Seconds between two commits of positions: commands of this time are read again after a crash, and skipped by cause."""
KEYS_REMEMBERED = 10_000
"""Maximum number of keys of deleted threads that are remembered."""
DRAIN_S = 2.0


class Read(NamedTuple):
    """A record of ``commands``: a command, or the error of decoding it; both, if what it is about cannot be looked up."""

    record: Record
    command: cmd.Command | None
    meta: CommandMeta
    error: str | None


NO_META = CommandMeta("", "", 0, 0)
ANOTHER_KEY = "the key of the record is not that of its command"
ANOTHER_PARTITION = "a record with this key belongs into partition {} (murmur2, as Kafka's own clients do it)"


class DeciderService:
    """The decider (see the module). Also the `Assignment` of its reader."""

    name = "decider"

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._log, self._pool, self._bus = backbone.log, backbone.pool, backbone.bus
        self._aggregates = Aggregates(backbone.pool)
        self._availability = Availability("decider")
        self._commits = Availability("decider.commits", "log")
        self._model = ReadModel(backbone.pool, self._aggregates, self._availability)
        self._parked = ParkedKeys()
        # where bodies are encrypted, what deletes a thread must be readable when the thread's key is destroyed
        self._decider = CommandDecider(
            self._aggregates, self._model, self._parked, joins_deletions=not backbone.log.encrypts
        )
        self._done: dict[TopicPartition, Cause] = {}
        """Recovery: (event topic, partition) -> last cause that had its events when the partition was assigned."""
        self._over: OrderedDict[str, None] = OrderedDict()
        """Keys of threads that were deleted here: commands that were sealed with one are too late, even while they can be read."""
        self._next: dict[TopicPartition, int] = {}
        self._reader: LogReader | None = None
        self._effects = Effects(backbone, self._aggregates, self._append_for_sure)
        self._removal = ParkedRemoval(
            self._model,
            self._aggregates,
            self._parked,
            self._effects,
            self._ends,
            self._append_for_sure,
            self._reply,
        )
        self._release = ParkedRelease(
            self._model,
            self._aggregates,
            self._parked,
            self._decider,
            self._effects,
            lambda: self._log.max_record_bytes,
            self._ends,
            self._append_for_sure,
            self._reply,
        )
        tenants.RUNS.limit = backbone.settings.metrics_tenants
        self._age = BatchAge(table.DECIDER_LAG, table.DELIVERIES.labels(DECIDERS), table.DECIDING)
        self._committer: asyncio.Task[None] | None = None
        self._joins_until = math.inf
        """Time of the loop's clock until which no partitions means that the group has not given them yet."""
        self._deciding: asyncio.Task[None] | None = None
        self._leaving = False
        self._reading = False

    async def start(self) -> None:
        await self._bus.subscribe(channels.WATERMARK, self._model.on_watermark, remote=False)
        await self._bus.subscribe(channels.PARKED, self._parked.on_message, remote=False)
        EXPOSITION.add("tenants", runs_of_tenants)
        await self._effects.start()
        self._joins_until = asyncio.get_running_loop().time() + JOIN_S
        self._reader = self._log.member(DECIDERS, [cmd.TOPIC], self)

    async def serve(self) -> None:
        deciding = self._deciding = asyncio.create_task(self._decide_all_read())
        effects = asyncio.create_task(self._effects.serve())
        try:
            for ended in (await asyncio.wait([deciding, effects], return_when=asyncio.FIRST_EXCEPTION))[0]:
                if not ended.cancelled():
                    ended.result()
        finally:
            await self._leave()
            effects.cancel()
            await asyncio.gather(effects, return_exceptions=True)

    async def _decide_all_read(self) -> None:
        """Read and decide until `_leave`, which may cancel a read and lets a batch finish."""
        assert self._reader is not None
        while not self._leaving:
            self._reading = True
            try:
                records = await self._reader.read(BATCH_COMMANDS)
            finally:
                self._reading = False
            if records:
                with self._age.of(records[0].headers):
                    await self._decide(records)

    async def drain(self) -> None:
        """Leave the partitions to the others of the group at once. Without others, continue: what still drains here waits
        for decisions."""
        if self._reader is not None and not self._reader.alone():
            await self._leave()

    async def _leave(self) -> None:
        """Stop deciding: finish the batch and its effects, and let the next owner have the partitions."""
        deciding, self._deciding = self._deciding, None
        if deciding is None:
            return
        self._leaving = True
        if self._reading:
            deciding.cancel()
        await asyncio.wait([deciding], timeout=DRAIN_S)
        if not deciding.done():
            logger.warning("decider.batch_cut_off", after_s=DRAIN_S)
            deciding.cancel()
            await asyncio.wait([deciding])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._effects.join()
                if self._next:
                    await self._commit()
        if self._reader is not None:
            await self._reader.stop()

    async def stop(self) -> None:
        EXPOSITION.remove(runs_of_tenants)
        if self._committer is not None:
            self._committer.cancel()
        await self._effects.stop()
        if self._reader is not None:
            await self._reader.stop()

    async def not_ready(self) -> str | None:
        if self._reader is None:
            return "it has not started"
        reason = reason_of([self._availability, *self._effects.availabilities])
        if reason is None and self._model.behind:
            return f"it waits for the projector in {self._model.behind} partitions"
        if reason is None and asyncio.get_running_loop().time() < self._joins_until:
            return "its group has not given it partitions yet"
        return reason

    # --- ownership ---------------------------------------------------------------------------

    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        committed = await until_available(
            lambda: self._log.committed(DECIDERS, list(partitions)), on=self._availability
        )
        for partition in partitions:
            self._parked.begin(partition[1], committed.get(partition, 0))
        await self._take_over(sorted({part for _, part in partitions}))
        self._joins_until = -math.inf
        logger.info("decider.assigned", partitions=len(partitions))
        return {partition: committed.get(partition, 0) for partition in partitions}

    async def _take_over(self, parts: Sequence[int]) -> None:
        """Wait until the read model holds all that was decided in these partitions so far, and go on from there."""
        ends = {
            (topic, part): end
            for topic in (*DECIDED_TOPICS, ev.DEAD_LETTERS)
            for part, end in enumerate(await self._ends(topic))
            if part in parts and end > 0
        }
        self._done.update(await self._model.folded(list(parts), ends))
        self._aggregates.clear(parts)
        await self._model.current(
            parts, lambda connection: self._parked.read(connection, parts, self._log.partition_of)
        )

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self._aggregates.clear({part for _, part in partitions})
        for partition in partitions:
            self._next.pop(partition, None)
        logger.info("decider.revoked", partitions=len(partitions))

    # --- a batch -----------------------------------------------------------------------------

    async def _decide(self, records: Sequence[Record]) -> None:
        done = 0
        records = [storable(record) for record in records]
        for n, record in enumerate(records):
            if envelope.type_of(record.headers) == cmd.ReleaseParked.TYPE:
                await self._decide_all(records[done:n])
                while not self._is_decided(record) and not await self._release.release(record):
                    await self._decided_by_another([record.partition])
                done = n + 1
            elif self._log.encrypts and envelope.type_of(record.headers) in {removal.TYPE for removal in REMOVALS}:
                keys = await self._model.sure(functools.partial(self._log.key_ids, record.key))
                await self._decide_all(records[done : n + 1])
                done = n + 1
                if self._aggregates.is_gone(record.key):
                    self._end_keys(keys)
        await self._decide_all(records[done:])
        for record in records:
            self._next[record.topic, record.partition] = record.offset + 1
        for (_, part), offset in {(record.topic, record.partition): record.offset for record in records}.items():
            self._parked.begin(part, offset + 1)
        self._aggregates.shrink()
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_soon())

    def _end_keys(self, keys: Collection[str]) -> None:
        """Record keys that the projector is about to destroy: a command that was sealed with one must not make the thread again."""
        for key in keys:
            self._over[key] = None
        while len(self._over) > KEYS_REMEMBERED:
            self._over.popitem(last=False)

    async def _decide_all(self, records: Sequence[Record]) -> None:
        todo = await self._load(records)
        decided: list[Decided] = []
        dead_letters: list[tuple[Record, str | None]] = []
        for record, command, meta, error in todo:
            if self._parked.holds(record.key, record.offset):
                if error is None and isinstance(command, REMOVALS) and not self._decider.is_done(meta.id):
                    await self._write(decided, dead_letters)
                    decided, dead_letters = [], []
                    if await self._removes(record, command, meta):
                        continue
                if not isinstance(command, RETRIED_BY_SCHEDULER):
                    dead_letters.append((record, None))
                continue
            if command is not None and error is None:
                try:
                    decided.append(self._decider.decide(command, meta))
                    count_command(command, decided[-1].events)
                    continue
                except Exception as failure:
                    logger.exception("decider.failed", type=command.TYPE, key=record.key)
                    error = error_text(failure)
                    self._decider.forget(meta.id)
            dead_letters.append((record, error))
            self._parked.park(record.key, record.offset)
            logger.error(
                "decider.dead_letter", key=record.key, partition=record.partition, offset=record.offset, error=error
            )
        await self._write(decided, dead_letters)

    async def _load(self, records: Sequence[Record]) -> Sequence[Read]:
        """Return the commands that are to be decided, with what they are decided against in memory.

        While two deciders take a partition for theirs, rows may hold what the other has decided from these very commands. They would
        be decided otherwise on such rows, and what is in memory would differ from the log.
        """
        while True:
            todo: Sequence[Read] = [entry for record in records if (entry := self._read(record)) is not None]
            await self._parked.settle_doubts(self._model, {read.record.key: read.record.partition for read in todo})
            held = [self._parked.holds(read.record.key, read.record.offset) for read in todo]
            if any(held):
                # others wait for the rows of a key until it is parked, and not again for each of its later commands
                waiting = iter(await self._decidable(list(compress(todo, held)), patient=False))
                free = iter(await self._decidable(list(compress(todo, map(not_, held)))))
                todo = [next(waiting if is_held else free) for is_held in held]
                await self._load_all(todo)
            else:
                todo = await self._decidable(todo)
            passed = sorted({read.record.partition for read in todo if self._is_passed(read)})
            if not passed:
                return todo
            await self._decided_by_another(passed)

    async def _decidable(self, todo: Sequence[Read], *, patient: bool = True) -> Sequence[Read]:
        """Load what the commands are decided against. Return them, those with an error for which Postgres refuses to look up their ids, or
        fails at their rows by an internal error, for some time if ``patient``, while it reads others."""
        while True:
            try:
                await self._load_all(todo, self._model.patience_s if patient else 0.0)
            except Exception as refusal:
                if is_internal(refusal):
                    patient = not await self._decider.loads_others()
                    if patient:
                        continue
                elif not own_fault(refusal):
                    raise
                if len(todo) == 1:
                    return [todo[0]._replace(error=error_text(refusal))]
                break
            else:
                return todo
        middle = len(todo) // 2
        halves = todo[:middle], todo[middle:]
        todo = [read for half in halves for read in await self._decidable(half, patient=patient)]
        await self._load_all(todo)
        return todo

    async def _load_all(self, todo: Sequence[Read], internal_s: float = math.inf) -> None:
        commands = [(read.command, read.meta) for read in todo if read.command is not None and read.error is None]
        await self._decider.load(commands, internal_s)

    async def _removes(self, record: Record, command: Removal, meta: CommandMeta) -> bool:
        """Carry out, or refuse, the removal of a thread whose key is parked. Return False if Postgres fails at the thread's rows alone."""
        internal_s = 0.0
        while True:
            try:
                if await self._removal.remove(record, command, meta, internal_s) and meta.retry:
                    self._decider.note_done(meta.id)
                return True
            except Exception as error:
                if not is_internal(error):
                    raise
                if await self._decider.loads_others():
                    return False
                internal_s = self._model.patience_s

    async def _decided_by_another(self, parts: Sequence[int]) -> None:
        logger.info("decider.decided_by_another", partitions=len(parts))
        await self._take_over(parts)

    def _is_passed(self, read: Read) -> bool:
        """Return whether Postgres showed events of this command, or of a later one of its partition and topic."""
        record, command = read.record, read.command
        if command is None or read.error is not None:
            return False
        return record.offset <= self._aggregates.decided((topic_of(command), record.partition))

    async def _write(self, decided: Sequence[Decided], dead_letters: Sequence[tuple[Record, str | None]]) -> None:
        if dead_letters:
            await self._publish_dead_letters(dead_letters)
        decided = [d for d in decided if d.events]
        if decided:
            positions = await self._append(decided)
            count_runs(decided)
            self._effects.follow(decided, positions)

    async def _publish_dead_letters(self, dead_letters: Sequence[tuple[Record, str | None]]) -> None:
        """Publish commands that cannot be decided as dead letters, before any later event, and reply to their senders."""
        await self._append_for_sure(
            [dead_letter(record, error, self._log.max_record_bytes) for record, error in dead_letters]
        )
        count_dead_letters(len(dead_letters))
        for record, _ in dead_letters:
            self._parked.wrote(record)
            self._reply(record, 504, PARKED.format(record.key))

    def _reply(self, record: Record, status: int, detail: str) -> None:
        """Reply to the gateway that waits for a command without events."""
        waiting, id = record.headers.get("ce_replyto"), record.headers.get("ce_id")
        if waiting is not None and id is not None:
            reply = Reply(command_id=id, status=status, detail=detail)
            publish = self._bus.publish if waiting.startswith(channels.WORKER_ID) else self._bus.publish_local
            publish(channels.gateway(waiting), b"R" + messages.encode(reply))

    async def _ends(self, topic: str) -> list[int]:
        return await until_available(lambda: self._log.end_offsets(topic), on=self._availability)

    def _is_decided(self, record: Record) -> bool:
        """Return whether the command, or a later one of its partition, had its events at the assignment: a bad one had its letter."""
        lasts = (self._done.get((topic, record.partition)) for topic in DECIDED_TOPICS)
        return any(last is not None and record.offset <= last.offset for last in lasts)

    def _read(self, record: Record) -> Read | None:
        """Return the command of a record; None if it is a gap, or has had its events or its dead letter."""
        if self._parked.written(record) or envelope.GAP in record.headers:
            return None
        if envelope.ERASED in record.headers or record.headers.get(envelope.KEY_ID) in self._over:
            self._reply(record, 404, THREAD_MISSING.format(record.key))
            return None
        try:
            command = cmd.decode(envelope.type_of(record.headers), record.value)
            meta = envelope.meta_of(record.headers, record.partition, record.offset)
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            return None if self._is_decided(record) else Read(record, None, NO_META, error_text(error))
        last = self._done.get((topic_of(command), record.partition))
        if last is not None and record.offset <= last.offset:
            return None
        if (misplaced := self._misplaced(record, command)) is not None:
            return Read(record, None, NO_META, misplaced)
        return Read(record, command, meta, None)

    def _misplaced(self, record: Record, command: cmd.Command) -> str | None:
        """Return why another decider owns what the command is about, if so: the one of the partition that its key belongs into."""
        if storable_key(command.key) != record.key:
            return ANOTHER_KEY
        part = self._log.partition_of(command.key)
        return None if part == record.partition else ANOTHER_PARTITION.format(part)

    async def _append(self, decided: Sequence[Decided]) -> list[Position]:
        """Append in pieces that fit into one batch of a partition, so that the events of a command are there all or none."""
        limit = self._log.max_record_bytes // 2
        positions: list[Position] = []
        chunk: list[NewRecord] = []
        size = 0
        for d in decided:
            records = list(event_records(d))
            weight = sum(len(record.value) for record in records)
            if chunk and size + weight > limit:
                positions += await self._append_for_sure(chunk)
                chunk, size = [], 0
            chunk += records
            size += weight
        return positions + await self._append_for_sure(chunk)

    async def _append_for_sure(self, records: Sequence[NewRecord]) -> list[Position]:
        """Append until the outcome is certain: a repetition is harmless, since ids and causes are the same."""
        return await until_available(lambda: self._log.append(records), on=self._availability)

    # --- committed positions -----------------------------------------------------------------

    async def _commit_soon(self) -> None:
        """Commit until the log has the positions, those too of a batch that was decided during a commit: no further batch may
        come that would do so. Positions of partitions that were revoked meanwhile are left to the next owner."""
        taken: Mapping[TopicPartition, int] | None = None
        while taken != self._next:
            await asyncio.sleep(COMMIT_INTERVAL_S)
            taken = await self._commit()

    async def _commit(self) -> Mapping[TopicPartition, int] | None:
        """Return the positions that the log has taken; None: not all of them."""

        async def commit() -> Mapping[TopicPartition, int] | None:
            positions = dict(self._next)
            return positions if await self._log.commit(DECIDERS, positions) else None

        return await until_available(commit, on=self._commits)
