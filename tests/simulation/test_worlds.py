"""Worlds of the simulation: nothing that must hold is broken, and the same seed is the same world."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import pytest
from langlog_executor.decider import effects

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


def test_a_world_has_no_time_and_no_chance_but_its_own() -> None:
    """Each world closes the machine's clocks and chance, and names a call that the code which makes it catches."""
    original = effects._task

    @contextmanager
    def goes_around() -> Iterator[None]:
        def task(*args: Any, **options: Any) -> Any:
            with suppress(Exception):
                time.time()
            return original(*args, **options)

        with patch.object(effects, "_task", task):
            yield

    assert run(drawn(1010)).violations == []
    violations = run(drawn(1010), mutation=goes_around).violations
    assert "time.time goes around langlog_backbone.time.sources" in violations[0]
    assert "test_worlds.py" in violations[0]
    assert time.time() > 0, "the clocks are open again"


def test_a_failure_that_no_code_waits_for_fails_its_world() -> None:
    original = effects._task

    @contextmanager
    def forgotten() -> Iterator[None]:
        def task(*args: Any, **options: Any) -> Any:
            asyncio.get_running_loop().create_future().set_exception(RuntimeError("a defect"))
            return original(*args, **options)

        with patch.object(effects, "_task", task):
            yield

    assert any("a defect" in violation for violation in run(drawn(1010), mutation=forgotten).violations)


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
