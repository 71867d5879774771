"""The one port through which langlog reads a clock, blocks a thread for a time, or draws random values.

The functions use two objects for the whole process: a `Clock` and a `Chance`, by default those of the machine.
`replaced` exchanges them, so that a test sets the time and a simulation draws everything from its seed. What keeps
time in an object has one of the functions as an argument (``clock: Callable[[], float] = monotonic``) and is tested with another.

Waiting on an event loop (``asyncio.sleep``, ``asyncio.timeout``, ``call_later``, ``loop.time``) does not use this port: all
of that uses the loop's time, and a loop is replaced as a whole already. A test that
replaces the clock and the loop gives both the same monotonic time.

Most code needs `time.clock`: the time by the clock of Postgres, which all processes share, and ids. Chance here is good
enough for keys and nonces. It comes from the operating system and never from the generator of the ``random`` module, which a
project's graphs may seed and a forked process would repeat.

`tests/packaging/test_sources.py` lists the few modules that go around this port, with the reason of each.

Concurrency: called from any thread. Cost: one more Python call, some 50 ns, than a direct call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from uuid_utils import uuid4 as _machine_uuid4
from uuid_utils import uuid7 as _machine_uuid7


class Clock(Protocol):
    """A source of time."""

    def time_ns(self) -> int:
        """Return nanoseconds since 1970 by the machine's clock, which may be stepped."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds since a fixed moment; it never goes back."""
        ...

    def monotonic(self) -> float:
        """Return `monotonic_ns` in seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the thread."""
        ...


class Chance(Protocol):
    """A source of random numbers."""

    def random_bytes(self, size: int) -> bytes:
        """Return unpredictable bytes."""
        ...

    def uuid4(self) -> str:
        """Return a random UUID (RFC 9562)."""
        ...

    def uuid7(self) -> str:
        """Return a UUID that begins with the time (RFC 9562); later ones of a process are greater."""
        ...


class MachineClock:
    """The machine's clocks."""

    time_ns: Callable[[], int] = staticmethod(time.time_ns)
    monotonic_ns: Callable[[], int] = staticmethod(time.monotonic_ns)
    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], None] = staticmethod(time.sleep)


class MachineChance:
    """The operating system's randomness; UUIDs at the speed of C."""

    random_bytes: Callable[[int], bytes] = staticmethod(os.urandom)

    def uuid4(self) -> str:
        return str(_machine_uuid4())

    def uuid7(self) -> str:
        return str(_machine_uuid7())


_clock: Clock = MachineClock()
_chance: Chance = MachineChance()


@contextmanager
def replaced(*, clock: Clock | None = None, chance: Chance | None = None) -> Iterator[None]:
    """Use this clock and this chance in the block, for all threads of the process; None leaves what is there."""
    global _clock, _chance
    before = _clock, _chance
    _clock, _chance = clock or _clock, chance or _chance
    try:
        yield
    finally:
        _clock, _chance = before


def machine_time_ns() -> int:
    """Return nanoseconds since 1970 by the machine's clock. Times that others compare are `clock.now`."""
    return _clock.time_ns()


def machine_now() -> datetime:
    """Return the time by the machine's clock, in UTC, for people in front of this machine."""
    return datetime.fromtimestamp(_clock.time_ns() / 1e9, UTC)


def monotonic() -> float:
    """Return monotonic seconds, for measuring durations."""
    return _clock.monotonic()


def monotonic_ns() -> int:
    """Return monotonic nanoseconds, for measuring durations."""
    return _clock.monotonic_ns()


def block(seconds: float) -> None:
    """Block the thread: for code that runs on no event loop."""
    _clock.sleep(seconds)


def random_bytes(size: int) -> bytes:
    """Return unpredictable bytes, for keys, nonces and secrets."""
    return _chance.random_bytes(size)


def random_hex(size: int) -> str:
    """Return ``2 * size`` random hexadecimal digits."""
    return _chance.random_bytes(size).hex()


def uniform(low: float, high: float) -> float:
    """Return a number from ``low`` to ``high``, uniformly distributed."""
    return low + (high - low) * (int.from_bytes(_chance.random_bytes(7)) >> 3) / (1 << 53)


def uuid4() -> str:
    """Return a random UUID (RFC 9562)."""
    return _chance.uuid4()


def uuid7() -> str:
    """Return a UUID that begins with the machine's time (RFC 9562)."""
    return _chance.uuid7()
