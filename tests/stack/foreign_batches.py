"""Record batches as a producer of another language writes them, byte by byte, and the request that appends one.

A client in Python encodes names of headers as UTF-8; one in C or Go sends the bytes that it was given. Sources: Kafka's protocol guide
(record batch v2, ``Produce`` version 7), KIP-82 (headers).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka import codec
from aiokafka.record.util import calc_crc32c

CLIENT = b"foreign"
PRODUCE, PRODUCE_VERSION = 0, 7
TIMEOUT_MS = 30_000
NOT_YET = (3, 6)
"""Errors of a partition that was just made: unknown, and not this broker's."""
CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, codec.gzip_encode),
    "snappy": (2, codec.snappy_encode),
    "raw snappy": (2, lambda payload: codec.snappy_encode(payload, xerial_compatible=False)),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, codec.zstd_encode),
}
"""Name -> number in a batch's attributes, and what compresses its records."""
UNKNOWN: tuple[int, Callable[[bytes], bytes]] = (5, bytes)
"""A codec that Kafka does not have."""


class ForeignRecord(NamedTuple):
    key: bytes | None = b"k"
    value: bytes | None = b"{}"
    headers: Sequence[tuple[bytes, bytes | None]] = ()


def record_batch(records: Sequence[ForeignRecord], compressed: str = "none") -> bytes:
    """Return a batch of format v2. ``compressed``: a name of `CODECS`; any other name: a codec that Kafka does not have."""
    number, compress = CODECS.get(compressed, UNKNOWN)
    payload = compress(b"".join(_record(at, record) for at, record in enumerate(records)))
    counted = struct.pack(">hiqqqhii", number, len(records) - 1, 1, 1, -1, -1, -1, len(records)) + payload
    checked = struct.pack(">ibI", -1, 2, calc_crc32c(counted)) + counted
    return struct.pack(">qi", 0, len(checked)) + checked


async def produce(bootstrap: str, topic: str, partition: int, batch: bytes) -> int:
    """Append a batch, and return the offset of its first record. ``bootstrap``: ``host:port`` of the partition's leader, without TLS.

    Raises AssertionError with the number of the broker's error.
    """
    while True:
        error, offset = await _asked(bootstrap, topic, partition, batch)
        if error not in NOT_YET:
            assert error == 0, f"Kafka's error {error}"
            return offset
        await asyncio.sleep(0.05)  # nothing signals that the broker knows of a new topic


async def _asked(bootstrap: str, topic: str, partition: int, batch: bytes) -> tuple[int, int]:
    """Return the broker's error (0: none) and the first offset."""
    name = topic.encode()
    body = struct.pack(">hhii", -1, -1, TIMEOUT_MS, 1)  # no transaction, all replicas
    body += struct.pack(f">h{len(name)}siii", len(name), name, 1, partition, len(batch)) + batch
    head = struct.pack(f">hhih{len(CLIENT)}s", PRODUCE, PRODUCE_VERSION, 1, len(CLIENT), CLIENT)
    host, _, port = bootstrap.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = await reader.readexactly(size)
    finally:
        writer.close()
    _, error, offset = struct.unpack_from(">ihq", answer, 4 + 4 + 2 + len(name) + 4)
    return error, offset


def _record(at: int, record: ForeignRecord) -> bytes:
    body = b"\0" + _varint(0) + _varint(at) + _sized(record.key) + _sized(record.value) + _varint(len(record.headers))
    body += b"".join(_sized(name) + _sized(value) for name, value in record.headers)
    return _varint(len(body)) + body


def _sized(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    rest, result = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        result.append(rest & 0x7F | 0x80)
        rest >>= 7
    result.append(rest)
    return bytes(result)
