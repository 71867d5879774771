"""Double texting as a state machine: the four strategies under any interleaving of creating, cancelling, finishing and crashing.

The model does not use events: it records the promised outcome of each run at its commands, and a worker's results.
A worker may be late: it may report success of a run after a stop request, and an attempt that is no longer the
present one may still report.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from langlog_executor.decider.decisions.thread_events import fold_thread
from langlog_executor.decider.decisions.threads import decide_thread
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import CommandMeta
from msgspec import Raw

from .histories import at

THREAD = "t"
MAX_CRASHES = 3
ENDS = {"success": ev.RunSucceeded, "error": ev.RunFailed, "interrupted": ev.RunCancelled, "timeout": ev.RunTimedOut}


class Promised:
    """The promised outcome of a run in flight, and its progress."""

    def __init__(self, base: list[str]) -> None:
        self.base = base
        """The thread's state when the run was dispatched."""
        self.stop = False
        self.erase = False
        self.superseded_by: str | None = None

    def ask(self, *, erase: bool, by: str | None = None) -> None:
        self.stop = True
        self.erase = self.erase or erase
        self.superseded_by = self.superseded_by or by


class DoubleTexting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = ThreadState(thread_id=THREAD)
        self.offset = 0
        self.made = 0
        self.promised: dict[str, Promised] = {}
        """Runs in flight, in the order in which they came."""
        self.checkpoints: list[tuple[str, list[str]]] = []
        """(run, state) of the checkpoints that were written and not erased."""
        self.erased: set[str] = set()
        self.values: list[str] = []
        """Values that the thread shows."""
        self.rest = "idle"
        """Status of the thread without runs in flight: erased runs and those that never began do not change it."""
        self.dispatched: list[str] = []

    def handle(self, command: Any) -> list[ev.AnyEvent]:
        self.offset += 1
        meta = CommandMeta(id=f"c{self.offset}", time=at(self.offset), partition=0, offset=self.offset)
        events = decide_thread(self.state, command, meta)
        self.state = fold_thread(self.state, events, meta.time)
        for event in events:
            self.fold(event)
        return events

    def fold(self, event: ev.AnyEvent) -> None:
        """Fold an event like readers, and compare the result with the promises."""
        match event:
            case ev.RunDispatched():
                promised = self.promised[event.run_id]
                assert not promised.stop, "a run that was asked to stop is not started, and not revived"
                promised.base = self.checkpoints[-1][1] if self.checkpoints else []
                if event.attempt == 1:
                    self.dispatched.append(event.run_id)
            case ev.RunEnded():
                promised = self.promised.pop(event.run_id)
                assert isinstance(event, ev.RunRolledBack) == promised.erase
                assert event.superseded_by == promised.superseded_by
                if event.values:
                    self.values = msgspec.json.decode(event.values)
                if isinstance(event, (ev.RunFailed, ev.RunTimedOut)):
                    self.rest = "error"
                if isinstance(event, ev.RunRolledBack):
                    self.erased.add(event.run_id)
                    self.checkpoints = [entry for entry in self.checkpoints if entry[0] != event.run_id]
            case ev.RunCancelRequested():
                promised = self.promised[event.run_id]
                assert (event.action == "rollback", event.superseded_by) == (promised.erase, promised.superseded_by)
            case _:
                pass

    # what may happen

    @rule(strategy=st.sampled_from(["reject", "enqueue", "interrupt", "rollback"]))
    def create(self, strategy: Any) -> None:
        self.made += 1
        run_id = f"r{self.made:03}"
        before, busy = self.state, bool(self.promised)
        if strategy in ("interrupt", "rollback"):
            for promised in self.promised.values():
                promised.ask(erase=strategy == "rollback", by=run_id)
        if not (strategy == "reject" and busy):
            self.promised[run_id] = Promised([])
        events = self.handle(
            cmd.CreateRun(
                thread_id=THREAD,
                run_id=run_id,
                assistant_id="a",
                graph_id="g",
                kwargs=Raw(b"{}"),
                multitask_strategy=strategy,
                if_not_exists="create",
            )
        )
        if strategy == "reject" and busy:
            (refusal,) = events
            assert isinstance(refusal, ev.CommandRejected)
            assert refusal.status == 409
            assert self.state == before
        elif strategy == "enqueue":
            assert not any(isinstance(event, (ev.RunEnded, ev.RunCancelRequested)) for event in events)

    @precondition(lambda self: self.promised)
    @rule(data=st.data(), action=st.sampled_from(["interrupt", "rollback"]))
    def cancel(self, data: st.DataObject, action: Any) -> None:
        chosen = data.draw(st.lists(st.sampled_from(list(self.promised)), min_size=1, max_size=3, unique=True))
        for run_id in chosen:
            self.promised[run_id].ask(erase=action == "rollback")
        self.handle(cmd.CancelRuns(thread_id=THREAD, run_ids=chosen, action=action))

    @precondition(lambda self: self.state.active)
    @rule()
    def step(self) -> None:
        """Let the worker write a checkpoint."""
        run = self.state.active
        assert run is not None
        self.checkpoints.append((run.run_id, [*self.promised[run.run_id].base, f"{run.run_id}?"]))

    @precondition(lambda self: self.state.active)
    @rule(outcome=st.sampled_from(["success", "error", "interrupted", "timeout", "rolled_back"]), waits=st.booleans())
    def finish(self, outcome: Any, waits: bool) -> None:
        run = self.state.active
        assert run is not None
        promised = self.promised[run.run_id]
        if outcome == "rolled_back" and not promised.erase:
            return  # no worker says so of itself
        if not promised.erase:
            self.rest = "interrupted" if waits else "idle"
        left = [*promised.base, run.run_id]
        self.checkpoints.append((run.run_id, left))
        erased = promised.erase
        events = self.handle(
            cmd.FinishRun(
                thread_id=THREAD,
                run_id=run.run_id,
                attempt=run.attempt,
                outcome=outcome,
                values=Raw(msgspec.json.encode(left)),
                next=["node"] if waits else [],
            )
        )
        assert isinstance(events[0], ev.RunRolledBack if erased else ENDS[outcome])

    @precondition(lambda self: self.state.active)
    @rule(crash=st.booleans())
    def lose(self, crash: bool) -> None:
        """The worker dies, or hands the run back."""
        run = self.state.active
        assert run is not None
        stop, erase = self.promised[run.run_id].stop, self.promised[run.run_id].erase
        events = self.handle(
            cmd.RequeueRun(
                thread_id=THREAD,
                run_id=run.run_id,
                attempt=run.attempt,
                reason="lease_lost" if crash else "drained",
                crash=crash,
                max_attempts=MAX_CRASHES,
            )
        )
        if stop and not erase:
            (asked,) = events
            assert isinstance(asked, ev.RunCancelRequested), "its end waits for what it has left"
            assert asked.orphaned
        elif stop:
            assert isinstance(events[0], ev.RunRolledBack), "it ends as if its worker had stopped it"
        elif run.crashes + crash < MAX_CRASHES:
            assert isinstance(events[0], ev.RunDispatched)

    @precondition(lambda self: self.state.active and self.state.active.attempt > 1)
    @rule(outcome=st.sampled_from(["success", "interrupted", "rolled_back"]))
    def report_late(self, outcome: Any) -> None:
        run = self.state.active
        assert run is not None
        stale = cmd.FinishRun(
            thread_id=THREAD,
            run_id=run.run_id,
            attempt=run.attempt - 1,
            outcome=outcome,
            values=Raw(b'["stale"]'),
        )
        assert self.handle(stale) == []

    # what holds at any time

    @invariant()
    def the_decider_knows_exactly_the_runs_in_flight(self) -> None:
        assert list(self.state.runs) == list(self.promised)

    @invariant()
    def one_run_is_dispatched_while_any_is_in_flight(self) -> None:
        assert sum(run.attempt > 0 for run in self.state.runs.values()) == bool(self.promised)
        assert self.state.status == ("busy" if self.promised else self.rest)

    @invariant()
    def runs_start_in_the_order_in_which_they_came(self) -> None:
        assert self.dispatched == sorted(self.dispatched)

    @invariant()
    def nothing_of_an_erased_run_is_left(self) -> None:
        for shown in (self.values, *(state for _, state in self.checkpoints)):
            assert "stale" not in shown
            assert not self.erased & {name.removesuffix("?") for name in shown}

    def teardown(self) -> None:
        """Left alone, the thread comes to rest: every run that was accepted has its end."""
        while self.state.active is not None:
            self.finish("success", waits=False)
        assert not self.promised
        assert self.state.status in ("idle", "interrupted", "error")


def test_the_four_strategies_keep_their_promises_under_any_interleaving() -> None:
    run_state_machine_as_test(DoubleTexting, settings=settings(max_examples=300, stateful_step_count=30, deadline=None))
