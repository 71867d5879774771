"""Counters of this gateway, as Prometheus text or JSON (wire contract §15). One process, one event loop, plain dictionaries."""

from __future__ import annotations

import gc
import os
import platform
import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langlog_backbone.time.sources import machine_time_ns

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Counted by name; a client may make up others, and labels must not grow without end."""

Key = tuple[str, str, int]
"""(method, path pattern, status)"""


class Metrics:
    def __init__(self) -> None:
        self._requests: Counter[Key] = Counter()
        self._buckets: dict[Key, list[int]] = {}
        self._seconds: dict[Key, float] = {}
        self._started = machine_time_ns() / 1e9

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """One request is answered."""
        key = (method if method in METHODS else "other", path, status)
        self._requests[key] += 1
        buckets = self._buckets.get(key)
        if buckets is None:
            buckets = self._buckets[key] = [0] * (len(BUCKETS_S) + 1)
            self._seconds[key] = 0.0
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds[key] += seconds

    def requests(self) -> list[dict[str, Any]]:
        return [
            {"method": method, "path": path, "status": status, "count": count}
            for (method, path, status), count in sorted(self._requests.items())
        ]

    def prometheus(
        self,
        workers: dict[str, int],
        parked: tuple[int, int] | None = None,
        more: Sequence[tuple[str, str, str, float]] = (),
    ) -> str:
        """The text exposition format, version 0.0.4. ``parked``: keys and records behind ones that cannot be handled.

        ``more``: name, kind, help and value of further figures.
        """
        usage = resource.getrusage(resource.RUSAGE_SELF)
        lines = []

        def family(name: str, kind: str, description: str, samples: list[tuple[str, float]]) -> None:
            lines.append(f"# HELP {name} {description}\n# TYPE {name} {kind}\n")
            lines.extend(f"{name}{suffix} {value:.10g}\n" for suffix, value in samples)

        version = platform.python_version()
        family("python_info", "gauge", "Python platform information", [(f'{{version="{version}"}}', 1)])
        collections = [(f'{{generation="{n}"}}', float(g["collections"])) for n, g in enumerate(gc.get_stats())]
        family("python_gc_collections_total", "counter", "Collections of each generation", collections)
        family(
            "process_cpu_seconds_total", "counter", "User and system CPU time", [("", usage.ru_utime + usage.ru_stime)]
        )
        family("process_start_time_seconds", "gauge", "Start of the process since the epoch", [("", self._started)])
        family("process_resident_memory_bytes", "gauge", "Resident memory", [("", float(_resident(usage)))])
        for name in ("max", "active", "available"):
            family(f"lg_api_workers_{name}", "gauge", f"Runs at once, {name}", [("", workers[name])])
        for name, description, values in zip(
            ("keys", "records"),
            ("Keys parked behind a record that cannot be handled", "Records that wait there"),
            parked or (),
            strict=False,
        ):
            family(f"langlog_parked_{name}", "gauge", description, [("", values)])
        for name, kind, description, value in more:
            family(name, kind, description, [("", value)])
        family(
            "lg_api_http_requests_total",
            "counter",
            "Requests answered",
            [(f"{{{_labels(key)}}}", count) for key, count in sorted(self._requests.items())],
        )
        samples: list[tuple[str, float]] = []
        for key, buckets in sorted(self._buckets.items()):
            labels, total = _labels(key), 0
            for limit, count in zip((*BUCKETS_S, "+Inf"), buckets, strict=True):
                total += count
                samples.append((f'_bucket{{{labels},le="{limit}"}}', total))
            samples += [(f"_sum{{{labels}}}", self._seconds[key]), (f"_count{{{labels}}}", total)]
        family("lg_api_http_requests_latency", "histogram", "Seconds until the answer was complete", samples)
        return "".join(lines)


def _labels(key: Key) -> str:
    return f'method="{key[0]}",path="{key[1]}",status="{key[2]}"'


def _resident(usage: resource.struct_rusage) -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the peak is the best there is
        return usage.ru_maxrss * 1024
