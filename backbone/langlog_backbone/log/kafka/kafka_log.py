"""The log on Kafka.

One idempotent producer sends whatever has gathered; a position is known when all in-sync replicas have the record. A send that
fails or outlives its deadline is *unknown*: the producer that made it is thrown away with all it holds (its sequence numbers
could no longer be trusted) and the next append makes a new one.

Brokers that do not answer are noticed after `SUSPECT_S` and by a connection attempt to each; until one answers,
appends fail at once.

Concurrency: belongs to the event loop that started it.
Death: what was acknowledged is on the brokers; what was under way is there or not, per partition a prefix.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnsupportedVersionError,
)
from langlog_schemas import commands, events, snapshots
from msgspec.structs import replace

from ...metrics import table
from ...metrics.deferred import later
from ...process.settings import Settings
from ...time.clock import now_ms
from ...time.sources import monotonic
from ..partitioner import partition_of
from ..port import (
    FAILURE_KEPT_S,
    AppendUnknown,
    Assignment,
    LogFault,
    LogSilent,
    LogUnavailable,
    NewRecord,
    Position,
    Positions,
    Record,
    RecordTooLarge,
    TopicPartition,
)
from .abrupt_close import discard_producer
from .client import (
    CONNECT_TIMEOUT_S,
    broker_log,
    filter_broker_log,
    make_admin,
    make_consumer,
    make_member,
    make_producer,
)
from .fetch import KafkaFetcher
from .group_positions import GroupPositions, close_admin
from .member import KafkaMember
from .offsets import OffsetQueries
from .reader import KafkaReader
from .sharing import Sharing
from .split_consumer import SplitConsumer
from .topics import prepare_topics

logger = structlog.get_logger(__name__)

BUSY_TOPICS = (events.RUN_EVENTS,)
"""Topics that nearly all records of a reader come from: read apart from its others."""
TOPICS = (commands.TOPIC, *events.EVENT_TOPICS, events.DEAD_LETTERS, snapshots.TOPIC)

UNFINISHED = "unfinished-copy"
"""A topic that exists while the others hold an incomplete copy of another log (`copy_target`)."""
SUSPECT_S = 1.0
"""Seconds of a pending append after which the brokers are probed."""
PROBE_PAUSE_S = 0.25
"""Seconds between two connection attempts while no broker answers."""
STOP_TIMEOUT_S = 5.0
"""Seconds for pending appends at `stop`."""
START_TIMEOUT_S = 20.0
"""Maximum seconds for which a start tries the brokers that are named, if there are several."""
CUT_TIMEOUT_S = 60.0
"""Seconds for the cluster to delete records."""
RETRY_PAUSE_S = 0.1
_appends = table.APPENDS.labels("kafka")
_records, _bytes = table.APPENDED_RECORDS.labels("kafka"), table.APPENDED_BYTES.labels("kafka")
_failures = table.APPEND_FAILURES.labels("kafka")


class KafkaLog:
    """Implements `port.Log`. ``bootstrap``: ``host:port``, several separated by commas."""

    name = "kafka"
    appends_atomically = False
    encrypts = False

    def __init__(self, bootstrap: str, settings: Settings, topics: Sequence[str] = TOPICS) -> None:
        self.partitions = settings.partitions
        self.max_record_bytes = settings.max_record_bytes
        self._bootstrap = bootstrap
        self._settings = settings
        self._topics = topics
        self._prefix = settings.topic_prefix
        self._producer: AIOKafkaProducer | None = None
        self._making: asyncio.Task[AIOKafkaProducer] | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._offsets = OffsetQueries(lambda: make_consumer(bootstrap, self._settings), self.partitions)
        self._group_positions = GroupPositions(
            lambda: make_admin(bootstrap, self._settings),
            lambda group: make_member(bootstrap, self._settings, group, Sharing()),
            topics,
            self._prefix,
            lambda: self._open,
        )
        self._fetcher = KafkaFetcher(lambda: make_consumer(bootstrap, settings), self.partitions)
        self._members: dict[str, list[KafkaMember]] = {}
        self._done: dict[tuple[str, TopicPartition], int] = {}
        self._failed_at: float | None = None
        """Time of the last append's failure; None: it did not fail."""
        self._down = False
        self._probe: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._open = False

    async def start(self) -> None:
        """Connect to the cluster. Of several named brokers, some may be unavailable. Raises LogUnavailable, LogSilent, LogFault."""
        filter_broker_log()
        until = monotonic() + START_TIMEOUT_S
        while True:
            try:
                await self._start_once()
                return
            except LogUnavailable:
                if "," not in self._bootstrap or monotonic() > until:
                    raise
            await asyncio.sleep(RETRY_PAUSE_S)  # the next one is tried at random

    async def _start_once(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                admin = self._admin = make_admin(self._bootstrap, self._settings)
                await admin.start()
            topics = [self._stored(topic) for topic in self._topics]
            await self._refuse_half_a_copy(admin)
            self.max_record_bytes = await prepare_topics(admin, topics, self._settings)
            self._settings = replace(self._settings, max_record_bytes=self.max_record_bytes)
            self._open = True
            try:
                await self._ready_producer()
            except LogUnavailable:
                await self._ready_producer()  # the broker was there just now: it, or we, stood still for a moment
        except (IncompatibleBrokerVersion, UnsupportedVersionError) as error:
            await self.stop()
            raise LogFault(f"Kafka at {self._bootstrap} is too old: {error}") from None
        except (LogUnavailable, KafkaError, OSError, TimeoutError, ValueError) as error:
            await self.stop()
            text = f"Kafka cannot be reached (LOG_URI, {self._bootstrap}): {str(error) or 'no answer'}"
            if not isinstance(error, ValueError) and await self._anybody():
                raise LogSilent(text) from None
            raise LogUnavailable(text) from None
        except BaseException:
            await self.stop()
            raise

    async def _refuse_half_a_copy(self, admin: AIOKafkaAdminClient) -> None:
        """Raise LogFault if a copy into the topics is unfinished. Called before topics are created."""
        if self._stored(UNFINISHED) in await admin.list_topics():
            raise LogFault(
                f"a copy into the topics {self._prefix}* at {self._bootstrap} has not finished: run the same `langlog log copy` or "
                f"`langlog restore` again, or delete these topics and {self._stored(UNFINISHED)} to begin anew"
            )

    def _timestamp_ms(self, record: NewRecord) -> int:
        """Return the time to send with a record: the machine's clock may be wrong, and brokers refuse records from the future."""
        return now_ms()

    async def stop(self) -> None:
        self._open = False
        for task in (self._probe, self._making):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await producer.flush()
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await producer.stop()
            except (KafkaError, OSError, TimeoutError):
                await discard_producer(producer)
        for closing in (self._admin and close_admin(self._admin), self._offsets.stop(), self._group_positions.stop()):
            if closing is not None:
                with contextlib.suppress(KafkaError, OSError):
                    await closing
        self._admin = None
        await self._fetcher.stop()
        if self._closing:
            await asyncio.wait(self._closing)

    def partition_of(self, key: str) -> int:
        return partition_of(key, self.partitions)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        if not records:
            return []
        largest = max(len(record.value) for record in records)
        if largest > self.max_record_bytes:
            raise RecordTooLarge(f"a record of {largest} bytes; the limit is {self.max_record_bytes}")
        producer = self._producer
        if producer is None or self._down:
            producer = await self._ready_producer()
        sent: list[asyncio.Future[Any]] = []
        began = monotonic()
        suspicion = asyncio.get_running_loop().call_later(SUSPECT_S, self._suspect)
        try:
            async with asyncio.timeout(self._settings.append_deadline_s):
                for record in records:
                    sent.append(
                        await producer.send(
                            self._stored(record.topic),
                            record.value,
                            record.key.encode(),
                            partition_of(record.key, self.partitions),
                            timestamp_ms=self._timestamp_ms(record),
                            headers=[(name, value.encode()) for name, value in record.headers.items()],
                        )
                    )
                acknowledged = [await sent[0]] if len(sent) == 1 else await asyncio.gather(*sent)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            if not sent:
                raise RecordTooLarge(str(error)) from None
            _failures.inc()
            self._discard(producer)
            raise AppendUnknown(f"Kafka took a part of the records: {error}") from None
        except TimeoutError:
            _failures.inc()
            self._discard(producer)
            raise AppendUnknown(f"Kafka did not answer within {self._settings.append_deadline_s:g} s") from None
        except KafkaError as error:
            _failures.inc()
            self._discard(producer)
            raise AppendUnknown(f"Kafka failed: {error}") from None
        finally:
            suspicion.cancel()
            for future in sent:
                if future.done():
                    _retrieve(future)
                else:
                    future.add_done_callback(_retrieve)
        broker_log.recovered()
        self._failed_at = None
        later(_appends.observe, monotonic() - began)
        later(_records.inc, len(records))
        later(_bytes.inc, sum([len(record.value) for record in records]))
        if any(metadata.offset < 0 for metadata in acknowledged):
            # Kafka knew the batch as a duplicate of an older one and no longer where that one is
            raise AppendUnknown("Kafka has the records, but did not return their offsets")
        return [Position(metadata.partition, metadata.offset) for metadata in acknowledged]

    async def key_ids(self, thread_id: str) -> set[str]:
        return set()

    async def check(self) -> None:
        if not self._open:
            raise LogUnavailable("the log is not open")
        if self._failed_at is not None and monotonic() - self._failed_at < FAILURE_KEPT_S:
            raise LogUnavailable("the last append failed a moment ago")
        await self.end_offsets(self._topics[0])  # queries the leader of each partition

    async def end_offsets(self, topic: str) -> list[int]:
        return await self._reachable_offsets().end(self._stored(topic))

    async def start_offsets(self, topic: str) -> list[int]:
        return await self._reachable_offsets().start(self._stored(topic))

    async def offsets_at(self, topic: str, moment: datetime) -> list[int]:
        return await self._reachable_offsets().at(self._stored(topic), moment)

    async def cut(self, positions: Mapping[TopicPartition, int]) -> None:
        starts: dict[str, list[int]] = {
            topic: await self.start_offsets(topic) for topic in {topic for topic, _ in positions}
        }
        wanted = {
            KafkaPartition(self._stored(topic), part): RecordsToDelete(offset)
            for (topic, part), offset in positions.items()
            if offset > starts[topic][part]
        }
        if not wanted:
            return
        if self._admin is None:
            raise LogUnavailable("the log is not open")
        try:
            async with asyncio.timeout(CUT_TIMEOUT_S):
                await self._admin.delete_records(wanted)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka did not cut the log: {str(error) or 'no answer'}") from None

    def _reachable_offsets(self) -> OffsetQueries:
        if self._down:
            raise LogUnavailable("Kafka cannot be reached")
        return self._offsets

    async def fetch(self, topic: str, partition: int, offsets: Collection[int]) -> list[Record]:
        if self._down:
            raise LogUnavailable("Kafka cannot be reached")
        with table.FETCHES.time():
            return await self._fetcher.fetch(topic, KafkaPartition(self._stored(topic), partition), offsets)

    def _consumer_of(self, topics: Sequence[str]) -> Callable[[], SplitConsumer]:
        stored, busy = [self._stored(topic) for topic in topics], [self._stored(topic) for topic in BUSY_TOPICS]
        return lambda: SplitConsumer(lambda: make_consumer(self._bootstrap, self._settings), stored, busy)

    def reader(self, topics: Sequence[str], start: Mapping[TopicPartition, int] | None = None) -> KafkaReader:
        return KafkaReader(self._consumer_of(topics), self._names(topics), self.partitions, start or {})

    def member(self, group: str, topics: Sequence[str], assignment: Assignment) -> KafkaMember:
        stored = self._stored(group)
        member = KafkaMember(
            self._consumer_of(topics),
            lambda sharing: make_member(self._bootstrap, self._settings, stored, sharing),
            group,
            self._names(topics),
            self.partitions,
            assignment,
        )
        self._members.setdefault(group, []).append(member)
        return member

    async def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> bool:
        ahead = {
            partition: offset
            for partition, offset in positions.items()
            if offset > self._done.get((group, partition), -1)
        }
        if not ahead:
            return True
        joined = [member for member in self._members.get(group, ()) if member.joined]
        if joined:
            taken = {partition for member in joined for partition in await member.commit(ahead)}
        else:
            taken = set(ahead) if await self._group_positions.commit_alone(group, ahead) else set()
        self._done.update({(group, partition): ahead[partition] for partition in taken})
        return len(taken) == len(ahead)

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        return await self._group_positions.committed(group, partitions)

    async def group_positions(self) -> dict[str, Positions]:
        return await self._group_positions.all()

    # the producer

    async def _ready_producer(self) -> AIOKafkaProducer:
        """Return a started producer. Raises LogUnavailable."""
        if not self._open:
            raise LogUnavailable("the log is not open")
        if self._down:
            raise LogUnavailable(f"Kafka cannot be reached ({self._bootstrap})")
        if self._producer is None:
            if self._making is None:
                self._making = asyncio.create_task(self._make_producer(), name="kafka-producer")
                self._making.add_done_callback(self._made)
            return await asyncio.shield(self._making)
        return self._producer

    async def _make_producer(self) -> AIOKafkaProducer:
        producer = make_producer(self._bootstrap, self._settings)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await producer.start()
                for topic in self._topics:
                    await producer.partitions_for(self._stored(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            self._close_abandoned_later(producer)
            self._suspect()
            if isinstance(error, IncompatibleBrokerVersion | UnsupportedVersionError):
                raise LogFault(f"Kafka at {self._bootstrap} is too old: {error}") from None
            raise LogUnavailable(
                f"Kafka cannot be reached (LOG_URI, {self._bootstrap}): {str(error) or 'no answer'}"
            ) from None
        except BaseException:
            self._close_abandoned_later(producer)
            raise
        return producer

    def _made(self, making: asyncio.Task[AIOKafkaProducer]) -> None:
        self._making = None
        if not making.cancelled() and making.exception() is None:
            self._producer = making.result()

    def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer, self._failed_at = None, monotonic()
            logger.warning("kafka.producer_discarded")
            self._close_abandoned_later(producer)
            self._suspect()

    def _close_abandoned_later(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(discard_producer(producer), name="kafka-close-abandoned")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # whether there is anybody

    def _suspect(self) -> None:
        if self._open and self._probe is None:
            self._probe = asyncio.create_task(self._probe_log(), name="kafka-probe")
            self._probe.add_done_callback(self._probed)

    def _probed(self, probe: asyncio.Task[None]) -> None:
        self._probe = None
        self._down = False

    async def _probe_log(self) -> None:
        """Wait until a broker accepts connections; sets `_down` meanwhile, if none does."""
        while not await self._anybody():
            if not self._down:
                self._down = True
                logger.error("kafka.down", brokers=self._bootstrap)
            await asyncio.sleep(PROBE_PAUSE_S)
        if self._down:
            logger.info("kafka.up")

    async def _anybody(self) -> bool:
        addresses = {(host, int(port or 9092)) for host, _, port in map(_split, self._bootstrap.split(","))}
        if self._producer is not None:
            addresses |= {(broker.host, broker.port) for broker in self._producer.client.cluster.brokers()}
        for host, port in addresses:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    return True
        return False

    def _stored(self, name: str) -> str:
        return self._prefix + name

    def _names(self, topics: Sequence[str]) -> dict[str, str]:
        return {self._stored(topic): topic for topic in topics}


def _split(address: str) -> tuple[str, str, str]:
    return address.strip().rpartition(":") if ":" in address else (address.strip(), ":", "")


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a task that is no longer awaited."""
    if not future.cancelled():
        future.exception()
