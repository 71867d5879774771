"""A log that encrypts the records of threads: their bodies cannot be read without the thread's key.

A wrapper around either adapter. The value is AES-256-GCM under the thread's key, bound to the record's id, type and key; headers
and keys stay as they are, so that positions, causes and types remain. A record whose key is destroyed reads as
*erased*: without a body, and marked (`envelope.ERASED`). Types without personal content (`PLAIN`) are never sealed, so that
rejections and removals can be folded when the key is gone.

Concurrency, death: as the log behind it, and `keys`. While Postgres is unavailable, records that need a key can neither be
appended nor read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import structlog
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, snapshots
from langlog_schemas import events as ev

from ...time.sources import random_bytes
from ...values.compression import compressed, restored
from ..foreign_records import storable_text
from ..port import Assignment, Log, LogReader, LogUnavailable, NewRecord, Position, Positions, Record, TopicPartition

if TYPE_CHECKING:
    from .keys import ThreadKeys

logger = structlog.get_logger(__name__)

VERSION = "1"
NONCE_BYTES = 12
RETRY_PAUSE_S = 0.5

PLAIN = frozenset(
    x.TYPE
    for x in (
        cmd.DeleteThread,
        cmd.DeleteCheckpoints,
        cmd.ExpireThread,
        cmd.CancelRuns,
        cmd.RequeueRun,
        cmd.StartDueRun,
        cmd.TimeOutRun,
        cmd.RecordWebhookAttempt,
        cmd.SendWebhookAgain,
        cmd.ReleaseParked,
        ev.CommandRejected,
        ev.CommandRepeated,
        ev.ThreadDeleted,
        ev.CheckpointsDeleted,
        ev.WebhookAttempted,
        ev.WebhookDueAgain,
        ev.ParkedReleased,
        ev.ParkedEventsReleased,
    )
)
"""Types without personal content."""
OTHERS = frozenset(
    name
    for name, cls in {**cmd.COMMANDS, **ev.EVENTS, **snapshots.SNAPSHOTS}.items()
    if not issubclass(cls, cmd.ThreadCommand | ev.ThreadEvent) and name not in PLAIN
)
"""Types that belong to no thread: assistants, crons, store, graphs."""
SEALED_TOPICS = frozenset((cmd.TOPIC, ev.RUN_EVENTS, ev.DEAD_LETTERS, snapshots.TOPIC))


class _Makes(msgspec.Struct):
    if_not_exists: str = "reject"


def is_sealed(topic: str, type_name: str) -> bool:
    """Return whether records of this type have personal content of a thread; an unknown type is assumed to have."""
    return topic in SEALED_TOPICS and type_name not in PLAIN and type_name not in OTHERS


class SealedLog:
    """Implements `Log`. ``writes`` False: sealed records can be read, new ones are not sealed."""

    def __init__(self, inner: Log, keys: ThreadKeys, *, writes: bool) -> None:
        self._inner = inner
        self._keys = keys
        self._writes = writes
        self.partitions = inner.partitions
        self.max_record_bytes = inner.max_record_bytes
        self.name = inner.name
        self.appends_atomically = inner.appends_atomically
        self.encrypts = True

    async def start(self) -> None:
        await self._keys.start()
        try:
            await self._inner.start()
        except BaseException:
            await self._keys.stop()
            raise
        self.partitions = self._inner.partitions
        self.max_record_bytes = self._inner.max_record_bytes

    async def stop(self) -> None:
        await self._inner.stop()
        await self._keys.stop()

    def partition_of(self, key: str) -> int:
        return self._inner.partition_of(key)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        return await self._inner.append(await self._seal(records) if self._writes else records)

    async def check(self) -> None:
        await self._inner.check()

    async def end_offsets(self, topic: str) -> list[int]:
        return await self._inner.end_offsets(topic)

    async def start_offsets(self, topic: str) -> list[int]:
        return await self._inner.start_offsets(topic)

    async def offsets_at(self, topic: str, moment: datetime) -> list[int]:
        return await self._inner.offsets_at(topic, moment)

    async def cut(self, positions: Mapping[TopicPartition, int]) -> None:
        await self._inner.cut(positions)

    async def fetch(self, topic: str, partition: int, offsets: Collection[int]) -> list[Record]:
        return await self.unsealed(await self._inner.fetch(topic, partition, offsets))

    def reader(self, topics: Sequence[str], start: Mapping[TopicPartition, int] | None = None) -> LogReader:
        return _Reader(self, self._inner.reader(topics, start))

    def member(self, group: str, topics: Sequence[str], assignment: Assignment) -> LogReader:
        return _Reader(self, self._inner.member(group, topics, assignment))

    async def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> bool:
        return await self._inner.commit(group, positions)

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        return await self._inner.committed(group, partitions)

    async def group_positions(self) -> dict[str, Positions]:
        return await self._inner.group_positions()

    async def key_ids(self, thread_id: str) -> set[str]:
        """Return the id of the thread's current key, if any (`envelope.KEY_ID` of records). Raises LogUnavailable."""
        return await self._keys.ids_of(thread_id)

    async def _seal(self, records: Sequence[NewRecord]) -> list[NewRecord]:
        types = [envelope.type_of(record.headers) for record in records]
        threads = {r.key for r, type_name in zip(records, types, strict=True) if is_sealed(r.topic, type_name)}
        if not threads:
            return [_bare(record) for record in records]
        makers = {r.key for r, type_name in zip(records, types, strict=True) if _makes_thread(r, type_name)}
        keys = await self._keys.for_writing(threads, makers)
        sealed = []
        for record, type_name in zip(records, types, strict=True):
            record = _bare(record)
            if is_sealed(record.topic, type_name):
                key, nonce = keys[record.key], random_bytes(NONCE_BYTES)
                value = nonce + key.cipher.encrypt(nonce, compressed(record.value), _bound(record.headers, record.key))
                record = record._replace(
                    value=value, headers={**record.headers, envelope.SEALED: f"{VERSION}:{key.id}"}
                )
            sealed.append(record)
        return sealed

    async def unsealed(self, records: list[Record]) -> list[Record]:
        """Return the records with their bodies decrypted. Raises LogUnavailable while keys cannot be reached."""
        ids = {_key_id(record) for record in records if envelope.SEALED in record.headers}
        if not ids:
            return records
        keys = await self._keys.for_reading(ids)
        return [self._open(record, keys) if envelope.SEALED in record.headers else record for record in records]

    def _open(self, record: Record, keys: Mapping[str, object]) -> Record:
        from cryptography.exceptions import InvalidTag

        id = _key_id(record)
        cipher = keys[id]
        headers = {name: value for name, value in record.headers.items() if name != envelope.SEALED}
        if cipher is None:
            return msgspec.structs.replace(record, value=b"", headers={**headers, envelope.ERASED: "1"})
        nonce, body = record.value[:NONCE_BYTES], record.value[NONCE_BYTES:]
        try:
            value: bytes = cipher.decrypt(nonce, body, _bound(record.headers, record.key))  # type: ignore[attr-defined]
        except (InvalidTag, ValueError):  # ValueError: it is too short to be sealed
            logger.error("log.seal_broken", topic=record.topic, partition=record.partition, offset=record.offset)
            return record  # it cannot be read: the reader parks it
        return msgspec.structs.replace(record, value=restored(value), headers={**headers, envelope.KEY_ID: id})


