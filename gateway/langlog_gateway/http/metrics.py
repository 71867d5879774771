"""Counters of this gateway (wire contract §15). One process, one event loop, plain dictionaries: counting costs little."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any

from langlog_backbone.metrics import table, tenants
from langlog_backbone.metrics.families import Family, Labels, Sample, family

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are counted by name; clients may invent others, and labels must be bounded."""

Key = tuple[str, str, int]
"""(method, path pattern, status)"""


class Metrics:
    def __init__(self) -> None:
        self._requests: Counter[Key] = Counter()
        self._buckets: dict[Key, list[int]] = {}
        self._seconds: dict[Key, float] = {}

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request with its response."""
        key = (method if method in METHODS else "other", path, status)
        self._requests[key] += 1
        buckets = self._buckets.get(key)
        if buckets is None:
            buckets = self._buckets[key] = [0] * (len(table.REQUEST_S) + 1)
            self._seconds[key] = 0.0
        buckets[bisect_left(table.REQUEST_S, seconds)] += 1
        self._seconds[key] += seconds

    def requests(self) -> list[dict[str, Any]]:
        return [
            {"method": method, "path": path, "status": status, "count": count}
            for (method, path, status), count in sorted(self._requests.items())
        ]

    async def collect(self) -> list[Family]:
        """A source of `langlog_backbone.metrics.exposition`."""
        name = table.LATENCY
        samples: list[Sample] = []
        for key, buckets in sorted(self._buckets.items()):
            labels, total = _labels(key), 0
            for limit, count in zip((*table.REQUEST_S, "+Inf"), buckets, strict=True):
                total += count
                samples.append(Sample(f"{name}_bucket", (*labels, ("le", str(limit))), total))
            samples += [Sample(f"{name}_sum", labels, self._seconds[key]), Sample(f"{name}_count", labels, total)]
        requests = [Sample(table.REQUESTS, _labels(key), count) for key, count in sorted(self._requests.items())]
        return [
            Family(table.REQUESTS, requests),
            Family(name, samples),
            family(table.TENANT_REQUESTS, tenants.REQUESTS.values()),
        ]


def _labels(key: Key) -> Labels:
    return ("method", key[0]), ("path", key[1]), ("status", str(key[2]))
