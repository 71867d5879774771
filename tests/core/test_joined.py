"""Events of one decision that share a record mean what they mean in records of their own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import evolve
from langlog_schemas.consumer import Follower
from langlog_schemas.envelope import Cause, CommandMeta
from langlog_schemas.event_index import CODES, matches, wanted
from msgspec import Raw
from msgspec.structs import replace

from .histories import decide_all, histories

CREATED = ev.RunCreated(
    thread_id="t", run_id="r", ordinal=0, assistant_id="a", graph_id="g", kwargs=Raw(b"{}"), metadata={}
)
DISPATCHED = ev.RunDispatched(thread_id="t", run_id="r", attempt=1)
ENDED = ev.RunSucceeded(thread_id="t", run_id="r", status="idle")
DELETED = ev.ThreadDeleted(thread_id="t")


@given(histories)
def test_taken_apart_they_are_what_was_decided(history: list[Any]) -> None:
    for decided in decide_all(history):
        records = ev.joined(decided.events)
        assert [part for event in records for part in ev.parts(event)] == decided.events
        assert sum(map(ev.count, records)) == len(decided.events)


@given(histories)
def test_a_thread_folded_from_either_is_the_same(history: list[Any]) -> None:
    for decided in decide_all(history):
        state = decided.before
        for event in ev.joined(decided.events):
            state = evolve(state, event, decided.meta.time)
        assert state == decided.after


@given(histories)
def test_encoded_and_decoded_they_are_the_same(history: list[Any]) -> None:
    for decided in decide_all(history):
        for event in ev.joined(decided.events):
            assert ev.encode(ev.decode(event.TYPE, ev.encode(event))) == ev.encode(event)


def test_a_run_that_is_dispatched_at_once_is_one_record() -> None:
    assert ev.joined([CREATED, DISPATCHED]) == [replace(CREATED, dispatched="ready")]
    due = replace(DISPATCHED, reason="due")
    assert ev.joined([CREATED, due]) == [replace(CREATED, dispatched="due")]


def test_the_end_of_a_stateless_run_takes_its_thread_along() -> None:
    assert ev.joined([ENDED, DELETED]) == [replace(ENDED, deletes_thread=True)]
    assert ev.joined([ENDED, DELETED], deletions=False) == [ENDED, DELETED]


@pytest.mark.parametrize(
    "events",
    [
        [CREATED, replace(DISPATCHED, run_id="another")],
        [CREATED, replace(DISPATCHED, attempt=2, reason="lease_lost")],
        [ENDED, replace(DISPATCHED, run_id="next")],
        [ENDED, replace(DELETED, active=[("r2", 1)])],
        [ev.RunDeleted(thread_id="t", run_id="r"), DELETED],
    ],
    ids=["another run", "another attempt", "the next run", "runs in flight", "a removed run"],
)
def test_others_keep_their_records(events: list[ev.AnyEvent]) -> None:
    assert ev.joined(events) == events


def test_records_say_which_events_they_hold() -> None:
    from langlog_executor.decider.effects import Decided, event_records

    meta = CommandMeta(id="c", time="2026-01-01T00:00:00.000000+00:00", partition=3, offset=9, reply_to="gw")
    requested = ev.RunCancelRequested(thread_id="t", run_id="r0", action="interrupt", attempt=1)
    decided = Decided(meta, ev.joined([requested, CREATED, DISPATCHED, ENDED, DELETED]), None, None)
    records = list(event_records(decided))
    assert [record.headers["ce_cause"] for record in records] == ["3-9-0-5", "3-9-2-5", "3-9-4-5"]
    assert [record.headers["ce_id"] for record in records] == ["3-9-0", "3-9-2", "3-9-4"]
    assert ["ce_replyto" in record.headers for record in records] == [True, False, False]
    assert decided.held == 5


def test_a_consumer_takes_records_of_the_first_attempt_and_no_duplicate_in_either_form() -> None:
    def headers(event: ev.AnyEvent, index: int) -> dict[str, str]:
        cause = Cause(0, 7, index, 2)
        return envelope.headers(id=cause.event_id, type=event.TYPE, source="s", time="t", subject="t", cause=cause)

    def worker(number: int) -> dict[str, str]:
        return envelope.headers(id=f"r-1-{number}", type=ev.RunStarted.TYPE, source="s", time="t", subject="t")

    follower, both = Follower(), replace(CREATED, dispatched="ready")
    started = ev.encode(ev.RunStarted(thread_id="t", run_id="r", attempt=1, worker="w"))
    assert follower.event("run-events", 0, headers(both, 1), ev.encode(both)) == both
    assert follower.event("run-events", 0, worker(1), started) is not None
    for event, index in ((CREATED, 0), (DISPATCHED, 1), (both, 1)):
        assert follower.event("run-events", 0, headers(event, index), ev.encode(event)) is None
    assert follower.event("run-events", 0, worker(1), started) is None, "seen already"


def test_a_question_for_dispatches_finds_what_may_hold_one() -> None:
    assert matches("langlog.run.created.v1", ("run.dispatched",))
    assert wanted(("run.dispatched",))(CODES["run.created"])
    assert not matches("langlog.run.dispatched.v1", ("run.created",))


def test_a_command_is_decided_as_before() -> None:
    """Deciding gives single events; joining them is a matter of records."""
    (decided,) = decide_all(
        [
            cmd.CreateRun(
                thread_id="t0",
                run_id="t0-r0",
                assistant_id="a",
                graph_id="g",
                kwargs=Raw(b"{}"),
                if_not_exists="create",
            )
        ]
    )
    assert [type(event) for event in decided.events] == [ev.RunCreated, ev.RunDispatched]
