"""Calls of servers that may be unavailable for a while: repeated until they succeed, with the loop's state reported meanwhile.

An `Availability` belongs to one loop of a service. The loop makes its calls within `Availability.attempt`, or by `until_available`
if it cannot continue without the result. The first failure of each kind and the first success after it are logged, nothing else; the
service reports `Availability.reason` as not ready, and `/metrics` shows every `Availability`.

Concurrency: several calls may be under way on one `Availability`, from any thread. It holds nothing that must survive a crash.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TypeVar

import structlog

from ..time.sources import monotonic, uniform
from .server_errors import Explained
from .unavailable import Dependency, dependency_of, may_pass

logger = structlog.get_logger(__name__)

T = TypeVar("T")

PAUSE_S = 0.2
"""Seconds before the second attempt; doubled after each one, up to `MAX_PAUSE_S`."""
MAX_PAUSE_S = 2.0
READ_LIMIT_S = 30.0
"""Seconds for one attempt to read from Postgres, in loops that repeat it."""
HANGING_S = 10.0
"""Seconds after which a call in progress counts as unavailable."""

NAMES: dict[Dependency, str] = {"postgres": "Postgres", "redis": "Redis", "log": "The log"}


_all: weakref.WeakSet[Availability] = weakref.WeakSet()
"""Of this process, for `availabilities`."""


class Availability:
    """Availability of the servers that one loop needs.

    ``loop``: its name in logs and metrics. ``uses``: the server to which errors of sockets and time limits are attributed.
    """

    def __init__(self, loop: str, uses: Dependency = "postgres", *, hanging_s: float = HANGING_S) -> None:
        self.loop = loop
        self.uses: Dependency = uses
        self.failures = 0
        """Number of failed attempts since the start of the process."""
        self.last_error = ""
        """Class of the last error; empty: there was none."""
        self.last_dependency: Dependency = uses
        self.last_failed = 0.0
        """When that was, in monotonic seconds."""
        self._hanging_s = hanging_s
        self._error: BaseException | None = None
        self._since = 0.0
        self._kinds: set[str] = set()
        """Kinds of errors since it began to fail: each is logged once."""
        self._numbers = itertools.count()
        self._under_way: dict[int, float] = {}
        _all.add(self)

    def attempt(self) -> Attempt:
        """Context of one call, or several that belong together. Records success or failure; exceptions propagate."""
        return Attempt(self)

    def began(self) -> int:
        """Record that a call began; return its number for `ended`."""
        number = next(self._numbers)
        self._under_way[number] = monotonic()
        return number

    def ended(self, number: int, error: BaseException | None) -> None:
        """Record that a call ended. ``error``: what it raised."""
        del self._under_way[number]
        if error is None:
            self.succeeded()
        elif isinstance(error, Exception) and may_pass(error):
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Record that a call failed because its server is unavailable."""
        self.failures += 1
        self.last_error, self.last_failed = type(error).__name__, monotonic()
        self.last_dependency = dependency_of(error, self.uses)
        if self._error is None:
            self._since = monotonic()
            self._kinds.clear()
        self._error = error
        kind = f"{self.last_error} {getattr(error, 'sqlstate', '')}"
        if kind not in self._kinds:
            # often a lost connection comes first, and what the server has against another one tells the cause
            self._kinds.add(kind)
            logger.warning(
                "dependency.unavailable",
                loop=self.loop,
                dependency=dependency_of(error, self.uses),
                error=f"{type(error).__name__}: {error}",
            )

    def succeeded(self) -> None:
        """Record that a call succeeded."""
        if self._error is not None:
            error, self._error = self._error, None
            logger.info(
                "dependency.available",
                loop=self.loop,
                dependency=dependency_of(error, self.uses),
                after_s=round(monotonic() - self._since, 1),
            )

    @property
    def failing_s(self) -> float:
        """Return the seconds since calls began to fail, or since the oldest one that hangs began; 0 while all is well."""
        now = monotonic()
        if self._error is not None:
            return now - self._since
        oldest = min(self._under_way.copy().values(), default=now)
        return now - oldest if now - oldest >= self._hanging_s else 0.0

    @property
    def dependency(self) -> Dependency:
        """Return the server that is unavailable, or that the loop mostly uses."""
        return self.uses if self._error is None else dependency_of(self._error, self.uses)

    @property
    def reason(self) -> str | None:
        """Return why the loop makes no progress, without text that the server's message may quote; None while it does."""
        seconds = self.failing_s
        if not seconds:
            return None
        who = NAMES[self.dependency]
        error = self._error
        if error is None:
            return f"{who} has not answered for {seconds:.0f} s"
        if isinstance(error, Explained):
            return f"{who} is unavailable since {seconds:.0f} s ({error})"
        state = getattr(error, "sqlstate", None)
        what = f"{type(error).__name__} {state}" if state else type(error).__name__
        return f"{who} is unavailable since {seconds:.0f} s ({what})"


class Attempt:
    """Context of `Availability.attempt`. A class, since a generator's context costs twice as much, and calls are many."""

    __slots__ = ("_availability", "_number")

    def __init__(self, availability: Availability) -> None:
        self._availability = availability

    def __enter__(self) -> None:
        self._number = self._availability.began()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._availability.ended(self._number, error)


class Pauses:
    """Pauses between the attempts of one loop: `PAUSE_S`, then twice as long after each failure, up to `MAX_PAUSE_S`."""

    def __init__(self) -> None:
        self._next_s = PAUSE_S

    async def wait(self) -> None:
        """Return when the next attempt is due after one that failed."""
        # nothing signals that a server is back; not all loops of all processes in the same moment
        pause_s, self._next_s = self._next_s * uniform(0.5, 1.0), min(2 * self._next_s, MAX_PAUSE_S)
        await asyncio.sleep(pause_s)

    def end(self) -> None:
        """Begin with the shortest pause again: an attempt has succeeded."""
        self._next_s = PAUSE_S


async def until_available(
    call: Callable[[], Awaitable[T]],
    *,
    on: Availability,
    limit_s: float | None = None,
    unless: Callable[[Exception], bool] = lambda _: False,
) -> T:
    """Call ``call`` until its server is available, and return its result. It must be idempotent. Other errors propagate.

    ``limit_s``: timeout of one attempt, in seconds. The next one may use another connection. ``unless``: true for errors that propagate as
    well.
    """
    pauses: Pauses | None = None
    while True:
        number = on.began()
        try:
            if limit_s is None:
                result = await call()
            else:
                async with asyncio.timeout(limit_s):
                    result = await call()
        except BaseException as error:
            on.ended(number, error)
            if not isinstance(error, Exception) or not may_pass(error) or unless(error):
                raise
        else:
            on.ended(number, None)
            return result
        pauses = pauses or Pauses()
        await pauses.wait()


def reason_of(availabilities: Iterable[Availability]) -> str | None:
    """Return why a service is not ready: the reason of the loop that fails for longest; None when none fails."""
    failing = max(availabilities, key=lambda availability: availability.failing_s, default=None)
    return None if failing is None else failing.reason


def availabilities() -> list[Availability]:
    """All of this process, by loop: what its metrics show."""
    return sorted(_all, key=lambda availability: availability.loop)
