"""Batches of other producers: what aiokafka does not get past, and the offsets that they leave without a record.

Names of headers that are not UTF-8 are read all the same, with U+FFFD for what is no text. aiokafka decodes names of headers while it goes
through a batch, and its error leaves the consumer where it was: no reader would ever get past that record. Kafka takes any bytes for a name
(KIP-82), and clients in C or Go send what they are given.

Its own code reads each batch until that error; only then is the rest of that batch read here, once.

A transaction ends in a mark of the broker that takes an offset, and compaction removes records. aiokafka passes over such offsets, and returns
nothing where nothing else follows: a caller that reads to the end of a partition would never reach it, and one that goes on at such an
offset would take what follows for records out of order. So each is returned, as `NoRecord`.

Both replace a class of aiokafka for consumers that are made here, and for no other consumer of the process
(`tests/packaging/test_private_names.py` holds where they are).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, codec
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

LENGTH = struct.Struct(">i")
LENGTH_AT, AFTER_LENGTH = 8, 12
"""Bytes before a batch's length, and before what it counts."""
COUNT_AT, RECORDS_AT = 57, 61
"""Bytes of a batch (format v2) before the number of its records, and before the records."""
APPEND_TIME = 1
DECOMPRESS: dict[int, Callable[[bytes], bytes]] = {
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
"""By the number in a batch's attributes."""

CLOSE_TIMEOUT_S = 5.0
"""Maximum seconds to close what aiokafka has left open."""

_ours: ContextVar[bool] = ContextVar("consumer_of_langlog", default=False)
"""Whether a task belongs to a consumer that is made here: it fetches in tasks that `start` makes, which inherit this."""


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer, which passes records whose header names are no text, returns each offset, and fails if it can fetch no more."""

    _failed: KafkaError | None = None

    async def start(self) -> None:
        token = _ours.set(True)
        try:
            await super().start()
        finally:
            _ours.reset(token)
        if self._group_id is None:  # one that is in a group fetches nothing (`member`)
            self._fetcher.error_future.add_done_callback(self._note_end)

    async def getmany(self, *partitions: KafkaPartition, **limits: Any) -> dict[KafkaPartition, list[Any]]:
        """Return as aiokafka's. Raises KafkaError also if the client fetches no more: aiokafka's own does not look, and waits for good."""
        if self._failed is not None:
            raise self._failed
        fetched: dict[KafkaPartition, list[Any]] = await super().getmany(*partitions, **limits)
        return fetched

    async def stop(self) -> None:
        """Stop. aiokafka's own raises CancelledError, without a cancellation, where a fetch pauses after an error; and it leaves tasks
        and connections behind where fetching has failed, and where it is cancelled because a group does not answer."""
        closings = (self._fetcher.close, self._client.close) if self._fetcher else (self._client.close,)
        try:
            await asyncio.gather(super().stop(), return_exceptions=True)
        finally:
            for close in closings:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await asyncio.gather(close(), return_exceptions=True)

    def _note_end(self, fetching: asyncio.Task[None]) -> None:
        if self._closed:
            return
        error = None if fetching.cancelled() else fetching.exception()
        reason = repr(error.__cause__ or error) if error else "it was cancelled"
        self._failed = KafkaError(f"the client fetches no more: {reason}")
        self._subscription.abort_waiters(self._failed)


class ForeignRecord(msgspec.Struct, frozen=True):
    """A record with the members that aiokafka asks for."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class NoRecord(msgspec.Struct, frozen=True):
    """An offset without a record of any producer."""

    offset: int


class Batch:
    """A batch as aiokafka goes through it. ``native``: its own; ``data``: the same as bytes."""

    def __init__(self, native: Any, data: memoryview) -> None:
        self._native = native
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._native
        except (UnicodeDecodeError, CorruptRecordException) as error:
            if not _is_no_text(error):
                raise
        else:
            return
        # from the first record again: aiokafka drops those below the offset that it is at
        yield from records_of(self._native, self._data)

    def __next__(self) -> Any:
        return next(self._native)


class Batches:
    """Batches of a partition that aiokafka has fetched, in place of its ``MemoryRecords``."""

    def __init__(self, data: bytes) -> None:
        self._native = MemoryRecords(data)
        self._data = memoryview(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        size: int = self._native.size_in_bytes()
        return size

    def has_next(self) -> bool:
        there: bool = self._native.has_next()
        return there

    def next_batch(self) -> Batch | None:
        begin = self._at
        native = self._native.next_batch()
        if native is None:
            return None
        (length,) = LENGTH.unpack_from(self._data, begin + LENGTH_AT)
        self._at = begin + AFTER_LENGTH + length
        return Batch(native, self._data[begin : self._at])


def records_of(batch: Any, data: memoryview) -> Iterator[ForeignRecord]:
    """Return the records of a batch of format v2 (the only one with headers). ``batch``: aiokafka's, for what stands before the records.

    Raises CorruptRecordException where a record ends elsewhere than it says, UnsupportedCodecError.
    """
    (count,) = LENGTH.unpack_from(data, COUNT_AT)
    records = bytes(data[RECORDS_AT:])
    if batch.compression_type:
        decompress = DECOMPRESS.get(batch.compression_type)
        if decompress is None:
            raise UnsupportedCodecError(f"Unknown compression codec {batch.compression_type:#04x}")
        records = decompress(records)
    at = 0
    for _ in range(count):
        record, at = _record(batch, records, at)
        yield record


def _record(batch: Any, data: bytes, at: int) -> tuple[ForeignRecord, int]:
    """Return the record that begins there, and where the next one does."""
    try:
        length, at = decode_varint(data, at)
        end = at + length
        _, at = decode_varint(data, at)  # attributes, of which there are none
        delta, at = decode_varint(data, at)
        place, at = decode_varint(data, at)
        key, at = _sized(data, at)
        value, at = _sized(data, at)
        count, at = decode_varint(data, at)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _sized(data, at)
            text, at = _sized(data, at)
            headers.append(((name or b"").decode(errors="replace"), text))
    except (ValueError, IndexError) as error:
        raise CorruptRecordException(f"Found invalid record structure: {error!r}") from error
    if at != end:
        raise CorruptRecordException(f"Invalid record size: it ends at {at}, and its length says {end}")
    sent = batch.max_timestamp if batch.timestamp_type == APPEND_TIME else batch.first_timestamp + delta
    return ForeignRecord(batch.base_offset + place, sent, batch.timestamp_type, key, value, headers), at


def _sized(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(data, at)
    return (None, at) if size < 0 else (data[at : at + size], at + size)


def _is_no_text(error: Exception) -> bool:
    """aiokafka without its C extension wraps the error."""
    return isinstance(error, UnicodeDecodeError) or isinstance(error.__cause__, UnicodeDecodeError)


class EachOffset(PartitionRecords):  # type: ignore[misc]
    """The records of a partition that aiokafka has fetched from an offset on, and a `NoRecord` for each offset without one.

    aiokafka compares ``next_fetch_offset``, from which the partition is read next, with the position that the consumer was sent to.
    """

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        at = self.next_fetch_offset
        for record in super()._unpack_records():
            after = record.offset + 1
            if at < record.offset:
                yield from self._without_records(at, record.offset)
                self.next_fetch_offset = after
            at = after
            yield record
        yield from self._without_records(at, self.next_fetch_offset)

    def _without_records(self, begin: int, end: int) -> Iterator[NoRecord]:
        for offset in range(begin, end):
            self.next_fetch_offset = offset + 1
            yield NoRecord(offset)


def _fetched(data: bytes) -> Any:
    return Batches(data) if _ours.get() else MemoryRecords(data)


def _of_partition(*about: Any) -> Any:
    return (EachOffset if _ours.get() else PartitionRecords)(*about)


fetcher.MemoryRecords = _fetched
fetcher.PartitionRecords = _of_partition
