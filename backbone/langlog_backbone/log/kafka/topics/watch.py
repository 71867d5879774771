"""Watches that the topics of an open log are there, and are still the same.

An operator may delete a topic while services use it. aiokafka then queries metadata again and again, without a pause, and its callers
notice nothing; and a topic that is made again takes new records at offsets that readers have passed. So each open log looks at the ids
of its topics every `LOOK_S`. While one is gone, its readers wait without a client, and appends to it are refused.

    there ──gone──► missing ──same id──► there
      │                └──another id──┐
      └───────────another id──────────┴──► made again ──judge: nothing rests on the former records──► there
                                                  └────judge: something does──► refused, judged again at each look

The judge (`read_model.same_log`) knows what was folded and decided. A log without one refuses each topic that was made again. Readers of a
refused topic raise LogFault, which ends their process; appends raise TopicUnusable.

Concurrency: one look at a time, on the event loop of its log. Death: changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from ....process.retry import Availability
from ....process.unavailable import may_pass
from ...port import LogFault, TopicUnusable
from .ids import NO_ID, topic_ids

logger = structlog.get_logger(__name__)

LOOK_S = 2.0
"""Seconds between two looks."""
CONFIRM_S = 0.3
"""Seconds before a change is looked at again, at a broker at random: one that lags behind is not believed."""
QUERY_TIMEOUT_S = 5.0
"""Seconds for one query."""
JUDGE_TIMEOUT_S = 20.0
"""Seconds for one judgement."""

Judge = Callable[[str], Awaitable[str | None]]
"""Returns why a topic (by langlog's name) that was made again must not be used, with the remedy, or None if it may. Raises LogFault, whose
text is such a reason, and what `unavailable.may_pass` knows."""

DELETED = "topic {} was deleted: what uses it waits until it is there again. Restore the log (docs/how-to/backup.md)"
MADE_AGAIN = "topic {} was deleted and made again: {}"
NOT_JUDGED = "whether records are missed is not known yet"
NO_JUDGE = "its former records are gone. End this process, and start the services, which say what to do"


class TopicWatch:
    """``make``: a client that is not connected; ``names``: topic on Kafka -> langlog's name."""

    def __init__(self, make: Callable[[], AIOKafkaClient], names: Mapping[str, str], judge: Judge) -> None:
        self.looks = 0
        """Number of looks that brokers have answered."""
        self.gone: frozenset[str] = frozenset()
        """Topics on Kafka that do not exist."""
        self.listeners: set[Callable[[], None]] = set()
        """Called whenever a topic has become usable or unusable."""
        self._make, self._names, self._judge = make, names, judge
        self._client: AIOKafkaClient | None = None
        self._ids: dict[str, bytes] = {}
        """The ids of the topics that records were read from and appended to."""
        self._seen: dict[str, bytes | None] = {}
        """The ids at the last look."""
        self._unusable: dict[str, str] = {}
        """Topic on Kafka -> why it cannot be used at the moment."""
        self._refused: set[str] = set()
        self._availability = Availability("log.topics", "log")
        self._changed = asyncio.Event()
        self._suspected = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Note the ids that the topics have now. Raises KafkaError, OSError, TimeoutError."""
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            self._seen = await self._query()
        self._ids = {topic: id for topic, id in self._seen.items() if id is not None}
        self._following = asyncio.create_task(self._follow(), name="kafka-topics")

    async def stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await self._close()

    def unusable(self, topics: Collection[str] | None = None) -> str | None:
        """Return why one of these topics (None: of all) cannot be used, in words for operators, or None."""
        return next((why for topic, why in self._unusable.items() if topics is None or topic in topics), None)

    def require(self, topics: Collection[str] | None = None) -> None:
        """Raise TopicUnusable if one of these topics (None: of all) cannot be used."""
        if (why := self.unusable(topics)) is not None:
            raise TopicUnusable(why)

    async def usable(self, topics: Collection[str]) -> None:
        """Wait until these topics can be used. Raises LogFault if one must not be."""
        while self.unusable(topics) is not None:
            if (refusal := self.unusable(self._refused.intersection(topics))) is not None:
                raise LogFault(refusal)
            await self._changed.wait()

    def look_soon(self) -> None:
        """Look at the topics at once: one seems to have changed."""
        self._suspected.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):  # brokers do not signal that a topic is gone
                    await self._suspected.wait()
            self._suspected.clear()
            try:
                await self._look()
            except (KafkaError, OSError, TimeoutError):
                await self._close()  # whatever uses the log reports that no broker answers

    async def _look(self) -> None:
        async with asyncio.timeout(QUERY_TIMEOUT_S):
            ids = await self._query()
            if any(id != self._seen.get(topic) for topic, id in ids.items()):
                await asyncio.sleep(CONFIRM_S)
                again = await self._query()
                ids = {topic: id for topic, id in ids.items() if topic in again and again[topic] == id}
        self._seen |= ids
        for topic, id in ids.items():
            if id is None:
                self._lose(topic)
            elif self._is_same(topic, id):
                self._have(topic)
            else:
                await self._judge_anew(topic, id)
        self.looks += 1
        why = self.unusable()
        if why is None:
            self._availability.succeeded()
        else:
            self._availability.failed(TopicUnusable(why))

    def _is_same(self, topic: str, id: bytes) -> bool:
        """Return whether a topic is the one that was used before. Where brokers know no ids, one that was gone is not."""
        return self._ids.setdefault(topic, id) == id and (id != NO_ID or topic not in self._unusable)

    def _lose(self, topic: str) -> None:
        if topic not in self.gone:
            self.gone |= {topic}
            self._refused.discard(topic)
            logger.error("kafka.topic_missing", topic=topic)
            self._change(topic, DELETED.format(topic))

    def _have(self, topic: str) -> None:
        if topic in self._unusable:
            self.gone -= {topic}
            self._refused.discard(topic)
            logger.info("kafka.topic_back", topic=topic)
            self._change(topic, None)

    async def _judge_anew(self, topic: str, id: bytes) -> None:
        self.gone -= {topic}
        if topic not in self._refused:
            self._change(topic, MADE_AGAIN.format(topic, NOT_JUDGED))
        try:
            async with asyncio.timeout(JUDGE_TIMEOUT_S):
                refusal = await self._judge(self._names[topic])
        except LogFault as fault:
            refusal = str(fault)
        except Exception as error:
            if not may_pass(error):
                raise
            return  # the next look judges again
        why = refusal and MADE_AGAIN.format(topic, refusal)
        if why is None:
            self._ids[topic] = id
            self._refused.discard(topic)
            logger.warning("kafka.topic_made_again", topic=topic, used=True)
        elif self._unusable.get(topic) != why:
            self._refused.add(topic)
            logger.error("kafka.topic_made_again", topic=topic, used=False, reason=refusal)
        self._change(topic, why)

    def _change(self, topic: str, why: str | None) -> None:
        if self._unusable.get(topic) == why:
            return
        if why is None:
            del self._unusable[topic]
        else:
            self._unusable[topic] = why
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for listener in list(self.listeners):
            listener()

    async def _query(self) -> dict[str, bytes | None]:
        if self._client is None:
            self._client = self._make()
            await self._client.bootstrap()
        return await topic_ids(self._client, self._names)

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
