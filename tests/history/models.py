"""Guarantees of langlog for single objects, as models for `tests.history.linearizability`. Calls of each model:

made:…     create (raise or do_nothing, value) -> value | 409, read -> value | 404
store:…    put value -> None, delete -> None, read -> value | 404
question:… answer value -> True | False (too late), read -> value or None
queue:…    create (strategy, label) -> label | 409, read -> ((label, status), …) from the oldest to the newest
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from tests.history.calls import Call

MISSING, BUSY = 404, 409
OPEN = "open"
"""Status of a run that is not over; clients see it as pending or running."""


class Made:
    """A thread or assistant that clients create under one id: one of them makes it, and what it holds is that one's."""

    initial: Hashable = MISSING

    def after(self, state: Hashable, call: Call) -> Iterable[Hashable]:
        if call.action == "read":
            return [state] if call.result == state else []
        assert isinstance(call.argument, tuple)
        if_exists, value = call.argument
        result = value if state == MISSING else state if if_exists == "do_nothing" else BUSY
        if call.outcome == "answered" and call.result != result:
            return []
        return [value if state == MISSING else state]

    def alone(self, state: Hashable) -> Iterable[Hashable]:
        return ()


class Register:
    """An item of the store."""

    initial: Hashable = MISSING

    def after(self, state: Hashable, call: Call) -> Iterable[Hashable]:
        match call.action:
            case "put":
                return [call.argument]
            case "delete":
                return [MISSING]
            case "read":
                return [state] if call.result == state else []
            case _:
                raise ValueError(call.action)

    def alone(self, state: Hashable) -> Iterable[Hashable]:
        return ()


class Question:
    """An interrupt: one answer is taken, and it is the one that the graph gets, some time later."""

    initial: Hashable = (None, False)

    def after(self, state: Hashable, call: Call) -> Iterable[Hashable]:
        assert isinstance(state, tuple)
        answer, given = state
        if call.action == "read":
            return [state] if call.result == (answer if given else None) else []
        taken = answer is None
        if call.outcome == "answered" and call.result != taken:
            return []
        return [(call.argument, False) if taken else state]

    def alone(self, state: Hashable) -> Iterable[Hashable]:
        assert isinstance(state, tuple)
        answer, given = state
        return [(answer, True)] if answer is not None and not given else ()


class Entry(NamedTuple):
    """A run of a queue. ``phase``: queued, active, stopping, erasing; success, interrupted, gone; rejected."""

    label: str
    phase: str


IN_FLIGHT = ("queued", "active", "stopping", "erasing")
ENDS = {"active": ("success",), "stopping": ("success", "interrupted"), "erasing": ("gone",)}
"""How a run may end by itself: one that is asked to stop may be done before it hears of it."""


class Queue:
    """A thread: one run at a time, the others in their order, and what a new one does to those before it.

    A label is the client's ``Idempotency-Key`` as well: a second call with it gets the outcome of the first.
    """

    initial: Hashable = ()

    def after(self, state: Any, call: Call) -> Iterable[Hashable]:
        if call.action == "read":
            return [state] if call.result == self._shown(state) else []
        assert isinstance(call.argument, tuple)
        strategy, label = call.argument
        known = [entry for entry in state if entry.label == label]
        following = state if known else self._created(state, strategy, label)
        result = BUSY if Entry(label, "rejected") in following else label
        if call.outcome == "answered" and call.result != result:
            return []
        return [following]

    def alone(self, state: Any) -> Iterable[Hashable]:
        for n, entry in enumerate(state):
            for end in ENDS.get(entry.phase, ()):
                yield self._started((*state[:n], Entry(entry.label, end), *state[n + 1 :]))

    def _created(self, state: Any, strategy: str, label: str) -> Any:
        match strategy:
            case "reject":
                if any(entry.phase in IN_FLIGHT for entry in state):
                    return (*state, Entry(label, "rejected"))
            case "interrupt" | "rollback":
                state = tuple(Entry(entry.label, self._stopped(entry.phase, strategy)) for entry in state)
            case "enqueue":
                pass
            case _:
                raise ValueError(strategy)
        return self._started((*state, Entry(label, "queued")))

    @staticmethod
    def _stopped(phase: str, strategy: str) -> str:
        """Return the phase of an earlier run once a new one with this strategy starts. A rollback is final."""
        match phase, strategy:
            case "queued", "interrupt":
                return "interrupted"
            case "queued", _:
                return "gone"
            case (("active" | "stopping"), "interrupt"):
                return "stopping"
            case (("active" | "stopping" | "erasing"), _):
                return "erasing"
            case _:
                return phase

    @staticmethod
    def _started(state: Any) -> Any:
        """The first one that waits becomes active where none is."""
        if any(entry.phase in ENDS for entry in state):
            return state
        for n, entry in enumerate(state):
            if entry.phase == "queued":
                return (*state[:n], Entry(entry.label, "active"), *state[n + 1 :])
        return state

    @staticmethod
    def _shown(state: Any) -> Hashable:
        return tuple(
            (entry.label, OPEN if entry.phase in IN_FLIGHT else entry.phase)
            for entry in state
            if entry.phase not in ("gone", "rejected")
        )


MODELS = {"made": Made(), "store": Register(), "question": Question(), "queue": Queue()}
