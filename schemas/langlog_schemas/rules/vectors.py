"""How an embedding travels in commands and events, and how near two of them are. Pure."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from math import sqrt
from operator import mul
from typing import Literal

if sys.version_info >= (3, 12):
    from math import sumprod as _dot
else:

    def _dot(one: Sequence[float], other: Sequence[float]) -> float:
        total: float = sum(map(mul, one, other))
        return total


Bits = Literal[32, 64]

EXACT_MAX = 64
"""Vectors up to this length keep their numbers as they were given, at no cost: those of tests and toys, whose scores are compared to
the last digit. Longer ones are of models, whose numbers say nothing after the seventh; keeping them made puts with 384 numbers 15 to
30 % dearer and searches 10 to 20 %."""


def pack(embedding: Sequence[float]) -> tuple[bytes, Bits]:
    """Little endian, and how many bits a number has. Those that 32 bits cannot hold become infinite there.

    Raises TypeError for what is no number.
    """
    exact = len(embedding) <= EXACT_MAX
    numbers = array("d" if exact else "f", embedding)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes(), 64 if exact else 32


def unpack(embedding: bytes, bits: Bits) -> list[float]:
    """Raises ValueError for bytes that are no such numbers."""
    numbers = array("f" if bits == 32 else "d")
    numbers.frombytes(embedding)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def similarity(wanted: Sequence[float]) -> Callable[[Sequence[float]], float]:
    """The cosine similarity to this vector, in 64 bits, of others of its length; 0 where one of the two has no direction."""
    length = sqrt(_dot(wanted, wanted))

    def of(other: Sequence[float]) -> float:
        lengths = length * sqrt(_dot(other, other))
        return _dot(wanted, other) / lengths if lengths else 0.0

    return of
