"""Exposition of one process's metrics: counted ones and those of its sources, combined; as families or as Prometheus text.

Sources are read at each scrape, and only then. One that fails or is too slow is left out of that scrape,
and named in the log once. Concurrency: on the process's event loop; concurrent scrapes share one reading.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import resource
from collections.abc import Awaitable, Callable, Collection, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as PrometheusMetric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from ..process.retry import Availability, availabilities
from ..process.unavailable import Dependency
from ..time.sources import machine_time_ns
from . import table
from .families import Family, counted, described, family, merged

logger = structlog.get_logger(__name__)

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
SOURCE_LIMIT_S = 3.0
"""Seconds after which a source is left out: a scrape waits for ten seconds by default."""
_STARTED_S = machine_time_ns() / 1e9

_WHOLE = re.compile(rb"(?<= )-?\d+(?:\.0|(?:\.\d+)?e\+(?:0\d|1[0-4]))$", re.MULTILINE)
"""The value of a sample that is a whole number, or has an exponent, as prometheus-client writes them; below 10 to the 15th, up to which
a float tells whole numbers apart."""

Source = Callable[[], Awaitable[Collection[Family]]]


class Exposition:
    """The metrics to show. ``add`` and ``remove`` a source on the event loop."""

    def __init__(self) -> None:
        self._sources: dict[Source, str] = {}
        self._failed: set[str] = set()
        self._looking: asyncio.Task[list[Family]] | None = None

    def add(self, name: str, source: Source) -> None:
        """Add a source. ``name``: its name in the log."""
        self._sources[source] = name

    def remove(self, source: Source) -> None:
        self._sources.pop(source, None)

    async def families(self) -> list[Family]:
        """Return all current families."""
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done() or self._looking.get_loop() is not loop:
            self._looking = loop.create_task(self._look(), name="metrics")
        return await asyncio.shield(self._looking)

    async def _look(self) -> list[Family]:
        read = await asyncio.gather(*(self._collected(name, source) for source, name in tuple(self._sources.items())))
        return merged([of_process(), *read])

    async def _collected(self, name: str, source: Source) -> Collection[Family]:
        try:
            async with asyncio.timeout(SOURCE_LIMIT_S):
                families = await source()
        except Exception as error:
            if name not in self._failed:
                self._failed.add(name)
                logger.warning("metrics.source_failed", source=name, error=f"{type(error).__name__}: {error}"[:300])
            return ()
        self._failed.discard(name)
        return families

    async def text(self) -> bytes:
        """Return the text exposition format, version 0.0.4."""
        return rendered(await self.families())


class _Read(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[PrometheusMetric]:
        return described(self._families)


def rendered(families: Iterable[Family]) -> bytes:
    """Return the families as Prometheus text. Whole numbers have no decimals, since scripts compare them as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Read(families))
    return _WHOLE.sub(_plain, generate_latest(registry))


def _plain(value: re.Match[bytes]) -> bytes:
    number = float(value[0])
    return b"%d" % number if number.is_integer() else value[0]


def of_process() -> list[Family]:
    """Return the metrics without other sources: counted ones, and those of the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    families = [
        *counted(),
        *_of_availabilities(availabilities()),
        family(table.INFO, {(_version(),): 1}),
        family(table.PYTHON, {(platform.python_version(),): 1}),
        family(table.COLLECTIONS, {(str(n),): float(of["collections"]) for n, of in enumerate(gc.get_stats())}),
        family(table.CPU, usage.ru_utime + usage.ru_stime),
        family(table.STARTED, _STARTED_S),
        family(table.RESIDENT, float(_resident(usage))),
    ]
    files = _open_files()
    return families if files is None else [*families, family(table.FILES, files)]


def _of_availabilities(all_of_them: Iterable[Availability]) -> list[Family]:
    """Return the availabilities of this process's loops, those of the same name combined."""
    down: dict[tuple[str, ...], float] = {}
    failures: dict[tuple[str, ...], float] = {}
    for one in all_of_them:
        dependency: Dependency = one.dependency
        key = (one.loop, dependency)
        down[key] = max(down.get(key, 0), float(one.failing_s > 0))
        failures[key] = failures.get(key, 0) + one.failures
    return [family(table.UNAVAILABLE, down), family(table.UNAVAILABLE_ATTEMPTS, failures)]


def _version() -> str:
    for distribution in ("langlog", "langlog-core"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"


def _resident(usage: resource.struct_rusage) -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the peak is the best there is
        return usage.ru_maxrss * 1024


def _open_files() -> int | None:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return None


EXPOSITION = Exposition()
"""The exposition of this process."""
