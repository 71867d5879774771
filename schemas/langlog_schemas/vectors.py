"""How an embedding travels in commands and events: 32-bit floats, little endian. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from sys import byteorder


def pack(embedding: Sequence[float]) -> bytes:
    """Numbers that 32 bits cannot hold become infinite. Raises TypeError for what is no number."""
    found = array("f", embedding)
    if byteorder == "big":
        found.byteswap()
    return found.tobytes()


def unpack(embedding: bytes) -> list[float]:
    """Raises ValueError for bytes that are no 32-bit floats."""
    found = array("f")
    found.frombytes(embedding)
    if byteorder == "big":
        found.byteswap()
    return found.tolist()
