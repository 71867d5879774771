"""The partitioner is Kafka's."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import murmur2 as kafka_murmur2
from langlog_backbone.log.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "hashed"),
    [
        # the vectors of Kafka's own UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF


def test_the_hash_equals_aiokafkas_for_random_keys() -> None:
    generator = random.Random(3)
    for _ in range(2_000):
        data = generator.randbytes(generator.randrange(60))
        assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


def test_a_partition_is_the_positive_hash_of_the_utf8_key() -> None:
    for key in ("", "a", "Größe", "0190c4b4-7a4e-7c3a-9b1e-0d6c8f3c2a11"):
        assert partition_of(key, 32) == (kafka_murmur2(key.encode()) & 0x7FFFFFFF) % 32
