"""Guarantees of deciding, for any commands in any order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from langlog_executor.decider.decisions.assistants import decide_assistant, fold_assistant
from langlog_executor.decider.decisions.thread_events import fold_thread
from langlog_executor.decider.decisions.threads import decide_thread
from langlog_projector.folding.changes import webhook_error
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.assistant import AssistantState
from langlog_schemas.aggregates.thread import CLIENT_LEFT, INTERRUPT_CONSUMED, NO_INTERRUPTED_RUN, ThreadState
from langlog_schemas.envelope import CommandMeta
from msgspec import Raw

from .histories import at, decide_all, histories

FINAL = ev.FINAL_RUN_EVENTS


@given(histories)
@settings(max_examples=300, deadline=None)
def test_at_most_one_run_of_a_thread_is_dispatched(history: list[Any]) -> None:
    for decided in decide_all(history):
        assert sum(run.attempt > 0 for run in decided.after.runs.values()) <= 1


@given(histories)
@settings(max_examples=300, deadline=None)
def test_a_run_ends_once_and_is_dispatched_only_while_in_flight(history: list[Any]) -> None:
    in_flight: dict[str, int] = {}
    for decided in decide_all(history):
        for event in decided.events:
            match event:
                case ev.RunCreated():
                    assert event.run_id not in in_flight
                    in_flight[event.run_id] = 0
                case ev.RunDispatched():
                    assert event.attempt == in_flight[event.run_id] + 1, "attempts grow by one"
                    in_flight[event.run_id] = event.attempt
                case _ if isinstance(event, FINAL):
                    del in_flight[event.run_id]
                case ev.RunDeleted():
                    in_flight.pop(event.run_id, None)
                case ev.ThreadDeleted():
                    for run_id in [r for r in in_flight if r.startswith(event.thread_id)]:
                        del in_flight[run_id]


@given(histories)
@settings(max_examples=300, deadline=None)
def test_a_thread_is_busy_exactly_while_runs_are_in_flight(history: list[Any]) -> None:
    for decided in decide_all(history):
        assert (decided.after.status == "busy") == bool(decided.after.runs)


@given(histories)
@settings(max_examples=300, deadline=None)
def test_a_ready_run_never_waits_on_a_free_thread(history: list[Any]) -> None:
    for decided in decide_all(history):
        touched = any(isinstance(e, (*FINAL, ev.RunCreated, ev.RunDeleted)) for e in decided.events)
        if touched and decided.after.active is None:
            assert not [run for run in decided.after.runs.values() if run.ready(decided.meta.time)]


@given(histories)
@settings(max_examples=100, deadline=None)
def test_the_same_commands_give_the_same_events(history: list[Any]) -> None:
    assert [d.events for d in decide_all(history)] == [d.events for d in decide_all(history)]


@given(histories)
@settings(max_examples=200, deadline=None)
def test_commands_and_events_survive_the_wire(history: list[Any]) -> None:
    for decided in decide_all(history):
        again = cmd.decode(decided.command.TYPE, cmd.encode(decided.command))
        assert cmd.encode(again) == cmd.encode(decided.command)
        for event in decided.events:
            assert ev.encode(ev.decode(event.TYPE, ev.encode(event))) == ev.encode(event)


def _run(run_id: str, strategy: str = "enqueue", **more: Any) -> cmd.CreateRun:
    return cmd.CreateRun(
        thread_id="t",
        run_id=run_id,
        assistant_id="a",
        graph_id="g",
        kwargs=Raw(b"{}"),
        multitask_strategy=strategy,  # type: ignore[arg-type]
        if_not_exists="create",
        **more,
    )


class Thread:
    """One thread under test: every command is decided and folded."""

    def __init__(self) -> None:
        self.state = ThreadState(thread_id="t")
        self.offset = 0

    def report(self, command: Any) -> list[ev.AnyEvent]:
        self.offset += 1
        meta = CommandMeta(id=f"c{self.offset}", time=at(self.offset), partition=0, offset=self.offset)
        events = decide_thread(self.state, command, meta)
        self.state = fold_thread(self.state, events, meta.time)
        return events

    def finish(self, run_id: str, outcome: str = "success", attempt: int = 1, **more: Any) -> list[ev.AnyEvent]:
        return self.report(
            cmd.FinishRun(thread_id="t", run_id=run_id, attempt=attempt, outcome=outcome, **more)  # type: ignore[arg-type]
        )


def names(events: list[ev.AnyEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_second_run_is_enqueued_and_starts_when_the_first_ends() -> None:
    thread = Thread()
    assert names(thread.report(_run("r1"))) == ["RunCreated", "RunDispatched"]
    assert names(thread.report(_run("r2"))) == ["RunCreated"]
    assert names(thread.finish("r1")) == ["RunSucceeded", "RunDispatched"]
    ended = thread.finish("r2")
    assert names(ended) == ["RunSucceeded"]
    assert thread.state.status == "idle"


def test_a_rejected_run_changes_nothing() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    before = thread.state
    (event,) = thread.report(_run("r2", "reject"))
    assert isinstance(event, ev.CommandRejected)
    assert event.status == 409
    assert thread.state == before


@pytest.mark.parametrize(("strategy", "ended"), [("interrupt", "RunCancelled"), ("rollback", "RunRolledBack")])
def test_a_newer_run_stops_the_running_one_and_follows_it(strategy: str, ended: str) -> None:
    thread = Thread()
    thread.report(_run("r1"))
    events = thread.report(_run("r2", strategy))
    assert names(events) == ["RunCancelRequested", "RunCreated"]
    assert isinstance(events[0], ev.RunCancelRequested)
    assert events[0].superseded_by == "r2"
    outcome = "interrupted" if strategy == "interrupt" else "rolled_back"
    assert names(thread.finish("r1", outcome)) == [ended, "RunDispatched"]


def test_a_cancelled_run_is_not_revived_when_its_worker_dies() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    thread.report(cmd.CancelRuns(thread_id="t", run_ids=["r1"]))
    lost = cmd.RequeueRun(thread_id="t", run_id="r1", attempt=1, reason="lease_lost", crash=True)
    (asked,) = thread.report(lost)
    assert isinstance(asked, ev.RunCancelRequested), "its end waits for what its checkpoints say"
    assert (asked.attempt, asked.orphaned) == (1, True)
    report = {"values": Raw(b'{"n":1}'), "next": ["b"], "interrupts": Raw(b"{}")}
    (ended,) = thread.finish("r1", "interrupted", **report)
    assert isinstance(ended, ev.RunCancelled)
    assert (ended.status, bytes(ended.values)) == ("interrupted", b'{"n":1}')


@pytest.mark.parametrize("rest", ["idle", "interrupted"])
def test_a_run_that_ends_and_nobody_knows_what_it_left_leaves_its_thread_alone(rest: str) -> None:
    thread = Thread()
    thread.report(_run("r1"))
    thread.finish("r1", next=["b"] if rest == "interrupted" else [])
    thread.report(_run("r2"))
    (ended,) = thread.finish("r2", "interrupted", state_known=False)
    assert isinstance(ended, ev.RunCancelled)
    assert (ended.status, bytes(ended.values), bytes(ended.interrupts)) == (rest, b"", b"")


@pytest.mark.parametrize("way", ["running", "lost", "lost with its thread", "pending", "cancelled again"])
def test_a_run_whose_client_left_says_so_however_it_ends(way: str) -> None:
    """The error does not report a request to cancel it."""
    thread = Thread()
    thread.report(_run("r1", temporary=way == "lost with its thread"))
    thread.report(_run("r2"))
    run = "r2" if way == "pending" else "r1"
    events = thread.report(cmd.CancelRuns(thread_id="t", run_ids=[run], action="disconnect"))
    reported = cmd.RunError("UserInterrupt", "interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel")
    if way.startswith("lost"):
        events = thread.report(cmd.RequeueRun(thread_id="t", run_id=run, attempt=1, reason="lease_lost", crash=True))
    if way == "cancelled again":
        thread.report(cmd.CancelRuns(thread_id="t", run_ids=[run]))
    if way in ("running", "lost", "cancelled again"):
        assert isinstance(events[0], ev.RunCancelRequested)
        events = thread.finish(run, "interrupted", error=reported)
    ended = events[0]
    assert isinstance(ended, ev.RunCancelled)
    assert webhook_error(ended) == cmd.RunError("UserInterrupt", CLIENT_LEFT)


def test_a_cancelled_run_whose_thread_goes_with_it_is_not_asked_about() -> None:
    thread = Thread()
    thread.report(_run("r1", temporary=True))
    thread.report(cmd.CancelRuns(thread_id="t", run_ids=["r1"]))
    lost = cmd.RequeueRun(thread_id="t", run_id="r1", attempt=1, reason="lease_lost", crash=True)
    assert names(thread.report(lost)) == ["RunCancelled", "ThreadDeleted"]
    assert not thread.state.runs


@pytest.mark.parametrize("way", ["rolled back", "rolled back and lost", "cancelled before it began", "removed"])
def test_a_thread_that_waits_for_a_human_still_does_when_a_run_left_no_trace(way: str) -> None:
    thread = Thread()
    thread.report(_run("r1"))
    thread.report(cmd.FinishRun(thread_id="t", run_id="r1", attempt=1, outcome="success", next=["ask"]))
    assert thread.state.status == "interrupted"
    match way:
        case "rolled back" | "rolled back and lost":
            thread.report(_run("r2"))
            thread.report(cmd.CancelRuns(thread_id="t", run_ids=["r2"], action="rollback"))
            if way == "rolled back":
                thread.finish("r2", "rolled_back")
            else:
                thread.report(cmd.RequeueRun(thread_id="t", run_id="r2", attempt=1, reason="lease_lost", crash=True))
        case "cancelled before it began":
            thread.report(_run("r2", not_before=at(40)))
            thread.report(cmd.CancelRuns(thread_id="t", run_ids=["r2"]))
        case "removed":
            thread.report(_run("r2"))
            thread.report(cmd.DeleteRun(thread_id="t", run_id="r2"))
    assert not thread.state.runs
    assert thread.state.status == "interrupted"


def _answering(run_id: str, *ids: str) -> cmd.CreateRun:
    resume = {"command": {"resume": dict.fromkeys(ids, "yes")}}
    return msgspec.structs.replace(_run(run_id), kwargs=Raw(msgspec.json.encode(resume)), answers=list(ids))


def _asking(thread: Thread, run_id: str, interrupts: bytes) -> None:
    thread.report(
        cmd.FinishRun(
            thread_id="t", run_id=run_id, attempt=1, outcome="success", next=["ask"], interrupts=Raw(interrupts)
        )
    )


def test_of_two_answers_to_an_interrupt_one_wins() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    _asking(thread, "r1", b'{"task":[{"id":"b","value":{"id":"x"}},{"id":"a","value":1}],"other":[{"id":"c"}]}')
    assert thread.state.open_interrupts == ("a", "b", "c")
    assert names(thread.report(_answering("r2", "a"))) == ["RunCreated", "RunDispatched"]
    before = thread.state
    for again in (_answering("r3", "a"), _answering("r3", "c", "a"), _answering("r3", "x")):
        (refused,) = thread.report(again)
        assert isinstance(refused, ev.CommandRejected)
        assert (refused.status, refused.detail) == (409, INTERRUPT_CONSUMED.format(again.answers[-1]))
    assert thread.state == before
    assert names(thread.report(_answering("r4", "b", "c"))) == ["RunCreated"], "others wait for their turn"


def test_nobody_answers_what_is_not_asked() -> None:
    thread = Thread()
    (refused,) = thread.report(_answering("r0", "a"))
    assert isinstance(refused, ev.CommandRejected)
    assert (refused.status, refused.detail) == (404, NO_INTERRUPTED_RUN)
    assert not thread.state.exists
    thread.report(_run("r1"))
    _asking(thread, "r1", b'{"task":[{"id":"a","value":1}]}')
    thread.report(_answering("r2", "a"))
    thread.finish("r2")
    (refused,) = thread.report(_answering("r3", "a"))
    assert isinstance(refused, ev.CommandRejected)
    assert refused.detail == NO_INTERRUPTED_RUN


def test_an_answer_that_left_no_trace_may_be_given_again() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    _asking(thread, "r1", b'{"task":[{"id":"a","value":1}]}')
    thread.report(_answering("r2", "a"))
    thread.report(cmd.CancelRuns(thread_id="t", run_ids=["r2"], action="rollback"))
    thread.finish("r2", "rolled_back")
    assert names(thread.report(_answering("r3", "a"))) == ["RunCreated", "RunDispatched"]


def test_a_report_of_an_older_attempt_decides_nothing() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    thread.report(cmd.RequeueRun(thread_id="t", run_id="r1", attempt=1, reason="lease_lost", crash=True))
    assert thread.finish("r1", attempt=1) == []
    assert names(thread.finish("r1", attempt=2)) == ["RunSucceeded"]


def test_a_run_that_keeps_losing_its_worker_fails_after_the_limit() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    for attempt in (1, 2):
        events = thread.report(
            cmd.RequeueRun(thread_id="t", run_id="r1", attempt=attempt, reason="lease_lost", crash=True)
        )
        assert names(events) == ["RunDispatched"]
    events = thread.report(cmd.RequeueRun(thread_id="t", run_id="r1", attempt=3, reason="lease_lost", crash=True))
    assert names(events) == ["RunFailed"]
    assert isinstance(events[0], ev.RunFailed)
    assert events[0].error == cmd.RunError(
        error="WorkerLost", message="The run lost its worker 3 times and was given up."
    )


def test_a_lost_dispatch_does_not_count_against_the_limit() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    for attempt in range(1, 9):
        requeue = cmd.RequeueRun(thread_id="t", run_id="r1", attempt=attempt, reason="queue_lost")
        assert names(thread.report(requeue)) == ["RunDispatched"]


def test_a_delayed_run_starts_when_it_is_due_and_holds_nobody_up() -> None:
    thread = Thread()
    assert names(thread.report(_run("r1", not_before=at(40)))) == ["RunCreated"]
    assert names(thread.report(_run("r2"))) == ["RunCreated", "RunDispatched"]
    thread.finish("r2")
    assert thread.state.status == "busy"
    # the scheduler says so by Postgres' clock; the command's own time may be behind that
    assert names(thread.report(cmd.StartDueRun(thread_id="t", run_id="r1"))) == ["RunDispatched"]
    assert thread.report(cmd.StartDueRun(thread_id="t", run_id="r1")) == []


def test_a_run_that_is_due_waits_for_its_turn() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    thread.report(_run("r2", not_before=at(40)))
    assert thread.report(cmd.StartDueRun(thread_id="t", run_id="r2")) == []
    assert names(thread.finish("r1")) == ["RunSucceeded"], "by its own time it is not due"
    assert names(thread.report(cmd.StartDueRun(thread_id="t", run_id="r2"))) == ["RunDispatched"]


def test_a_stateless_run_takes_its_thread_along() -> None:
    thread = Thread()
    thread.report(_run("r1", temporary=True))
    assert names(thread.finish("r1")) == ["RunSucceeded", "ThreadDeleted"]
    assert not thread.state.exists


def test_a_state_update_is_refused_while_a_run_is_in_flight() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    (event,) = thread.report(cmd.UpdateState(thread_id="t", checkpoints=[], values=Raw(b"{}")))
    assert isinstance(event, ev.CommandRejected)
    assert event.status == 409


def test_the_metadata_of_a_run_is_layered_as_the_contract_says() -> None:
    thread = Thread()
    thread.report(cmd.CreateThread(thread_id="t", metadata={"thread": 1, "who": "thread", "graph_id": "stale"}))
    created = thread.report(
        _run("r1", assistant_metadata={"created_by": "system", "who": "a"}, metadata={"who": "run"})
    )[0]
    assert isinstance(created, ev.RunCreated)
    assert created.metadata == {
        "created_by": "system",
        "thread": 1,
        "who": "run",
        "graph_id": "g",
        "assistant_id": "a",
    }
    assert created.thread_metadata == {"thread": 1, "who": "thread", "graph_id": "g", "assistant_id": "a"}


def test_a_run_that_brings_its_thread_shows_no_graph() -> None:
    alone = Thread().report(_run("r2", temporary=True))[0]
    assert isinstance(alone, ev.RunCreated)
    assert alone.metadata == {"assistant_id": "a"}
    assert alone.thread_metadata == {"graph_id": "g", "assistant_id": "a"}


def test_the_defaults_of_a_project_are_a_version_where_they_differ_from_what_there_is() -> None:
    state = AssistantState(assistant_id="a")
    versions = []
    for offset, (context, patched) in enumerate([(1, 0), (1, 0), (2, 0), (2, 3), (2, 0)], 1):
        meta = CommandMeta(id=f"c{offset}", time=at(offset), partition=0, offset=offset)
        config = {"configurable": {"n": context}, "tags": ["t"]}
        command: Any = cmd.CreateAssistant(
            assistant_id="a", graph_id="g", config=config, context={"n": context}, if_exists="update"
        )
        if patched:
            command = cmd.PatchAssistant(assistant_id="a", context={"n": patched})
        state = fold_assistant(state, decide_assistant(state, command, meta))
        assert state.current is not None
        versions.append((state.current.version, state.current.context["n"]))
    assert versions == [(1, 1), (1, 1), (2, 2), (3, 3), (4, 2)]
    assert state.current is not None
    assert state.current.config == {"configurable": {"n": 2}, "tags": ["t"]}


def test_every_patch_of_an_assistant_makes_a_version_and_going_back_makes_none() -> None:
    state = AssistantState(assistant_id="a")

    def report(command: Any, offset: int) -> list[ev.AnyEvent]:
        nonlocal state
        meta = CommandMeta(id=f"c{offset}", time=at(offset), partition=0, offset=offset)
        events = decide_assistant(state, command, meta)
        state = fold_assistant(state, events)
        return events

    report(cmd.CreateAssistant(assistant_id="a", graph_id="g", context={"n": 1}, metadata={"x": 1}), 1)
    report(cmd.PatchAssistant(assistant_id="a"), 2)
    report(cmd.PatchAssistant(assistant_id="a", context={"n": 3}, metadata={"y": 2}), 3)
    assert state.current is not None
    assert (state.current.version, state.current.metadata) == (3, {"x": 1, "y": 2})
    report(cmd.SetLatestAssistant(assistant_id="a", version=1), 4)
    assert (state.current.version, state.current.context) == (1, {"n": 1})
    report(cmd.PatchAssistant(assistant_id="a", name="n"), 5)
    assert (state.current.version, state.current.context, state.current.name) == (4, {"n": 1}, "n")
    (refused,) = report(cmd.SetLatestAssistant(assistant_id="a", version=99), 6)
    assert isinstance(refused, ev.AssistantRejected)
    assert refused.status == 404


def _with_ttl(strategy: str = "delete") -> Thread:
    thread = Thread()
    thread.report(cmd.CreateThread(thread_id="t", ttl=cmd.Ttl(0.5, strategy)))  # type: ignore[arg-type]
    return thread


def test_a_thread_expires_when_it_has_not_changed_for_its_ttl() -> None:
    thread = _with_ttl()
    thread.offset = 25
    assert thread.report(cmd.ExpireThread(thread_id="t")) == []
    thread.report(cmd.PatchThread(thread_id="t", metadata={"a": 1}))
    thread.offset = 50
    assert thread.report(cmd.ExpireThread(thread_id="t")) == [], "it was changed in between"
    thread.offset = 60
    assert names(thread.report(cmd.ExpireThread(thread_id="t"))) == ["ThreadDeleted"]
    assert thread.report(cmd.ExpireThread(thread_id="t")) == []


def test_a_thread_that_keeps_its_latest_checkpoints_stays() -> None:
    thread = _with_ttl("keep_latest")
    thread.offset = 40
    (event,) = thread.report(cmd.ExpireThread(thread_id="t"))
    assert event == ev.CheckpointsDeleted(thread_id="t", keep_latest=True)
    assert thread.state.exists


def test_a_busy_thread_does_not_expire() -> None:
    thread = _with_ttl()
    thread.report(_run("r1"))
    thread.offset = 50
    assert thread.report(cmd.ExpireThread(thread_id="t")) == []
    thread.finish("r1")
    assert thread.report(cmd.ExpireThread(thread_id="t")) == [], "its TTL begins again with the end of the run"


def test_a_thread_made_by_a_run_has_the_ttl_that_came_with_it() -> None:
    thread = Thread()
    thread.report(_run("r1", thread_ttl=cmd.Ttl(0.5)))
    thread.finish("r1")
    thread.offset = 40
    assert names(thread.report(cmd.ExpireThread(thread_id="t"))) == ["ThreadDeleted"]


@given(histories)
@settings(max_examples=200, deadline=None)
def test_every_end_of_a_run_says_where_it_is_to_be_told(history: list[Any]) -> None:
    for decided in decide_all(history):
        for event in decided.events:
            if isinstance(event, FINAL):
                run = decided.before.runs.get(event.run_id)
                hooked = run is not None and b"webhook" in bytes(run.kwargs)
                assert event.webhook == ("http://x/" if hooked else None)


@given(histories)
@settings(max_examples=200, deadline=None)
def test_expiry_touches_no_thread_with_runs_in_flight(history: list[Any]) -> None:
    for decided in decide_all(history):
        if isinstance(decided.command, cmd.ExpireThread) and decided.before.runs:
            assert decided.events == []
