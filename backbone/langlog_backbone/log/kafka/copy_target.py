"""Topics that receive a copy of another log: every record with its offset and time in the source.

Records refer to each other by positions, so a copy must not renumber them. A partition whose front was cut begins with
as many empty records, which are deleted at once: Kafka has no other way to begin at an offset.

    topics made ──► topic ``unfinished-copy`` made, times from the sender ──► records ──► compared ──► the broker's times again,
                                                                                              ``unfinished-copy`` deleted

While that topic exists no service starts on the others (`KafkaLog.start`).

Concurrency: one copier at a time; a second one is detected by the returned offsets.
Death: acknowledged records are on the brokers, and the next copier continues after them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from ...process.settings import Settings
from ...time.clock import now_ms
from ..port import AppendUnknown, LogFault, LogUnavailable, NewRecord, TopicPartition
from .client import make_admin
from .kafka_log import TOPICS, UNFINISHED, KafkaLog

DYNAMIC_TOPIC_CONFIG = 1
"""Source of a setting of the topic itself (KIP-226)."""
TIMES = "message.timestamp.type"
FROM_SENDER, FROM_BROKER = "CreateTime", "LogAppendTime"
FILLER_RECORDS = 20_000
"""Number of empty records that are sent before waiting for acknowledgements."""
FILLER_MS = 1
"""Time of an empty record: before any other, so that no search by time finds it."""
ADMIN_TIMEOUT_S = 60.0
APPLIED_PAUSE_S = 0.1
"""Seconds between queries whether brokers have applied a changed setting, which nothing signals."""


class CopyTarget(KafkaLog):
    """A `KafkaLog` that also starts on topics whose copy is unfinished, and appends with the records' own times."""

    async def _refuse_half_a_copy(self, admin: AIOKafkaAdminClient) -> None:
        """Do nothing: this log finishes unfinished copies."""

    def _timestamp_ms(self, record: NewRecord) -> int:
        # brokers refuse a time that is more than an hour ahead of theirs (KIP-937)
        return min(sent_ms(record.headers), now_ms())

    async def unfinished(self) -> bool:
        """Return whether an earlier copy is unfinished. Raises LogUnavailable."""
        return self._stored(UNFINISHED) in await self._topics_there()

    async def begin(self) -> None:
        """Mark the topics as incomplete, and use the senders' times. Idempotent. Raises LogFault, LogUnavailable."""
        admin = self._admin_client()
        try:
            async with asyncio.timeout(ADMIN_TIMEOUT_S):
                response = await admin.create_topics(
                    [NewTopic(self._stored(UNFINISHED), 1, self._settings.replication_factor)]
                )
                for _, code, *words in response.topic_errors:
                    error = for_code(code)
                    if code != 0 and error is not TopicAlreadyExistsError:
                        raise LogFault(
                            f"topic {self._stored(UNFINISHED)} cannot be made: {words[0] if words and words[0] else error.__name__}"
                        )
                await self._set_times(admin, FROM_SENDER)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka did not prepare the topics for a copy: {str(error) or 'no answer'}") from None

    async def finish(self) -> None:
        """Mark the copy as complete: services may start. Idempotent. Raises LogFault, LogUnavailable."""
        admin = self._admin_client()
        try:
            async with asyncio.timeout(ADMIN_TIMEOUT_S):
                await self._set_times(admin, FROM_BROKER)
                response = await admin.delete_topics([self._stored(UNFINISHED)])
                for _, code, *_ in response.topic_error_codes:
                    if code != 0 and for_code(code) is not UnknownTopicOrPartitionError:
                        raise LogFault(f"topic {self._stored(UNFINISHED)} cannot be deleted: {for_code(code).__name__}")
                await self._deleted(admin, self._stored(UNFINISHED))
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka did not end the copy: {str(error) or 'no answer'}") from None

    async def _deleted(self, admin: AIOKafkaAdminClient, topic: str) -> None:
        """Wait until brokers no longer list a topic: they answer before they have deleted it, and signal nothing when they have."""
        while True:
            if topic not in await admin.list_topics():
                return
            await asyncio.sleep(APPLIED_PAUSE_S)

    async def begin_at(self, starts: Mapping[TopicPartition, int]) -> None:
        """Make partitions begin at these offsets: everything below is deleted. Raises LogFault, LogUnavailable, AppendUnknown."""
        for topic in sorted({topic for topic, _ in starts}):
            ends = await self.end_offsets(topic)
            for (of, part), start in sorted(starts.items()):
                if of == topic and ends[part] < start:
                    await self._fill(topic, part, start - ends[part])
        await self.cut(starts)

    async def _fill(self, topic: str, partition: int, count: int) -> None:
        """Append empty records."""
        producer = await self._ready_producer()
        stored = self._stored(topic)
        try:
            while count:
                sent = []
                wave = min(count, FILLER_RECORDS)
                count -= wave
                while wave:
                    batch = producer.create_batch()
                    while wave and batch.append(key=None, value=None, timestamp=FILLER_MS) is not None:
                        wave -= 1
                    batch.close()
                    sent.append(await producer.send_batch(batch, stored, partition=partition))
                async with asyncio.timeout(self._settings.append_deadline_s):
                    await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            self._discard(producer)
            raise AppendUnknown(
                f"Kafka did not take what a cut partition begins with: {str(error) or 'no answer'}"
            ) from None

    async def _set_times(self, admin: AIOKafkaAdminClient, kind: str) -> None:
        """Change that one setting of each topic. AlterConfigs replaces all of a topic's settings, so the others are sent along."""
        while wanted := await self._with_other_times(admin, kind):
            for response in await admin.alter_configs(wanted):
                for code, words, _, name, *_ in response.resources:
                    if code != 0:
                        raise LogFault(
                            f"topic {name}: {TIMES} cannot be set to {kind}: {words or for_code(code).__name__}"
                        )
            await asyncio.sleep(APPLIED_PAUSE_S)

    async def _with_other_times(self, admin: AIOKafkaAdminClient, kind: str) -> list[ConfigResource]:
        """Return the topics without that kind of times (yet), and their new settings."""
        names = [self._stored(topic) for topic in self._topics]
        wanted: list[ConfigResource] = []
        for response in await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        ):
            for code, words, _, name, entries, *_ in response.resources:
                if code != 0:
                    raise LogFault(f"topic {name}: its settings cannot be read: {words or for_code(code).__name__}")
                present = {entry[0]: entry[1] for entry in entries}
                if present.get(TIMES) != kind:
                    own = {entry[0]: entry[1] for entry in entries if _of_topic(response.API_VERSION, entry)}
                    wanted.append(ConfigResource(ConfigResourceType.TOPIC, name, configs=own | {TIMES: kind}))
        return wanted

    async def _topics_there(self) -> list[str]:
        try:
            async with asyncio.timeout(ADMIN_TIMEOUT_S):
                names: list[str] = await self._admin_client().list_topics()
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka did not list its topics: {str(error) or 'no answer'}") from None
        return names

    def _admin_client(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise LogUnavailable("the log is not open")
        return self._admin


async def topics_there(bootstrap: str, settings: Settings) -> set[str]:
    """Return those of langlog's topics that exist on these brokers, without the prefix. Creates nothing.

    Raises LogUnavailable.
    """
    async with _admin(bootstrap, settings) as admin:
        names = set(await admin.list_topics())
    return {topic for topic in TOPICS if settings.topic_prefix + topic in names}


async def members_of(bootstrap: str, settings: Settings, group: str) -> int:
    """Return the number of current members of one of langlog's groups. Raises LogUnavailable."""
    async with _admin(bootstrap, settings) as admin, asyncio.timeout(ADMIN_TIMEOUT_S):
        while True:
            try:
                responses = await admin.describe_consumer_groups([settings.topic_prefix + group])
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(APPLIED_PAUSE_S)  # nothing signals that the group has a coordinator
                continue
            return sum(len(described[5]) for response in responses for described in response.groups)


@contextlib.asynccontextmanager
async def _admin(bootstrap: str, settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield an admin client. Kafka's errors become LogUnavailable."""
    client = make_admin(bootstrap, settings)
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await client.start()
            yield client
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        raise LogUnavailable(f"Kafka cannot be reached ({bootstrap}): {str(error) or 'no answer'}") from None
    finally:
        await client.close()


def sent_ms(headers: Mapping[str, str]) -> int:
    """Return the time of a record's append by its headers, in milliseconds since 1970; 1 if they have none."""
    try:
        return max(1, int(datetime.fromisoformat(headers.get("dead_time") or headers["ce_time"]).timestamp() * 1000))
    except (KeyError, ValueError, OverflowError):
        return FILLER_MS


def _of_topic(version: int, entry: Sequence[object]) -> bool:
    return entry[3] == DYNAMIC_TOPIC_CONFIG if version >= 1 else not entry[3]
