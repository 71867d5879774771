"""Clocks and chance that a test sets, for `langlog_backbone.time.sources.replaced` and for what takes a clock as an argument."""

from __future__ import annotations

import random


class SteppedClock:
    """Stands still but for what the code sleeps and the test adds to it."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000_000_000

    def time_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        """Seconds: as an argument for what takes a clock."""
        return self.ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


class SeededChance:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def random_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def uuid4(self) -> str:
        return self.random_bytes(16).hex()

    def uuid7(self) -> str:
        return self.random_bytes(16).hex()
