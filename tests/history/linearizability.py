"""Whether a history can be explained by one object that carries out a call at a time.

The search of Wing and Gong (Testing and Verifying Concurrent Objects, 1993) with Lowe's memory of configurations (Testing for
Linearizability, 2017), as porcupine and Knossos have it: each answered call must have taken effect at one moment between its beginning
and its end, in an order that the model allows. A call of unknown outcome may take effect at any moment since it began, or never.
Herlihy and Wing (1990) show that each subject may be judged by itself, so a history is divided by subject first.

A model is not deterministic: a state may be followed by several, and the server may go on by itself (a run ends).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.history.calls import Call, History

CONFIGURATIONS_MAX = 2_000_000
"""Of one subject. A workload whose subjects need more divides them too little."""


class Model(Protocol):
    """States are values that can be hashed."""

    @property
    def initial(self) -> Hashable: ...

    def after(self, state: Hashable, call: Call) -> Iterable[Hashable]:
        """The states that may follow when the call takes effect with its result; with any result where the outcome is unknown."""
        ...

    def alone(self, state: Hashable) -> Iterable[Hashable]:
        """The states that may follow by themselves."""
        ...


@dataclass(frozen=True)
class Violation:
    subject: str
    explained: list[Call]
    """The longest order of calls that the model allows."""
    state: Hashable
    """After them."""
    unexplained: list[Call]
    """Answered calls that cannot follow."""

    def __str__(self) -> str:
        lines = [
            f"{self.subject}: no order of its calls is possible. Possible is:",
            *(f"  {c}" for c in self.explained),
        ]
        lines += [f"then, in state {self.state!r}, none of these:", *(f"  {c}" for c in self.unexplained)]
        return "\n".join(lines)


def violations(history: History, models: dict[str, Model]) -> list[Violation]:
    """One for each subject that cannot be explained. ``models``: by what stands before the colon of a subject."""
    judged = (explain(subject, calls, models[subject.partition(":")[0]]) for subject, calls in history.by_subject())
    return [violation for violation in judged if violation is not None]


def explain(subject: str, calls: Sequence[Call], model: Model) -> Violation | None:
    """None when some order explains the calls, of one subject. Raises RuntimeError when it cannot be said within the limit."""
    ordered = sorted(calls, key=lambda call: call.began)
    answered = sum(1 << n for n, call in enumerate(ordered) if call.outcome == "answered")
    twins = _twins(ordered)
    start: tuple[int, Hashable] = (0, model.initial)
    came_from: dict[tuple[int, Hashable], tuple[tuple[int, Hashable], int] | None] = {start: None}
    open_ones, best = [start], start
    while open_ones:
        configuration = open_ones.pop()
        done, state = configuration
        if done & answered == answered:
            return None
        if (done & answered).bit_count() > (best[0] & answered).bit_count():
            best = configuration
        following = [((done, next_state), -1) for next_state in model.alone(state)]
        possible = _possible(ordered, done)
        # tried last to first: answered calls by their beginning, then those that may never have happened, then what comes by itself
        for n in sorted(possible, key=lambda n: (ordered[n].outcome == "answered", -n)):
            if twins[n] & ~done:
                continue
            # a call of unknown outcome that changes nothing may as well never take effect
            following += [
                ((done | 1 << n, next_state), n)
                for next_state in model.after(state, ordered[n])
                if next_state != state or ordered[n].outcome == "answered"
            ]
        for found, n in following:
            if found not in came_from:
                came_from[found] = (configuration, n)
                open_ones.append(found)
        if len(came_from) > CONFIGURATIONS_MAX:
            raise RuntimeError(f"{subject}: {len(ordered)} calls need more than {CONFIGURATIONS_MAX} configurations")
    path: list[Call] = []
    step = came_from[best]
    while step is not None:
        if step[1] >= 0:
            path.append(ordered[step[1]])
        step = came_from[step[0]]
    left = [ordered[n] for n in _possible(ordered, best[0]) if ordered[n].outcome == "answered"]
    return Violation(subject, path[::-1], best[1], left)


def _twins(ordered: Sequence[Call]) -> list[int]:
    """For each call, as a bit: the one before it of unknown outcome that does the same, if it is of unknown outcome itself; 0: none.

    They are tries of one request, and whichever of them takes effect, the result is the same. The first may whenever a later one may, so
    that orders in which a later one goes ahead need no search: twenty tries are twenty possibilities then, and not a million.
    """
    twins: list[int] = []
    last: dict[tuple[str, Hashable], int] = {}
    for n, call in enumerate(ordered):
        same = call.action, call.argument
        twins.append(last.get(same, 0) if call.outcome == "unknown" else 0)
        if call.outcome == "unknown":
            last[same] = 1 << n
    return twins


def _possible(ordered: Sequence[Call], done: int) -> list[int]:
    """The calls that may take effect next: those that began before any other that is left had ended."""
    left: list[int] = []
    first_end = math.inf
    first_left = (~done & (done + 1)).bit_length() - 1
    for n in range(first_left, len(ordered)):
        call = ordered[n]
        if call.began > first_end:
            break
        if not done >> n & 1:
            left.append(n)
            first_end = min(first_end, call.ended)
    return [n for n in left if ordered[n].began <= first_end]
