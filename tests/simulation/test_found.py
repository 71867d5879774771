"""Worlds that found something once: each stays as it was when it was found, whatever `plan.drawn` draws by now."""

from __future__ import annotations

from tests.simulation.plan import Fault, Op, Plan
from tests.simulation.world import run

SERVICES = [("gateway", 2), ("decider", 1), ("projector", 1), ("scheduler", 2), ("worker", 1)]


def _run(
    at: float,
    number: int,
    plan: list[str],
    strategy: str,
    delay: float,
    *,
    key: bool = True,
    thread: int = 0,
    webhook: bool = False,
) -> Op:
    options = {
        "plan": plan, "strategy": strategy, "resumable": True, "follow": "stream", "key": key, "webhook": webhook, "delay": delay,
        "temporary": False,
    }  # fmt: skip
    return Op(at, "run", number, thread, options)


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


def test_a_member_that_is_out_of_its_group_before_it_hears_that_it_joined_joins_again() -> None:
    """Of the log in memory: the answer is under way when the projector stands still for longer than a session."""
    services = [("gateway", 2), ("decider", 2), ("projector", 1), ("scheduler", 1), ("worker", 2)]
    faults = [
        Fault(5.584, "evicted", "projectors", 0.5, 6),
        Fault(5.885, "log slow", "gateway-1", 0.917, 23, "log"),
        Fault(6.135, "pause", "projector-0", 5.868),
    ]
    assert run(Plan(673, services, 3, [_run(18.601, 13, ["step"], "enqueue", 2.0)], faults)).violations == []


def test_a_gateway_that_has_just_started_does_not_take_a_run_for_gone_that_postgres_loses() -> None:
    """It has started after the last commit, and has heard of no position that Postgres had: only its own look at the start says what is lost."""
    services = [("gateway", 1), ("decider", 1), ("projector", 2), ("scheduler", 2), ("worker", 1)]
    ops = [_run(5.296, 12, ["sleep:1.5", "sleep:1.5", "step"], "enqueue", 0, key=False)]
    faults = [
        Fault(6.856, "redis silent", seconds=2.0),
        Fault(8.656, "kill", "gateway-0"),
        Fault(8.656, "kill", "decider-0"),
        Fault(9.955, "postgres lost", "scheduler-0", 11.255, 27, "redis"),
    ]
    result = run(Plan(961, services, 3, ops, faults))
    assert result.violations == []
    assert result.marks["postgres.lost_commits"]
    assert not result.marks["world.read_what_was_lost"]


def test_a_stream_goes_on_from_its_frame_although_a_lost_worker_has_published_later_ones() -> None:
    """The worker stands still for longer than its lease, and goes on for a moment; then the client's gateway is killed."""
    services = [("gateway", 2), ("decider", 1), ("projector", 1), ("scheduler", 2), ("worker", 2)]
    steps = ["stream:3", "sleep:0.3", "stream:3", "sleep:0.3", "stream:3", "sleep:1.5", "stream:3", "step", "sleep:1.5", "stream:3"]  # fmt: skip
    runs = [
        _run(2.3284909925005293, 1002, steps, "enqueue", 0, thread=1102, webhook=True),
        _run(2.5219018327180733, 1001, steps, "enqueue", 0, thread=1101),
        _run(2.9837272953693983, 1003, steps, "enqueue", 0, thread=1103),
    ]
    faults = [
        Fault(3.3269350547746064, "pause", "worker-0", 5.665790454413589),
        Fault(9.982581941499827, "kill", "gateway-1", 1.0),
    ]
    assert run(Plan(23, services, 3, runs, faults)).violations == []


def test_frames_of_two_attempts_in_one_millisecond_have_ids_of_their_own() -> None:
    """The worker sends what it has of both attempts as soon as it reaches Redis again."""
    services = [("gateway", 2), ("decider", 1), ("projector", 1), ("scheduler", 2), ("worker", 1)]
    first = _run(5.652, 10, ["sleep:1.5", "sleep:0.3", "sleep:1.5", "stream:3", "step"], "interrupt", 0)
    second = _run(8.3, 6, ["step", "sleep:0.3", "step", "fail"], "rollback", 0, key=False, webhook=True)
    faults = [Fault(5.909, "unreachable", "worker-0", 8.611, server="redis")]
    assert run(Plan(2329, services, 3, [first, second], faults)).violations == []


def test_a_stream_ends_although_the_message_of_its_end_was_lost_on_the_way_to_redis() -> None:
    """Redis is silent until the projector's connection is closed, and speaks again before the gateway's subscription is: only the projector
    notices."""
    services = [("gateway", 1), ("decider", 2), ("projector", 2), ("scheduler", 1), ("worker", 3)]
    followed = {"follow": "stream", "key": True, "webhook": False, "delay": 0, "temporary": False, "resumable": False}
    steps = {"plan": ["step", "sleep:1.5", "sleep:1.5", "sleep:1.5", "step"], "strategy": "enqueue"}
    ops = [
        Op(12.839, "run", 19, 0, {**steps, **followed}),
        Op(16.432, "cancel", 10, 0, {"of": 972, "action": "interrupt"}),
        Op(18.799, "run", 9, 0, {"plan": ["step"], "strategy": "interrupt", **followed, "follow": "wait"}),
    ]
    result = run(Plan(3003, services, 3, ops, [Fault(13.847, "redis silent", "worker-2", 9.985)]))
    assert result.violations == []
    assert result.marks["bus.messages_lost"]
