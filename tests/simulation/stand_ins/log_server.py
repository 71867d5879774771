"""The server's side of the log in memory: partitions, and groups as on Kafka (see `memory_log`).

Groups are shared out by the pure function that the adapter of Kafka uses (`langlog_backbone.log.kafka.sharing.share`), in two rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from langlog_backbone.log import NewRecord, Positions, Record, TopicPartition
from langlog_backbone.log.kafka.sharing import Claim, share
from langlog_backbone.log.partitioner import partition_of
from langlog_backbone.process.settings import Settings

if TYPE_CHECKING:
    from .memory_log import Follower, MemoryMember


class Group:
    def __init__(self) -> None:
        self.members: dict[int, MemoryMember] = {}
        self.claims: dict[int, Claim] = {}
        self.silent_since: dict[int, float] = {}
        self.committed: Positions = {}
        self.round = 0


class LogServer:
    """Partitions and groups; outlives its clients. ``session_s``: after this long without an answer a member is out."""

    def __init__(self, partitions: int, session_s: float = 6.0) -> None:
        self.partitions = partitions
        self.session_s = session_s
        self.records: dict[TopicPartition, list[Record]] = {}
        self.starts: Positions = {}
        self.groups: dict[str, Group] = {}
        self.readers: dict[Follower, None] = {}
        self.on_append: list[Callable[[Record], None]] = []
        self.on_evict: list[Callable[[str, MemoryMember], None]] = []
        self._numbers = 0
        self._watch: asyncio.TimerHandle | None = None

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    # partitions

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        """One batch of one partition."""
        topic, part = records[0].topic, partition_of(records[0].key, self.partitions)
        stored = self.records.setdefault((topic, part), [])
        offsets = []
        for new in records:
            offset = self.end((topic, part))
            record = Record(topic, part, offset, new.key, new.value, dict(new.headers))
            stored.append(record)
            offsets.append(offset)
            for callback in self.on_append:
                callback(record)
        for reader in tuple(self.readers):
            reader.note(topic)
        return offsets

    def end(self, partition: TopicPartition) -> int:
        return self.starts.get(partition, 0) + len(self.records.get(partition, ()))

    def slice(self, partition: TopicPartition, begin: int, count: int) -> list[Record]:
        start = self.starts.get(partition, 0)
        return self.records.get(partition, [])[max(0, begin - start) : max(0, begin - start) + count]

    def cut(self, partition: TopicPartition, offset: int) -> None:
        start = self.starts.get(partition, 0)
        if offset > start:
            offset = min(offset, self.end(partition))
            self.records[partition] = self.records.get(partition, [])[offset - start :]
            self.starts[partition] = offset

    # groups

    def join(self, group: str, member: MemoryMember) -> int:
        entry = self.groups.setdefault(group, Group())
        for old in [number for number, known in entry.members.items() if known is member]:
            self.leave(group, old)  # it joined before, and did not hear of it
        number = self.number()
        entry.members[number] = member
        entry.claims[number] = Claim()
        self.rebalance(group)
        if self._watch is None:
            self._look_soon()
        return number

    def claim(self, group: str, number: int, owned: Collection[int]) -> bool:
        """Note the partitions that the member has now. False: the group does not know it (any more)."""
        entry = self.groups.setdefault(group, Group())
        if number not in entry.members:
            return False
        released = set(entry.claims[number].owned) - set(owned)
        entry.claims[number] = Claim(entry.round, sorted(owned))
        if released:
            self.rebalance(group)
        return True

    def leave(self, group: str, number: int) -> None:
        entry = self.groups.get(group)
        if entry is not None and entry.members.pop(number, None) is not None:
            entry.claims.pop(number, None)
            entry.silent_since.pop(number, None)
            self.rebalance(group)

    def evict(self, group: str, number: int, late_s: float = 0.0) -> None:
        """The session has run out. The member learns of it ``late_s`` seconds later, and acts as an owner until then."""
        entry = self.groups[group]
        member = entry.members.get(number)
        for callback in self.on_evict if member is not None else ():
            callback(group, member)
        self.leave(group, number)
        if member is not None and late_s:
            asyncio.get_running_loop().call_later(late_s, member.out_of_group, number)
        elif member is not None:
            member.out_of_group(number)

    def rebalance(self, group: str) -> None:
        entry = self.groups[group]
        if not entry.members:
            return
        entry.round += 1
        claims = {f"{number:09d}": claim for number, claim in entry.claims.items()}
        shares = share(claims, range(self.partitions))
        for number, member in entry.members.items():
            numbers = shares[f"{number:09d}"]
            entry.claims[number] = Claim(entry.round, sorted({*entry.claims[number].owned, *numbers}))
            member.offered(number, set(numbers), len(entry.members))

    def _look_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self.session_s / 4, self._look)

    def _look(self) -> None:
        self._watch = None
        now = asyncio.get_running_loop().time()
        for name, entry in self.groups.items():
            for number, member in list(entry.members.items()):
                if member.responsive:
                    entry.silent_since.pop(number, None)
                elif now - entry.silent_since.setdefault(number, now) >= self.session_s:
                    self.evict(name, number)
        if any(entry.members for entry in self.groups.values()):
            self._look_soon()


_servers: dict[str, LogServer] = {}


def server_of(settings: Settings) -> LogServer:
    """The server of a ``memory://`` URI and topic prefix; made by its first caller."""
    name = f"{settings.log_uri}/{settings.topic_prefix}"
    if name not in _servers:
        _servers[name] = LogServer(settings.partitions, settings.group_session_s)
    return _servers[name]
