"""How an embedding travels in commands and events, and how near two of them are. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import sqrt
from operator import mul
from sys import byteorder
from typing import Literal

Bits = Literal[32, 64]


def pack(embedding: Sequence[float]) -> tuple[bytes, Bits]:
    """Little endian, and how many bits a number has: 32 where those hold all of them exactly, as most models give them, else 64.

    Raises TypeError for what is no number.
    """
    whole = array("d", embedding)
    short = array("f", whole)
    exact = short.tolist() == whole.tolist()
    found = short if exact else whole
    if byteorder == "big":
        found.byteswap()
    return found.tobytes(), 32 if exact else 64


def unpack(embedding: bytes, bits: Bits) -> list[float]:
    """Raises ValueError for bytes that are no such numbers."""
    found = array("f" if bits == 32 else "d")
    found.frombytes(embedding)
    if byteorder == "big":
        found.byteswap()
    return found.tolist()


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Cosine similarity of two vectors of the same length, in 64 bits; 0 where one has no direction."""
    lengths = sqrt(sum(map(mul, one, one))) * sqrt(sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / lengths if lengths else 0.0
