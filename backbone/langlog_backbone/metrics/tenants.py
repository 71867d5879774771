"""Counts by caller with a bound on the number of names: the busiest by their identity, all others combined as ``other``.

A caller is named once its count is among the largest; from then on its series counts from 0, so every series only grows. When all
names are taken, a caller that has twice the count of the least busy one takes its place, whose series ends.
"""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"
CALLERS_MAX = 10_000
"""Maximum number of callers whose counts are kept to find the busiest; when there are more, the less busy half is forgotten."""


class TopTenants:
    """``limit``: maximum number of named callers; 0: none, and nothing is counted. Any thread of one process's event loop."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._counts: dict[str, int] = {}
        self._named: dict[str, int] = {}
        self._others = 0

    def count(self, tenant: str) -> None:
        """Count one. ``tenant`` empty: without a caller, which is not counted."""
        if not self.limit or not tenant:
            return
        self._counts[tenant] = self._counts.get(tenant, 0) + 1
        if tenant in self._named:
            self._named[tenant] += 1
        else:
            self._others += 1
            if len(self._counts) > CALLERS_MAX:
                self._forget_half()

    def values(self) -> Mapping[tuple[str, ...], float]:
        """Return the counts by tenant; names those that have become the busiest."""
        self._name_busiest()
        if not self.limit:
            return {}
        # an identity that is called as the rest is would be added to it
        values: dict[tuple[str, ...], float] = {
            (f"{tenant} " if tenant == OTHER else tenant,): count for tenant, count in self._named.items()
        }
        return {**values, (OTHER,): self._others}

    def _name_busiest(self) -> None:
        waiting = sorted((t for t in self._counts if t not in self._named), key=self._counts.__getitem__, reverse=True)
        for tenant in waiting:
            if len(self._named) >= self.limit:
                least = min(self._named, key=lambda named: self._counts.get(named, 0), default=None)
                if least is None or self._counts[tenant] < 2 * self._counts.get(least, 0):
                    return
                del self._named[least]
            self._named[tenant] = 0

    def _forget_half(self) -> None:
        kept = sorted(self._counts, key=self._counts.__getitem__, reverse=True)[: CALLERS_MAX // 2]
        self._counts = {tenant: self._counts[tenant] for tenant in {*kept, *self._named} if tenant in self._counts}


REQUESTS = TopTenants()
"""Requests to this process's gateway, by caller."""
RUNS = TopTenants()
"""Runs decided by this process's decider, by caller."""
