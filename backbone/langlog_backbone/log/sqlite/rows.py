"""Rows of the embedded log: stored form of a record's headers and value. Pure.

    a small record     headers: empty     value: `compressed`: length of the headers and `AS_KEY` (2 bytes), headers, value
    any other          headers: msgpack   value: the value, or `compressed`

Headers and value of a small record are compressed together, because the words that all records share are mostly headers, and a
commit is encoded on the thread of its caller: the writer's thread would have to win the interpreter's lock back after each.
"""

from __future__ import annotations

import struct

import msgspec
import zstandard

from ...values.compression import LARGE_BYTES, compressed, compressed_small, restored
from ..port import LogFault, NewRecord

SUBJECT = "ce_subject"
AS_KEY = 0x8000
"""Flag: the subject equals the key, and is left out."""

_LENGTH = struct.Struct(">H")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, str]).decode


class StoredBody(msgspec.Struct):
    """A record's two columns. ``headers`` empty: they are in the value, which is as it will be stored."""

    headers: bytes
    value: bytes


def plain_body(key: str, headers: dict[str, str], value: bytes) -> bytes:
    """Return headers and value, before compression; empty where the headers alone are too large."""
    flag = 0
    if headers.get(SUBJECT) == key:
        flag = AS_KEY
        headers = headers.copy()
        del headers[SUBJECT]
    packed = _pack(headers)
    return _LENGTH.pack(len(packed) | flag) + packed + value if len(packed) < LARGE_BYTES else b""


def stored_body(record: NewRecord) -> StoredBody:
    """Return the stored form of small records; the value of others is compressed later, which may take longer."""
    if len(record.value) < LARGE_BYTES:
        whole = plain_body(record.key, record.headers, record.value)
        if whole and len(whole) < LARGE_BYTES:
            return StoredBody(b"", compressed_small(whole))
    return StoredBody(_pack(record.headers), record.value)


def value_of(body: StoredBody) -> bytes:
    """Return the value's column."""
    return compressed(body.value) if body.headers else body.value


def read_body(key: str, headers: bytes, value: bytes) -> tuple[dict[str, str], bytes]:
    """Return headers and value of a row. Raises LogFault where the row is damaged, or of a later langlog."""
    try:
        whole = restored(value)
        if headers:
            return _unpack(headers), whole
        (start,) = _LENGTH.unpack_from(whole)
        end = 2 + (start & ~AS_KEY)
        members = _unpack(whole[2:end])
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, struct.error) as error:
        raise LogFault(
            f"a record of the embedded log, with the key {key}, is damaged or of a newer langlog ({error}): start that one, or "
            "restore a backup"
        ) from None
    if start & AS_KEY:
        members[SUBJECT] = key
    return members, whole[end:]
