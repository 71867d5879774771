"""The search itself: known histories, and a comparison with trying every order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.calls import Call, History
from tests.history.linearizability import explain, violations
from tests.history.models import MISSING, MODELS, Made, Question, Register


def call(began: float, ended: float, action: str, argument: object = None, result: object = None) -> Call:
    outcome = "unknown" if ended == math.inf else "answered"
    return Call("c", "store:a", action, argument, began, ended, outcome, result)  # type: ignore[arg-type]


def test_calls_at_the_same_time_may_have_taken_effect_in_either_order() -> None:
    assert (
        explain("a", [call(0, 9, "put", 1), call(1, 8, "put", 2), call(10, 11, "read", result=1)], Register()) is None
    )
    assert (
        explain("a", [call(0, 9, "put", 1), call(1, 8, "put", 2), call(10, 11, "read", result=2)], Register()) is None
    )


def test_a_read_of_what_was_overwritten_before_it_began_is_refused() -> None:
    stale = [call(0, 1, "put", 1), call(2, 3, "put", 2), call(4, 5, "read", result=1)]
    violation = explain("a", stale, Register())
    assert violation is not None
    assert (violation.explained, violation.unexplained) == (stale[:2], stale[2:])
    assert "read None -> 1" in str(violation)


def test_what_is_unknown_may_take_effect_late_or_never_but_not_twice() -> None:
    unknown = call(0, math.inf, "put", 1)
    late = [unknown, call(2, 3, "put", 2), call(4, 5, "read", result=2), call(6, 7, "read", result=1)]
    assert explain("a", late, Register()) is None
    assert explain("a", [unknown, call(2, 3, "read", result=MISSING)], Register()) is None
    twice = [*late, call(8, 9, "put", 3), call(10, 11, "read", result=1)]
    assert explain("a", twice, Register()) is not None


def test_what_was_refused_must_not_take_effect() -> None:
    history = History([Call("c", "store:a", "put", 1, 0, 1, "refused"), call(2, 3, "read", result=1)])
    (violation,) = violations(history, MODELS)  # type: ignore[arg-type]
    assert violation.subject == "store:a"
    history.calls[1:] = [call(2, 3, "read", result=MISSING)]
    assert violations(history, MODELS) == []  # type: ignore[arg-type]


def test_subjects_are_judged_apart() -> None:
    other = Call("c", "store:b", "read", None, 0, 1, "answered", MISSING)
    assert violations(History([call(0, 1, "put", 1), other]), MODELS) == []  # type: ignore[arg-type]


def test_a_long_history_is_judged_in_little_time() -> None:
    """Four clients at once, a thousand calls: each remembered configuration is looked at once."""
    calls = [call(n, n + 3.5, "put", n) for n in range(1_000)]
    assert explain("a", [*calls, call(2_000, 2_001, "read", result=997)], Register()) is None
    assert explain("a", [*calls, call(2_000, 2_001, "read", result=900)], Register()) is not None


def by_trying_every_order(calls: Sequence[Call], model: Register | Made | Question) -> bool:
    """Orders of all answered calls and any of the unknown ones; what comes by itself may come between any two."""
    unknown = [c for c in calls if c.outcome == "unknown"]
    answered = [c for c in calls if c.outcome == "answered"]
    for size in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, size):
            for order in itertools.permutations([*answered, *chosen]):
                if any(later.ended < earlier.began for earlier, later in itertools.combinations(order, 2)):
                    continue
                states = closed({model.initial}, model)
                for one in order:
                    states = closed({after for state in states for after in model.after(state, one)}, model)
                if states:
                    return True
    return False


def closed(states: set[object], model: Register | Made | Question) -> set[object]:
    states = set(states)
    while more := {after for state in states for after in model.alone(state)} - states:  # type: ignore[arg-type]
        states |= more
    return states


VALUES = st.sampled_from(["x", "y"])
ACTIONS = {
    "store": st.one_of(
        st.tuples(st.just("put"), VALUES, st.none()),
        st.tuples(st.just("delete"), st.none(), st.none()),
        st.tuples(st.just("read"), st.none(), st.sampled_from(["x", "y", MISSING])),
    ),
    "made": st.one_of(
        st.tuples(
            st.just("create"),
            st.tuples(st.sampled_from(["raise", "do_nothing"]), VALUES),
            st.sampled_from(["x", "y", 409]),
        ),
        st.tuples(st.just("read"), st.none(), st.sampled_from(["x", "y", MISSING])),
    ),
    "question": st.one_of(
        st.tuples(st.just("answer"), VALUES, st.booleans()),
        st.tuples(st.just("read"), st.none(), st.sampled_from(["x", "y", None])),
    ),
}


@st.composite
def histories(draw: st.DrawFn, kind: str) -> list[Call]:
    """Up to five calls at any times, of any results."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        action, argument, result = draw(ACTIONS[kind])
        began = draw(st.integers(0, 8))
        unknown = action != "read" and draw(st.booleans())
        ended = math.inf if unknown else began + draw(st.integers(0, 6)) + 0.5
        found.append(call(began, ended, action, argument, None if unknown else result))
    return found


@pytest.mark.parametrize("kind", list(ACTIONS))
@settings(max_examples=150)
@given(data=st.data())
def test_the_search_finds_what_trying_every_order_finds(kind: str, data: st.DataObject) -> None:
    calls = data.draw(histories(kind))
    model = MODELS[kind]
    assert (explain("a", calls, model) is None) == by_trying_every_order(calls, model)  # type: ignore[arg-type]


def test_many_tries_of_the_same_calls_are_judged_in_little_room() -> None:
    """As when a table is locked for a minute: no client learns what has come of any of its tries."""
    tries = [call(n + value / 10, math.inf, "put", value) for value in range(3) for n in range(12)]
    reads = [call(20 + 2 * n, 21 + 2 * n, "read", result=n % 3) for n in range(6)]
    assert explain("a", [*tries, *reads], Register()) is None
    violation = explain("a", [*tries, *reads, call(40, 41, "read", result=MISSING)], Register())
    assert violation is not None and len(violation.unexplained) == 1
