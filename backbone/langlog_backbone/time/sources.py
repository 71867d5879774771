"""The one port through which langlog reads a clock, blocks a thread for a time, or draws something by chance.

Two objects stand behind the functions here for the whole process: a `Clock` and a `Chance`, by default those of the machine.
`replaced` puts others in their place, so that a test sets the time and a simulation draws everything from its seed. What keeps
time in an object takes one of the functions as an argument (``clock: Callable[[], float] = monotonic``) and is tested with another.

What waits on an event loop (``asyncio.sleep``, ``asyncio.timeout``, ``call_later``, ``loop.time``) does not go through here: all
of that asks the loop what time it is, and a loop is replaced as a whole already. A test that
replaces the clock and the loop gives both the same monotonic time.

`time.clock` is what most code wants: the time by the clock of Postgres, which all processes share, and ids. Chance here is good
enough for keys and nonces. It comes from the operating system and never from the generator of the ``random`` module, which a
project's graphs may seed and a forked process would repeat.

`tests/packaging/test_sources.py` lists the few modules that go around this port, with the reason of each.

Concurrency: called from any thread. Cost: one more Python call, some 50 ns, than calling what stands behind.
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
    """Where time comes from."""

    def time_ns(self) -> int:
        """Nanoseconds of the epoch, as the machine has it: it may be stepped."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since a moment that stays the same; it never goes back."""
        ...

    def monotonic(self) -> float:
        """The same in seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Blocks the thread."""
        ...


class Chance(Protocol):
    """Where random numbers come from."""

    def random_bytes(self, size: int) -> bytes:
        """Bytes that nobody can foresee."""
        ...

    def uuid4(self) -> str:
        """A random UUID (RFC 9562)."""
        ...

    def uuid7(self) -> str:
        """A UUID that begins with the time (RFC 9562); later ones of a process are greater."""
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
    """In this block the whole process, all threads of it, has this clock and this chance; None leaves what is there."""
    global _clock, _chance
    before = _clock, _chance
    _clock, _chance = clock or _clock, chance or _chance
    try:
        yield
    finally:
        _clock, _chance = before


def machine_time_ns() -> int:
    """Nanoseconds of the epoch by the machine's clock. Times that others compare are `clock.now`."""
    return _clock.time_ns()


def machine_now() -> datetime:
    """The time by the machine's clock, in UTC, for people in front of this machine."""
    return datetime.fromtimestamp(_clock.time_ns() / 1e9, UTC)


def monotonic() -> float:
    """Seconds, for measuring how long something takes."""
    return _clock.monotonic()


def monotonic_ns() -> int:
    """Nanoseconds, for measuring how long something takes."""
    return _clock.monotonic_ns()


def block(seconds: float) -> None:
    """Blocks the thread: for code that runs on no event loop."""
    _clock.sleep(seconds)


def random_bytes(size: int) -> bytes:
    """Bytes that nobody can foresee, for keys, nonces and secrets."""
    return _chance.random_bytes(size)


def random_hex(size: int) -> str:
    """``2 * size`` hexadecimal digits."""
    return _chance.random_bytes(size).hex()


def uniform(low: float, high: float) -> float:
    """A number from ``low`` to ``high``, each as likely as any other."""
    return low + (high - low) * (int.from_bytes(_chance.random_bytes(7)) >> 3) / (1 << 53)


def uuid4() -> str:
    """A random UUID (RFC 9562)."""
    return _chance.uuid4()


def uuid7() -> str:
    """A UUID that begins with the machine's time (RFC 9562)."""
    return _chance.uuid7()
