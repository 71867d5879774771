"""The log: the interface that services use, whichever adapter implements it.

Two adapters, one conformance suite (``tests/log``): `sqlite` (embedded) and `kafka`. Both have the same topics,
partitions (Kafka's murmur2 over the key), offsets and guarantees:

* records of one key keep the order in which one appender awaited them, or passed them in one call;
* an append that returned is durable; one that raised `AppendUnknown` may still land, once or (after the appender has
  tried again) twice: readers drop duplicates by id;
* a reader sees each partition in offset order without gaps, and wakes up when something arrives: nothing polls. Offsets of Kafka
  without a record of any producer come as records that are marked (``envelope.GAP``), which are passed over where records are handled;
* what was cut off the front of a partition (`Log.cut`) is gone for every reader, and offsets stay as they were.

Concurrency: `append` may be called by many tasks of the event loop that started the log; concurrent appends share a commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from ..process.server_errors import AppendUnknown as AppendUnknown
from ..process.server_errors import LogSilent as LogSilent
from ..process.server_errors import LogUnavailable as LogUnavailable

FAILURE_KEPT_S = 10.0
"""Seconds for which `Log.check` fails after a failed append, unless another append succeeds."""

TopicPartition = tuple[str, int]
"""(topic, partition)"""

Positions = dict[TopicPartition, int]
"""(topic, partition) -> offset"""


class LogFault(Exception):
    """The log is not fit for use (weaker settings than required, too old, locked by another). Ends the process."""


class RecordTooLarge(Exception):
    """A record is larger than `Log.max_record_bytes`; nothing was appended."""


class NewRecord(NamedTuple):
    """A record to append. ``headers`` as `langlog_schemas.envelope.headers` makes them."""

    topic: str
    key: str
    value: bytes
    headers: dict[str, str]


class Position(NamedTuple):
    partition: int
    offset: int


class Record(msgspec.Struct, frozen=True, array_like=True):
    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: dict[str, str]


class Assignment(Protocol):
    """Callbacks of an owner of partitions; called inside `LogReader.read`, never concurrently."""

    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """These partitions are now owned, beside the former ones. Returns the offset of the first record wanted of each (absent or 0:
        from the beginning)."""
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are no longer owned: discard their state."""
        ...


DECIDERS = "deciders"
"""The group whose members decide ``commands``."""


class LogReader(Protocol):
    async def read(self, max_records: int = 1000) -> list[Record]:
        """Return the available records, at most ``max_records``; wait until there is one.

        Raises asyncio.CancelledError as usual; connection trouble is waited out (and logged once per change of state).
        """
        ...

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Continue from these offsets, earlier or later ones. Give every partition that is followed; others are ignored.

        May be called while a `read` waits, which then goes on from there. A read that has taken its records may still return
        them. A later `read` raises LogFault where the log was cut beyond the offsets.
        """
        ...

    def alone(self) -> bool:
        """Return whether no other member shared the group at the last assignment. A reader without a group is alone."""
        ...

    async def stop(self) -> None:
        """Leave the group, if any, and free resources. A blocked `read` ends with CancelledError by its caller."""
        ...


PART_BYTES = 16_000_000
"""Maximum size of the records of a split body, in bytes, whatever the log allows: readers hold one at a time."""


class Log(Protocol):
    partitions: int
    max_record_bytes: int
    """Maximum size of a record, in bytes. Final once the log has started: topics of Kafka may allow less than the settings."""
    name: str
    """"sqlite" or "kafka"."""
    appends_atomically: bool
    """Whether `append` appends all records or none, over all partitions."""
    encrypts: bool
    """Whether bodies of threads are encrypted: `key_ids` names their keys."""

    async def start(self) -> None:
        """Connect, create missing topics. Raises LogUnavailable (not reachable), LogSilent (reachable, but it does not answer),
        LogFault (reachable, but not fit)."""
        ...

    async def stop(self) -> None: ...

    def partition_of(self, key: str) -> int: ...

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Append the records durably, in order per partition; return their positions in the given order.

        All or nothing with `appends_atomically`; else a crash may leave any prefix per partition.
        Raises LogUnavailable, AppendUnknown, RecordTooLarge.
        """
        ...

    async def key_ids(self, thread_id: str) -> set[str]:
        """Return the ids of the keys that the thread's records are encrypted with now (`envelope.KEY_ID`); empty without encryption.

        Raises LogUnavailable.
        """
        ...

    async def check(self) -> None:
        """Check whether an append may succeed now, as far as that shows without one. Raises LogUnavailable."""
        ...

    async def end_offsets(self, topic: str) -> list[int]:
        """Return, per partition, the offset that the next record gets."""
        ...

    async def start_offsets(self, topic: str) -> list[int]:
        """Return, per partition, the offset below which the log was cut; 0 where it never was. Raises LogUnavailable."""
        ...

    async def offsets_at(self, topic: str, moment: datetime) -> list[int]:
        """Return, per partition, the offset of the first record that was appended at this moment or later; the end without one.

        By the clock of who appended it. Raises LogUnavailable.
        """
        ...

    async def cut(self, positions: Mapping[TopicPartition, int]) -> None:
        """Delete all records below these offsets. Idempotent; records at and above the offsets stay as they are.

        Readers that are still below find a fault. Broken off, it may be done in part. Raises LogUnavailable.
        """
        ...

    async def fetch(self, topic: str, partition: int, offsets: Collection[int]) -> list[Record]:
        """Return the records at these offsets of one partition, in offset order, gaps among them; those that are not there (yet,
        or any more) are left out.

        For looking things up, a page at a time: all of them are held in memory. Joins no group. Raises LogUnavailable.
        """
        ...

    def reader(self, topics: Sequence[str], start: Mapping[TopicPartition, int] | None = None) -> LogReader:
        """Follow all partitions of the topics, alone. ``start`` absent or 0 for a partition: from its beginning.

        `LogReader.read` raises LogFault where the log was cut beyond ``start``.
        """
        ...

    def member(self, group: str, topics: Sequence[str], assignment: Assignment) -> LogReader:
        """Return a reader of the partitions that the group assigns to this member.

        Each partition has one owner at a time. A member that was silent for too long has lost its partitions, and may go on with them
        until it notices. Partitions that stay with a member are neither revoked nor assigned, and flow on while others move.
        Partition n of every topic of the group goes to the same member.
        """
        ...

    async def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> bool:
        """Store for the group that everything below these offsets is done; never backwards.

        Returns False if some were not taken: another member owns the partition, or the group is being shared out. Raises
        LogUnavailable.
        """
        ...

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        """Return the group's committed positions; without the partitions that have none."""
        ...

    async def group_positions(self) -> dict[str, Positions]:
        """Return the positions that each group has committed on langlog's topics, on Kafka those of other consumers too.

        For operators; queries each group in turn. Raises LogUnavailable.
        """
        ...
