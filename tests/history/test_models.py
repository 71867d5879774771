"""Each model refuses a history that breaks its promise, and takes the one beside it that keeps it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest

from tests.history.calls import Call
from tests.history.linearizability import explain
from tests.history.models import BUSY, MISSING, MODELS


class Case(NamedTuple):
    subject: str
    """Also what the wrong history does wrong."""
    right: list[tuple[Any, ...]]
    """Calls one after the other: action, argument, result."""
    wrong: list[tuple[Any, ...]]


RUNNING, DONE = (("a", "open"),), (("a", "success"),)
CREATE_A = ("create", ("enqueue", "a"), "a")
CASES = [
    Case(
        "made:two clients have made the same thread",
        [("create", ("raise", "x"), "x"), ("create", ("raise", "y"), BUSY), ("read", None, "x")],
        [("create", ("raise", "x"), "x"), ("create", ("raise", "y"), "y")],
    ),
    Case(
        "made:the second one's value is there",
        [("create", ("do_nothing", "x"), "x"), ("create", ("do_nothing", "y"), "x")],
        [("create", ("do_nothing", "x"), "x"), ("create", ("do_nothing", "y"), "y")],
    ),
    Case(
        "made:it is lost",
        [("read", None, MISSING), ("create", ("raise", "x"), "x"), ("read", None, "x")],
        [("create", ("raise", "x"), "x"), ("read", None, MISSING)],
    ),
    Case(
        "store:what was deleted is there",
        [("put", 1, None), ("delete", None, None), ("read", None, MISSING)],
        [("put", 1, None), ("delete", None, None), ("read", None, 1)],
    ),
    Case(
        "question:two answers are taken",
        [("answer", "x", True), ("answer", "y", False), ("read", None, None), ("read", None, "x")],
        [("answer", "x", True), ("answer", "y", True)],
    ),
    Case(
        "question:the graph gets the answer that was refused",
        [("answer", "x", True), ("answer", "y", False), ("read", None, "x")],
        [("answer", "x", True), ("answer", "y", False), ("read", None, "y")],
    ),
    Case(
        "question:the only answer is too late",
        [("answer", "x", True)],
        [("answer", "x", False)],
    ),
    Case(
        "queue:a run is lost",
        [CREATE_A, ("read", None, RUNNING), ("read", None, DONE)],
        [CREATE_A, ("read", None, ())],
    ),
    Case(
        "queue:a run is done before the one before it",
        [CREATE_A, ("create", ("enqueue", "b"), "b"), ("read", None, (("a", "success"), ("b", "open")))],
        [CREATE_A, ("create", ("enqueue", "b"), "b"), ("read", None, (("a", "open"), ("b", "success")))],
    ),
    Case(
        "queue:a run that is over is open again",
        [CREATE_A, ("read", None, DONE), ("read", None, DONE)],
        [CREATE_A, ("read", None, DONE), ("read", None, RUNNING)],
    ),
    Case(
        "queue:reject makes a run on a busy thread",
        [CREATE_A, ("create", ("reject", "b"), BUSY), ("read", None, RUNNING), ("create", ("reject", "c"), "c")],
        [CREATE_A, ("create", ("reject", "b"), "b"), ("read", None, (("a", "open"), ("b", "open")))],
    ),
    Case(
        "queue:reject refuses on a thread that is free",
        [CREATE_A, ("read", None, DONE), ("create", ("reject", "b"), "b")],
        [CREATE_A, ("read", None, DONE), ("create", ("reject", "b"), BUSY)],
    ),
    Case(
        "queue:a second call with a key makes a second run",
        [CREATE_A, CREATE_A, ("read", None, RUNNING)],
        [CREATE_A, CREATE_A, ("read", None, (("a", "open"), ("a", "open")))],
    ),
    Case(
        "queue:interrupt leaves a run that waited",
        [
            *(CREATE_A, ("create", ("enqueue", "b"), "b"), ("create", ("interrupt", "c"), "c")),
            ("read", None, (("a", "open"), ("b", "interrupted"), ("c", "open"))),
            ("read", None, (("a", "interrupted"), ("b", "interrupted"), ("c", "success"))),
        ],
        [
            *(CREATE_A, ("create", ("enqueue", "b"), "b"), ("create", ("interrupt", "c"), "c")),
            ("read", None, (("a", "open"), ("b", "open"), ("c", "open"))),
        ],
    ),
    Case(
        "queue:a run is interrupted by nobody",
        [CREATE_A, ("create", ("interrupt", "b"), "b"), ("read", None, (("a", "interrupted"), ("b", "open")))],
        [CREATE_A, ("create", ("enqueue", "b"), "b"), ("read", None, (("a", "interrupted"), ("b", "open")))],
    ),
    Case(
        "queue:rollback leaves the run",
        [CREATE_A, ("create", ("rollback", "b"), "b"), ("read", None, (("b", "open"),))],
        [
            *(CREATE_A, ("create", ("rollback", "b"), "b"), ("read", None, (("a", "open"), ("b", "open")))),
            ("read", None, (("a", "success"), ("b", "open"))),
        ],
    ),
    Case(
        "queue:a rollback is taken back by an interrupt",
        [CREATE_A, ("create", ("rollback", "b"), "b"), ("create", ("interrupt", "c"), "c"), ("read", None, (("b", "interrupted"), ("c", "open")))],
        [CREATE_A, ("create", ("rollback", "b"), "b"), ("create", ("interrupt", "c"), "c"), ("read", None, (("a", "interrupted"), ("b", "interrupted"), ("c", "open")))],
    ),
]  # fmt: skip


def calls(case: Case, steps: list[tuple[Any, ...]]) -> list[Call]:
    return [
        Call("c", case.subject, action, argument, 2 * n, 2 * n + 1, "answered", result)
        for n, (action, argument, result) in enumerate(steps)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.subject)
def test_a_model_takes_what_keeps_its_promise_and_refuses_what_breaks_it(case: Case) -> None:
    model = MODELS[case.subject.partition(":")[0]]
    assert explain(case.subject, calls(case, case.right), model) is None  # type: ignore[arg-type]
    assert explain(case.subject, calls(case, case.wrong), model) is not None  # type: ignore[arg-type]


def test_what_became_of_a_call_of_unknown_outcome_may_be_seen_later() -> None:
    unknown = Call("c", "queue:t", "create", ("interrupt", "b"), 2, math.inf, "unknown")
    first = Call("c", "queue:t", "create", ("enqueue", "a"), 0, 1, "answered", "a")
    for shown in ((("a", "open"),), (("a", "success"),), (("a", "interrupted"), ("b", "open"))):
        seen = Call("d", "queue:t", "read", None, 4, 5, "answered", shown)
        assert explain("queue:t", [first, unknown, seen], MODELS["queue"]) is None  # type: ignore[arg-type]
