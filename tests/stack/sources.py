"""Clocks, chance and time that a test sets.

`SteppedClock` and `SeededChance` are for `langlog_backbone.time.sources.replaced` and for functions with a clock as an argument.
`in_virtual_time` runs a test whose parts are all in memory: timers of an hour are over at once, in their order, and none is early
or late. Nothing of it may wait for another thread or process, whose time is the machine's.
"""

from __future__ import annotations

import asyncio
import functools
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from langlog_backbone.time import sources

P = ParamSpec("P")


class SteppedClock:
    """Stands still but for what the code sleeps and the test adds to it."""

    def __init__(self) -> None:
        self.ns = 0
        """Since it was made: small, so that a float of seconds tells nanoseconds apart."""

    def time_ns(self) -> int:
        return 1_000_000_000_000_000_000 + self.ns

    def monotonic_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        """Return seconds, for functions with a clock as an argument."""
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


class _Leaping(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    """A selector that advances the time to the next timer instead of waiting."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self._clock.ns += -int(-timeout * 1e9 // 1)  # rounded up: the timer is due
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of a `SteppedClock`, which stands still while there is anything to do."""

    def __init__(self, clock: SteppedClock) -> None:
        self._time_of = clock
        super().__init__(_Leaping(clock))

    def time(self) -> float:
        return self._time_of.monotonic()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the test on a separate loop in virtual time, which langlog's clocks use too. Fixtures of the test must not be async."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        clock = SteppedClock()
        with (
            sources.replaced(clock=clock),
            asyncio.Runner(loop_factory=functools.partial(VirtualLoop, clock)) as runner,
        ):
            runner.run(test(*args, **kwargs))

    return run