class _Reader:
    """Implements `LogReader`. Records that were read before the keys could be reached wait here: a cancelled read loses nothing."""

    def __init__(self, log: SealedLog, inner: LogReader) -> None:
        self._log = log
        self._inner = inner
        self._held: list[Record] = []

    async def read(self, max_records: int = 1000) -> list[Record]:
        logged = False
        while True:
            if not self._held:
                self._held = await self._inner.read(max_records)
            try:
                records = await self._log.unsealed(self._held)
            except LogUnavailable as error:
                if not logged:
                    logger.warning("log.keys_away", error=str(error))
                logged = True
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that Postgres is back
                continue
            self._held = []
            return records

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        self._held = [record for record in self._held if (record.topic, record.partition) not in positions]
        self._inner.seek(positions)

    def alone(self) -> bool:
        return self._inner.alone()

    async def stop(self) -> None:
        await self._inner.stop()


def _bare(record: NewRecord) -> NewRecord:
    """Return the headers without those that reading has added: a record may be written again, as a dead letter."""
    if envelope.KEY_ID in record.headers:
        return record._replace(headers={k: v for k, v in record.headers.items() if k != envelope.KEY_ID})
    return record


def _makes_thread(record: NewRecord, type_name: str) -> bool:
    """Return whether the command creates a thread. Only such a command gives an erased thread another key."""
    if record.topic != cmd.TOPIC:
        return False
    if type_name == cmd.CreateThread.TYPE:
        return True
    return type_name == cmd.CreateRun.TYPE and msgspec.json.decode(record.value, type=_Makes).if_not_exists == "create"


def _bound(headers: Mapping[str, str], key: str) -> bytes:
    """Return the associated data of a sealed body: it can only be opened in a record with this id, type and key."""
    return "\0".join((headers.get("ce_id", ""), headers.get("ce_type", ""), key)).encode()


def _key_id(record: Record) -> str:
    """Return the id of the key that sealed the record. An id with a NUL, which Postgres has no text for, becomes one that is unknown."""
    return storable_text(record.headers[envelope.SEALED].rpartition(":")[2])
