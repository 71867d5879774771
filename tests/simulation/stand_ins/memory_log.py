"""The third adapter of the `Log` port: partitions in memory, groups as on Kafka. `LogServer` is what brokers are, `MemoryLog` a client.

It passes the conformance suite of the two real adapters (``tests/log``). Groups are shared out by the pure function that the adapter of
Kafka uses (`langlog_backbone.log.kafka.sharing.share`), in two rounds; a member that does not answer for a session's time loses its partitions
and goes on with them until it notices. One call's records of a partition are appended whole, as one batch; over several partitions they
may be there in part when an append is broken off. Faults come from the `Link`, and from `LogServer.evict`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from langlog_backbone.log import (
    AppendUnknown,
    Assignment,
    LogFault,
    LogUnavailable,
    NewRecord,
    Position,
    Positions,
    Record,
    RecordTooLarge,
    TopicPartition,
)
from langlog_backbone.log.partitioner import partition_of
from langlog_backbone.process.settings import Settings

from .link import Direct, Link, NoAnswer, Unreachable
from .log_server import Group, LogServer, server_of

logger = structlog.get_logger(__name__)

RETRY_PAUSE_S = 0.2
Batch = tuple[list[int], list[NewRecord]]
"""Records of one partition, and their places in the call."""


class MemoryLog:
    name = "kafka"
    appends_atomically = False
    encrypts = False

    def __init__(self, settings: Settings, server: LogServer | None = None, link: Link | None = None) -> None:
        self.partitions = settings.partitions
        self.max_record_bytes = settings.max_record_bytes
        self._deadline_s = settings.append_deadline_s
        self._server = server or server_of(settings)
        self.link: Link = link or Direct()
        self._open = False

    async def start(self) -> None:
        await self._query(lambda: None)
        self._open = True

    async def stop(self) -> None:
        self._open = False

    def partition_of(self, key: str) -> int:
        return partition_of(key, self.partitions)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        if not self._open:
            raise LogUnavailable("the log is not open")
        if not records:
            return []
        largest = max(len(record.value) for record in records)
        if largest > self.max_record_bytes:
            raise RecordTooLarge(f"a record of {largest} bytes; the limit is {self.max_record_bytes}")
        batches: dict[TopicPartition, Batch] = {}
        for place, record in enumerate(records):
            places, batch = batches.setdefault((record.topic, self.partition_of(record.key)), ([], []))
            places.append(place)
            batch.append(record)
        # beside each other, as requests to several brokers are: one may come about and another not
        appended = await asyncio.gather(*(self._append(batch) for _, batch in batches.values()), return_exceptions=True)
        failures = [result for result in appended if isinstance(result, BaseException)]
        if failures:
            known = all(isinstance(failure, Unreachable) for failure in failures) and len(failures) == len(appended)
            raise LogUnavailable("no broker was reached") if known else AppendUnknown("a broker did not answer")
        positions: list[Position | None] = [None] * len(records)
        for ((_, part), (places, _)), offsets in zip(batches.items(), appended, strict=True):
            assert isinstance(offsets, list)
            for place, offset in zip(places, offsets, strict=True):
                positions[place] = Position(part, offset)
        return [position for position in positions if position is not None]

    async def _append(self, batch: list[NewRecord]) -> list[int]:
        return await self.link.call(lambda: self._server.append(batch), self._deadline_s)

    async def _query(self, apply: Callable[[], Any]) -> Any:
        try:
            return await self.link.call(apply)
        except (Unreachable, NoAnswer):
            raise LogUnavailable("the log cannot be reached") from None

    def _checked(self) -> LogServer:
        if not self._open:
            raise LogUnavailable("the log is not open")
        return self._server

    async def key_ids(self, thread_id: str) -> set[str]:
        return set()

    async def check(self) -> None:
        self._checked()
        await self._query(lambda: None)

    async def end_offsets(self, topic: str) -> list[int]:
        server = self._checked()
        ends: list[int] = await self._query(lambda: [server.end((topic, p)) for p in range(self.partitions)])
        return ends

    async def start_offsets(self, topic: str) -> list[int]:
        server = self._checked()
        starts: list[int] = await self._query(
            lambda: [server.starts.get((topic, p), 0) for p in range(self.partitions)]
        )
        return starts

    async def offsets_at(self, topic: str, moment: datetime) -> list[int]:
        server = self._checked()

        def look() -> list[int]:
            return [
                next(
                    (
                        record.offset
                        for record in server.records.get((topic, p), ())
                        if datetime.fromisoformat(record.headers["ce_time"]) >= moment
                    ),
                    server.end((topic, p)),
                )
                for p in range(self.partitions)
            ]

        found: list[int] = await self._query(look)
        return found

    async def cut(self, positions: Mapping[TopicPartition, int]) -> None:
        server = self._checked()

        def cut() -> None:
            for partition, offset in positions.items():
                server.cut(partition, offset)

        await self._query(cut)

    async def fetch(self, topic: str, partition: int, offsets: Collection[int]) -> list[Record]:
        server = self._checked()

        def look() -> list[Record]:
            return [
                r
                for offset in sorted(set(offsets))
                for r in server.slice((topic, partition), offset, 1)
                if r.offset == offset
            ]

        found: list[Record] = await self._query(look)
        return found

    def reader(self, topics: Sequence[str], start: Mapping[TopicPartition, int] | None = None) -> MemoryReader:
        return MemoryReader(self._server, self.link, topics, start or {})

    def member(self, group: str, topics: Sequence[str], assignment: Assignment) -> MemoryMember:
        return MemoryMember(self._server, self.link, group, topics, assignment)

    async def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> bool:
        server = self._server

        def commit() -> None:
            committed = server.groups.setdefault(group, Group()).committed
            for partition, offset in positions.items():
                committed[partition] = max(offset, committed.get(partition, 0))

        await self._query(commit)
        return True

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        server = self._checked()

        def look() -> Positions:
            known = server.groups.setdefault(group, Group()).committed
            return {partition: known[partition] for partition in partitions if partition in known}

        found: Positions = await self._query(look)
        return found

    async def group_positions(self) -> dict[str, Positions]:
        server = self._checked()
        found: dict[str, Positions] = await self._query(
            lambda: {name: dict(group.committed) for name, group in server.groups.items() if group.committed}
        )
        return found


class Follower:
    """Reads partitions in turn from where each of them is."""

    def __init__(self, server: LogServer, link: Link, topics: Sequence[str]) -> None:
        self._server, self.link = server, link
        self._topics = frozenset(topics)
        self._next: Positions = {}
        self._news: asyncio.Future[None] | None = None
        self._noted = False
        self._away = False
        self._sought = 0
        server.readers[self] = None

    def alone(self) -> bool:
        return True

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        self._sought += 1
        self._next.update({partition: offset for partition, offset in positions.items() if partition in self._next})
        self._wake()

    async def stop(self) -> None:
        self._server.readers.pop(self, None)

    def note(self, topic: str) -> None:
        """The server has something new."""
        if topic in self._topics and not self._noted:
            self._noted = True
            self.link.later(self._heard)

    def _heard(self) -> None:
        self._noted = False
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _settle(self) -> None:
        """Do all that comes before records are taken."""

    async def read(self, max_records: int = 1000) -> list[Record]:
        while True:
            await self._settle()
            self._news = asyncio.get_running_loop().create_future()
            wanted, sought = dict(self._next), self._sought
            try:
                records = await self.link.call(lambda wanted=wanted: self._take(wanted, max_records))  # type: ignore[misc]
                if self._away:
                    self._away = False
                    logger.info("memory_log.reader_back")
            except (Unreachable, NoAnswer):
                if not self._away:
                    self._away = True
                    logger.warning("memory_log.reader_away")
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            if sought != self._sought or not self._unchanged():
                continue
            if records:
                for record in records:
                    self._next[record.topic, record.partition] = record.offset + 1
                return records
            await self._news

    def _unchanged(self) -> bool:
        return True

    def _take(self, wanted: Positions, most: int) -> list[Record]:
        records: list[Record] = []
        for partition, offset in wanted.items():
            start, end = self._server.starts.get(partition, 0), self._server.end(partition)
            if offset > end:
                raise LogFault(f"{partition} ends at {end}: there is no offset {offset}")
            if offset < start:
                raise LogFault(f"{partition} was cut up to {start} (docs/how-to/retention.md): {offset} is gone")
            if offset < end:
                records += self._server.slice(partition, offset, most - len(records))
                if len(records) >= most:
                    break
        return records


class MemoryReader(Follower):
    def __init__(
        self, server: LogServer, link: Link, topics: Sequence[str], start: Mapping[TopicPartition, int]
    ) -> None:
        super().__init__(server, link, topics)
        for topic in topics:
            for part in range(server.partitions):
                self._next[topic, part] = start.get((topic, part), 0) or server.starts.get((topic, part), 0)


class MemoryMember(Follower):
    def __init__(
        self, server: LogServer, link: Link, group: str, topics: Sequence[str], assignment: Assignment
    ) -> None:
        super().__init__(server, link, topics)
        self._order = tuple(topics)
        self._group, self._assignment = group, assignment
        self._number: int | None = None
        self._evicted: int | None = None
        """The last number that it was thrown out under, perhaps before it had heard that it joined under it."""
        self._claimed: set[int] = set()
        self._owned: set[int] = set()
        self._given: set[int] | None = None
        self._lost = False
        self._members = 0
        self._stopped = False

    @property
    def responsive(self) -> bool:
        """False also for one that was stopped while it joined: nothing answers for it, and its session ends."""
        return not self._stopped and self.link.responsive

    def alone(self) -> bool:
        return self._members <= 1

    # from the group's coordinator

    def offered(self, number: int, numbers: set[int], members: int) -> None:
        self.link.later(lambda: self._on_offer(number, numbers, members))

    def out_of_group(self, number: int) -> None:
        self.link.later(lambda: self._on_eviction(number))

    def _on_offer(self, number: int, numbers: set[int], members: int) -> None:
        if self._number not in (None, number) or self._stopped:
            return
        self._number = number
        self._given, self._members = numbers, members
        self._claimed |= numbers
        self._wake()

    def _on_eviction(self, number: int) -> None:
        self._evicted = number
        if number == self._number:
            self._number, self._lost, self._given, self._claimed = None, True, set(), set()
            self._wake()

    async def stop(self) -> None:
        await super().stop()
        self._stopped = True
        number, self._number = self._number, None
        if number is not None:
            try:
                await self.link.call(lambda: self._server.leave(self._group, number))
            except (Unreachable, NoAnswer):
                logger.info("memory_log.left_silently")

    def _unchanged(self) -> bool:
        return self._given is None and not self._lost

    async def _settle(self) -> None:
        if self._number is None:
            await self._join()
        while self._given is not None:
            given, self._given = self._given, None
            lost, self._lost = self._lost, False
            try:
                await self._notify(given, lost=lost)
            except BaseException:
                if self._given is None:
                    self._given = given
                raise
            if self._number is None:
                await self._join()

    async def _join(self) -> None:
        while True:
            try:
                number = await self.link.call(lambda: self._server.join(self._group, self))
            except (Unreachable, NoAnswer):
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            if number == self._evicted:  # the answer was late: it was out of the group meanwhile
                continue
            self._number = number
            return

    async def _notify(self, given: set[int], *, lost: bool) -> None:
        gone = set(self._owned) if lost else self._owned - given
        if gone:
            self._owned -= gone
            partitions = self._partitions(gone)
            for partition in partitions:
                self._next.pop(partition, None)
            await self._assignment.revoked(partitions)
        if self._claimed - given and self._given is None:
            self._claimed = set(given)
            await self._claim()
        fresh = given - self._owned
        if fresh:
            partitions = self._partitions(fresh)
            start = await self._assignment.assigned(partitions)
            for partition in partitions:
                self._next[partition] = start.get(partition, 0) or self._server.starts.get(partition, 0)
            self._owned |= fresh

    async def _claim(self) -> None:
        number, owned = self._number, set(self._claimed)
        if number is None:
            return
        while True:
            try:
                if not await self.link.call(lambda: self._server.claim(self._group, number, owned)):
                    self._on_eviction(number)
                return
            except (Unreachable, NoAnswer):
                await asyncio.sleep(RETRY_PAUSE_S)
                if self._number != number:
                    return

    def _partitions(self, numbers: Collection[int]) -> list[TopicPartition]:
        return [(topic, part) for topic in self._order for part in sorted(numbers)]
