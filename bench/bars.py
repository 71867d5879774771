"""Limits of each figure: ``must`` is ahead of the field with a margin for noise, ``aim`` is near the limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

AT_LEAST = frozenset(("per_s", "of_empty"))
"""Figures that should be large; all others should be small."""


class Bar(NamedTuple):
    figure: str
    must: float
    aim: float | None = None

    def verdict(self, value: float) -> str:
        at_least = self.figure in AT_LEAST

        def met(limit: float) -> bool:
            return value >= limit if at_least else value <= limit

        if self.aim is not None and met(self.aim):
            return "aim"
        return "must" if met(self.must) else "MISSED"

    def text(self, value: float) -> str:
        sign = "≥" if self.figure in AT_LEAST else "≤"
        aim = "" if self.aim is None else f" (aim {self.aim:g})"
        return f"{self.figure} {value:.4g} {sign} {self.must:g}{aim}: {self.verdict(value)}"


_BOTH: dict[str, tuple[Bar, ...]] = {
    "90 runs enqueued on one thread": (Bar("per_s", 50, 150),),
    "wait, 32 callers, 20,000 threads stored": (Bar("of_empty", 0.9, 0.95),),
    "run on a thread of 1,000 runs, 1 caller": (Bar("cpu_of_new", 1.3, 1.05),),
    "idle": (Bar("core_percent", 1, 0.3),),
    "50 idle consoles": (Bar("added_percent", 5, 1),),
    "1,000 idle sockets": (Bar("kb_each", 30, 20),),
    "100 active sockets at 20/s beside them": (Bar("kb_each", 30), Bar("p50_ms", 10, 5)),
}

EMBEDDED: dict[str, tuple[Bar, ...]] = _BOTH | {
    "wait, 1 caller": (Bar("p50_ms", 7, 3), Bar("p99_ms", 20, 9)),
    "wait, 32 callers": (Bar("per_s", 400, 800), Bar("cpu_ms", 3.5, 1.6)),
    "wait, 128 callers": (Bar("p99_over_p50", 3, 2),),
    "thread and run, 32 callers": (Bar("per_s", 250, 500),),
    "500 background runs, enqueued": (Bar("per_s", 900, 2000),),
    "500 background runs, drained": (Bar("drained_s", 2, 0.9),),
    "stream, first event (metadata)": (Bar("p50_ms", 8, 4),),
    "64 streams at 200/s each": (Bar("per_s", 7500, 10_000), Bar("p99_ms", 20, 12), Bar("cpu_ms", 0.12, 0.08)),
    "one run read by 50 clients": (Bar("p50_ms", 2.4, 1.5), Bar("p99_ms", 9, 5)),
    "run after 290 on its thread": (Bar("cpu_ms", 25, 16),),
    "superstep, 300 in one run": (Bar("cpu_ms", 0.85, 0.65),),
    "create thread, 8 callers": (Bar("per_s", 1200, 2500), Bar("cpu_ms", 0.8, 0.35)),
    "state, 1 caller": (Bar("cpu_ms", 1.1, 0.6),),
    "history of 10, 1 caller": (Bar("cpu_ms", 2.0, 1.2),),
    "state, 8 callers": (Bar("cpu_ms", 1.1, 0.6),),
    "history of 10, 8 callers": (Bar("cpu_ms", 2.0, 1.2),),
    "store put, 8 callers": (Bar("cpu_ms", 0.5, 0.3),),
    "store get, 8 callers": (Bar("cpu_ms", 0.4, 0.2),),
    "store search, 8 callers": (Bar("cpu_ms", 0.7, 0.4),),
    "vector search of 10,000, 1 caller": (Bar("p50_ms", 10),),
    "runs that wait 200 ms, 256 callers": (Bar("per_s", 450, 900),),
    "rebuild of 120,000 lifecycle events": (Bar("per_s", 20_000, 40_000),),
    "wait, 1 caller, while rebuilding": (Bar("p50_ms", 7, 3), Bar("p99_ms", 20, 9)),
}

KAFKA: dict[str, tuple[Bar, ...]] = _BOTH | {
    "wait, 1 caller": (Bar("p50_ms", 15, 7), Bar("p99_ms", 40, 18)),
    "wait, 32 callers": (Bar("per_s", 250, 500), Bar("cpu_ms", 5, 2.8)),
}

SEARCHES = {"search of 2,000": Bar("p50_ms", 3, 2), "search of 20,000": Bar("p50_ms", 6, 2)}
"""Prefix of the measure's name -> its bar."""


def bars_of(name: str, log: str) -> tuple[Bar, ...]:
    """Return the bars of one measure; ``log``: sqlite or kafka."""
    for start, bar in SEARCHES.items():
        if name.startswith(start):
            return (bar,)
    return (EMBEDDED if log == "sqlite" else KAFKA).get(name, ())


def held(name: str, log: str, figures: Mapping[str, float]) -> list[tuple[Bar, float]]:
    """Return bars and measured values."""
    return [(bar, figures[bar.figure]) for bar in bars_of(name, log) if bar.figure in figures]
