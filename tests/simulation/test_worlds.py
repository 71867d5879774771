"""Worlds of the simulation: nothing that must hold is broken, and the same seed is the same world."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any
from unittest.mock import patch

import pytest

from tests.simulation.__main__ import explained
from tests.simulation.plan import Plan, drawn
from tests.simulation.shrinking import shrunk
from tests.simulation.stand_ins.memory_redis import SCRIPTS, digest, script_text
from tests.simulation.world import run

SEEDS = 300


def test_nothing_that_must_hold_is_broken() -> None:
    """In a process of its own, where sets of texts have the order of the line that runs a world again."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr[-4000:], pytrace=False)


def test_the_same_seed_is_the_same_world() -> None:
    for seed in range(1000, 1010):
        first, second = run(drawn(seed)), run(drawn(seed))
        assert (first.digest, first.steps, first.marks) == (second.digest, second.steps, second.marks)
        assert first.records > 0


def test_scripts_of_redis_are_those_that_were_translated() -> None:
    for name, (known, _) in SCRIPTS.items():
        assert digest(script_text(name)) == known, f"{name} has changed: translate it anew in memory_redis.py"


def test_a_world_that_fails_is_made_smaller() -> None:
    plan = drawn(3)

    def broken() -> Any:
        return patch("langlog_executor.decider.effects._task", side_effect=RuntimeError("a defect"))

    assert run(plan, mutation=broken).violations
    smaller, result = shrunk(plan, broken)
    assert result.violations
    assert len(smaller.ops) < len(plan.ops)
    assert isinstance(smaller, Plan)
    assert hashlib.sha256(explained(smaller, result).encode()).hexdigest()
