"""Worlds that found something once: each stays as it was when it was found, whatever `plan.drawn` draws by now."""

from __future__ import annotations

from tests.simulation.plan import Fault, Op, Plan
from tests.simulation.world import run

SERVICES = [("gateway", 2), ("decider", 1), ("projector", 1), ("scheduler", 2), ("worker", 1)]


def _run(at: float, number: int, plan: list[str], strategy: str, delay: float) -> Op:
    options = {
        "plan": plan, "strategy": strategy, "resumable": True, "follow": "stream", "key": True, "webhook": False, "delay": delay,
        "temporary": False,
    }  # fmt: skip
    return Op(at, "run", number, 0, options)


def test_a_graph_that_goes_on_after_its_thread_was_deleted_is_no_error_of_the_server() -> None:
    ops = [
        _run(12.413, 0, ["sleep:1.5", "sleep:0.3", "block", "fail"], "interrupt", 0),
        _run(17.481, 12, ["step", "sleep:0.3", "step", "step", "step"], "rollback", 2.0),
        Op(19.92, "delete_thread", 15, 0),
    ]
    assert run(Plan(264, SERVICES, 3, ops, [])).violations == []


def test_positions_of_a_decider_are_committed_although_no_further_command_comes() -> None:
    """The log is away when they would be committed, a second after the last command."""
    ops = [_run(1.0, 0, ["step"], "enqueue", 0)]
    result = run(Plan(1, SERVICES, 2, ops, [Fault(1.5, "log down", seconds=3.0)]))
    assert result.violations == []
    assert result.marks["dependency.unavailable"]
