"""A run with ``strict_resume`` fails if no interrupt waits for its answer, and the thread is unchanged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from msgspec import Raw
from msgspec.structs import replace

from .test_decide import Thread, _asking, _run, names

A, B, X = "a" * 32, "b" * 32, "f" * 32


def _strict(run_id: str, resume: Any, **more: Any) -> cmd.CreateRun:
    kwargs = {"command": {"resume": resume}, "strict_resume": True, "webhook": "http://x/", **more}
    return replace(_run(run_id), kwargs=Raw(msgspec.json.encode(kwargs)), metadata={"run": run_id})


def _asked(*ids: str) -> Thread:
    thread = Thread()
    thread.report(_run("r1"))
    _asking(thread, "r1", msgspec.json.encode({f"task-{id}": [{"id": id, "value": 1}] for id in ids}))
    return thread


@pytest.mark.parametrize(
    ("asked", "resume", "reason", "unknown"),
    [
        ((A, B), {X: 1, A: 2}, "not_pending", [X]),
        ((A,), {}, "empty_map", []),
        ((A, B), "yes", "ambiguous", []),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_says_how(
    asked: tuple[str, ...], resume: Any, reason: str, unknown: list[str]
) -> None:
    thread = _asked(*asked)
    before = thread.state
    created, failed = thread.report(_strict("r2", resume))
    assert isinstance(created, ev.RunCreated)
    assert isinstance(failed, ev.RunFailed)
    assert failed.error is not None
    assert failed.error.refusal is not None
    assert failed.error.error == "UnknownInterruptError"
    refusal = failed.error.refusal
    assert (refusal.reason, refusal.interrupt_ids, refusal.pending_ids) == (reason, unknown, list(asked))
    assert failed.webhook == "http://x/"
    moved = replace(before, updated_at=thread.state.updated_at, seq=thread.state.seq)
    assert thread.state == moved, "nothing but the numbers of what is told"
    assert failed.first_event_number == before.seq + 1
    assert failed.last_event_number == before.seq + (3 if unknown else 2)


@pytest.mark.parametrize("resume", ["yes", {A: "yes"}])
def test_an_answer_that_fits_is_taken(resume: Any) -> None:
    assert names(_asked(A).report(_strict("r2", resume))) == ["RunCreated", "RunDispatched"]


def test_one_value_resumes_a_breakpoint_and_nothing_else() -> None:
    thread = Thread()
    thread.report(_run("r1"))
    thread.finish("r1", next=["node"])
    assert names(thread.report(_strict("r2", "go on"))) == ["RunCreated", "RunDispatched"]
    thread.finish("r2")
    assert names(thread.report(_strict("r3", "go on"))) == ["RunCreated", "RunFailed"]


def test_of_two_strict_answers_one_wins_and_the_other_fails_when_its_turn_comes() -> None:
    thread = _asked(A)
    assert names(thread.report(_strict("r2", {A: "yes"}))) == ["RunCreated", "RunDispatched"]
    assert names(thread.report(_strict("r3", {A: "no"}))) == ["RunCreated"]
    assert names(thread.report(_run("r4"))) == ["RunCreated"]
    assert names(thread.finish("r2")) == ["RunSucceeded", "RunFailed", "RunDispatched"]
    assert thread.state.status == "busy"
    thread.finish("r4")
    assert thread.state.status == "idle"


def test_a_run_from_a_checkpoint_is_looked_at_by_its_worker() -> None:
    thread = _asked(A)
    config = {"configurable": {"checkpoint_id": "c"}}
    assert names(thread.report(_strict("r2", {X: 1}, config=config))) == ["RunCreated", "RunDispatched"]
    refusal = cmd.RunError("UnknownInterruptError", "m", cmd.Refusal("not_pending", [X], [A]))
    before = thread.state
    (failed,) = thread.finish("r2", "error", error=refusal, values=Raw(b"{}"), interrupts=Raw(b"{}"))
    assert isinstance(failed, ev.RunFailed)
    assert (failed.status, bool(failed.values), bool(failed.interrupts)) == ("interrupted", False, False)
    assert thread.state.open_interrupts == before.open_interrupts == (A,)


def test_what_is_no_answer_is_not_looked_at() -> None:
    thread = Thread()
    goes = {"command": {"goto": "node"}, "strict_resume": True}
    run = replace(_run("r1"), kwargs=Raw(msgspec.json.encode(goes)))
    assert names(thread.report(run)) == ["RunCreated", "RunDispatched"]
