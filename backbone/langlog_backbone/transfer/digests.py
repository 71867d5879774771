"""Digests of records, one for each partition: two logs that have the same ones hold the same records at the same positions.

A digest covers offset, key, headers (in any order: logs do not preserve it) and value; it grows record by record, so no
record stays in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from ..log import Positions, Record, TopicPartition

DIGEST_BYTES = 32

_pack = msgspec.msgpack.Encoder().encode


class Gap(Exception):
    """Records are missing between two of a partition: their positions could not be kept in another log."""


class Digests:
    """Digests of the records of each partition from ``starts`` on, added in offset order."""

    def __init__(self, starts: Mapping[TopicPartition, int]) -> None:
        self.next: Positions = dict(starts)
        """Partition -> offset of its next record."""
        self._hashes = {partition: hashlib.blake2b(digest_size=DIGEST_BYTES) for partition in starts}

    def add(self, records: Iterable[Record]) -> None:
        """Add a record. Raises Gap if an offset is missing before it."""
        for record in records:
            partition = record.topic, record.partition
            expected = self.next[partition]
            if record.offset != expected:
                raise Gap(gap(record.topic, record.partition, expected))
            self.next[partition] = expected + 1
            digest = self._hashes[partition]
            digest.update(_pack((record.offset, record.key, sorted(record.headers.items()), len(record.value))))
            digest.update(record.value)

    def of(self, partition: TopicPartition) -> bytes:
        """Return the digest of the partition's records so far."""
        return self._hashes[partition].digest()

    def differing(self, other: Digests) -> list[TopicPartition]:
        """Return the partitions whose records differ, in order."""
        return sorted(
            partition
            for partition, digest in self._hashes.items()
            if self.next[partition] != other.next.get(partition) or digest.digest() != other._hashes[partition].digest()
        )


def gap(topic: str, partition: int, offset: int) -> str:
    """Return the error text for a partition without a record at an offset."""
    return (
        f"{topic}/{partition} has no record at offset {offset}, though others follow: something other than langlog wrote to it "
        "(transactions leave such gaps), and records that follow cannot keep their positions in another log"
    )
