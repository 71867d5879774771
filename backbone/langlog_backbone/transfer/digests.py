"""Digests of records, one for each partition: two logs that have the same ones hold the same records at the same positions.

A digest covers offset, key, headers (in whichever order: logs do not keep it) and value; it grows record by record, so nothing is kept in memory.
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
    """Of the records of each partition from ``starts`` on, which come in offset order."""

    def __init__(self, starts: Mapping[TopicPartition, int]) -> None:
        self.next: Positions = dict(starts)
        """The offset that the next record of each partition has."""
        self._hashes = {partition: hashlib.blake2b(digest_size=DIGEST_BYTES) for partition in starts}

    def add(self, records: Iterable[Record]) -> None:
        """Raises Gap where an offset was left out."""
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
        """Of what was added so far."""
        return self._hashes[partition].digest()

    def differing(self, other: Digests) -> list[TopicPartition]:
        """Partitions whose records are not the same, in order."""
        return sorted(
            partition
            for partition, digest in self._hashes.items()
            if self.next[partition] != other.next.get(partition) or digest.digest() != other._hashes[partition].digest()
        )


def gap(topic: str, partition: int, offset: int) -> str:
    """What is wrong where a partition has no record at an offset."""
    return (
        f"{topic}/{partition} has no record at offset {offset}, though others follow: something other than langlog wrote to it "
        "(transactions leave such gaps), and records that follow cannot keep their positions in another log"
    )
