"""Makes a failing world smaller: leaves out faults, then what clients do, while it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from .plan import Plan
from .world import Result, run

T = TypeVar("T")


def shrunk(plan: Plan, mutation: Callable[[], Any] | None = None, limit_s: float = 60.0) -> tuple[Plan, Result]:
    """The smallest plan that was found to fail within ``limit_s`` seconds of the machine, and how it fails. ``plan`` must fail."""
    until = time.monotonic() + limit_s
    result = run(plan, mutation=mutation)

    def fails(smaller: Plan) -> bool:
        nonlocal plan, result
        if time.monotonic() > until:
            return False
        tried = run(smaller, mutation=mutation)
        if tried.violations:
            plan, result = smaller, tried
            return True
        return False

    changed = True
    while changed and time.monotonic() < until:
        changed = _without(plan.faults, lambda faults: fails(replace(plan, faults=faults)))
        changed = _without(plan.acts, lambda acts: fails(replace(plan, acts=acts))) or changed
        changed = _without(plan.ops, lambda ops: fails(replace(plan, ops=ops))) or changed
    return plan, result


def _without(items: list[T], fails: Callable[[list[T]], bool]) -> bool:
    """Whether it still fails with fewer: halves first, then one by one."""
    changed, size = False, max(1, len(items) // 2)
    while size:
        begin = 0
        while begin < len(items):
            fewer = items[:begin] + items[begin + size :]
            if len(fewer) < len(items) and fails(fewer):
                items, changed = fewer, True
            else:
                begin += size
        size //= 2
    return changed
