"""The scheduler's memory of appended commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from langlog_scheduler.firings import FIRING_MAX, LONGEST_RETRY_S, REPEAT_S, RETRY_S, Firings
from langlog_scheduler.repeats import FIRST_PAUSE_S, LONGEST_PAUSE_S, Repeats
from langlog_schemas import commands as cmd

DUE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = DUE + timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_cron_is_passed_over_until_it_is_seen_moved_on() -> None:
    firings = Firings(Clock())
    firings.appended([("a", DUE), ("b", DUE), ("c", DUE)])
    firings.see({"a": DUE, "b": LATER})
    assert firings.passed_over() == (["a"], [DUE]), "b has moved on, c is gone"
    firings.see({"a": DUE - timedelta(days=1)})
    assert firings.passed_over() == ([], []), "the read model went back"


def test_what_the_log_lost_is_appended_again_after_a_while() -> None:
    clock = Clock()
    firings = Firings(clock)
    firings.appended([("a", DUE)])
    clock.now = REPEAT_S - 1
    assert firings.passed_over()[0] == ["a"]
    clock.now = REPEAT_S
    assert firings.passed_over()[0] == []


def test_a_log_that_does_not_acknowledge_is_tried_less_and_less() -> None:
    clock, tries = Clock(), 0
    firings = Firings(clock)
    for _ in range(3600):
        if not firings.passed_over()[0]:
            firings.failed([("a", DUE)])
            tries += 1
        clock.now += RETRY_S
    assert tries <= 3600 / LONGEST_RETRY_S + 10
    firings.failed([("a", LATER)])
    clock.now += RETRY_S
    assert firings.passed_over()[0] == [], "another due time begins anew"


def test_it_holds_so_many_and_no_more() -> None:
    firings = Firings(Clock())
    firings.appended([(str(n), DUE) for n in range(FIRING_MAX - 1)])
    assert firings.room == 1


def test_a_command_that_is_still_due_is_repeated_less_and_less() -> None:
    clock, sent = Clock(), 0
    repeats = Repeats(clock)
    pair = ("id", cmd.StartDueRun(thread_id="t", run_id="r"))
    for _ in range(3600):
        due = repeats.due([pair])
        repeats.note(due)
        sent += len(due)
        clock.now += FIRST_PAUSE_S
    assert sent <= 3600 / LONGEST_PAUSE_S + 10


def test_the_oldest_commands_are_forgotten() -> None:
    repeats = Repeats(Clock(), most=2)
    pairs = [(str(n), cmd.StartDueRun(thread_id="t", run_id=str(n))) for n in range(3)]
    repeats.note(pairs)
    assert repeats.due(pairs) == pairs[:1]
