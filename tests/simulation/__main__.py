"""``python -m tests.simulation``: live through many worlds, one after the other, and say how it went.

``--seeds N`` and ``--first N``: which; ``--figures FILE``: where to add what was tried (docs/explanation/proof); ``--marks``: fail when
something was never reached. A world that fails is made smaller and printed with the line that runs it again.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from .marks import unreached
from .plan import Plan, drawn
from .shrinking import shrunk
from .world import Result, run

PYTHON = "python -m tests.simulation"
COLLECTED_EVERY = 50
"""Number of worlds between two garbage collections. A world freezes what it finds, also what its predecessor left, so that without
them 2,000 worlds hold 3.4 GB."""


class Figures(msgspec.Struct):
    """Figures of a night."""

    commit: str = ""
    date: str = ""
    seeds: int = 0
    first: int = 0
    virtual_hours: float = 0.0
    cpu_s: float = 0.0
    steps: int = 0
    records: int = 0
    runs: int = 0
    failed: list[int] = []
    faults: dict[str, int] = {}
    checks: dict[str, int] = {}
    marks: dict[str, int] = {}


def explained(plan: Plan, result: Result) -> str:
    """A failing world, as small as it could be made."""
    lines = [f"seed {plan.seed} fails. Again: {PYTHON} --first {plan.seed} --seeds 1"]
    lines += [f"  {count} {kind}" for kind, count in plan.processes]
    lines += [f"  {op.at:7.3f} s  {op.what} {op.number} on t{op.thread} {op.options}" for op in plan.ops]
    lines += [f"  {fault.at:7.3f} s  {fault}" for fault in plan.faults]
    lines += [f"  at the end  {act}" for act in plan.acts]
    return "\n".join([*lines, *(f"  → {violation}" for violation in result.violations[:3])])


def main() -> int:
    parser = argparse.ArgumentParser(prog=PYTHON)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--marks", action="store_true")
    parser.add_argument("--minutes", type=float, help="stop after so many")
    options = parser.parse_args()
    figures = Figures(first=options.first)
    totals = {name: Counter[str]() for name in ("faults", "checks", "marks")}
    began, until = time.process_time(), time.monotonic() + 60 * (options.minutes or 1e6)
    for seed in range(options.first, options.first + options.seeds):
        if time.monotonic() > until:
            break
        plan = drawn(seed)
        result = run(plan)
        figures.seeds += 1
        figures.virtual_hours += result.virtual_s / 3600
        figures.steps += result.steps
        figures.records += result.records
        figures.runs += result.runs
        for name, total in totals.items():
            total.update(getattr(result, name))
        if result.violations:
            figures.failed.append(seed)
            print(explained(*shrunk(plan)), flush=True)
        if figures.seeds % COLLECTED_EVERY == 0:
            gc.collect()
        if figures.seeds % 500 == 0:
            print(f"{figures.seeds} worlds, {len(figures.failed)} failed", flush=True)
    figures.cpu_s = round(time.process_time() - began, 1)
    for name, total in totals.items():
        setattr(figures, name, dict(sorted(total.items())))
    print(
        f"{figures.seeds} worlds, {figures.virtual_hours:.1f} virtual hours, {sum(totals['faults'].values())} faults, "
        f"{sum(totals['checks'].values())} checks, {figures.cpu_s:.0f} s of CPU; failed: {figures.failed or 'none'}"
    )
    if options.figures is not None:
        figures.commit = git("rev-parse", "--short", "HEAD")
        figures.date = git("log", "-1", "--format=%cs")
        options.figures.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
    missed = unreached(totals["marks"]) if options.marks else []
    if missed:
        print(f"never reached: {', '.join(missed)}")
    return 1 if figures.failed or missed else 0


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts are walked through: the same world has the same order
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    sys.exit(main())
