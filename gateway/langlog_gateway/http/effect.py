"""Whether the request that a task serves may have changed something.

A server that fails before the request has appended a command is 503: nothing was changed. One that fails afterwards, when the result
of the command is read, is 504. `errors.unavailable` chooses.
"""

from __future__ import annotations

from contextvars import ContextVar


class _Effect:
    """Of one request; tasks that serve it share it."""

    __slots__ = ("possible",)

    def __init__(self) -> None:
        self.possible = False


_effect: ContextVar[_Effect | None] = ContextVar("langlog_effect", default=None)


def begin() -> None:
    """Mark this task, and those that it starts, as serving a request that has changed nothing yet."""
    _effect.set(_Effect())


def possible() -> bool:
    """Return whether the request may have appended commands."""
    effect = _effect.get()
    return effect is not None and effect.possible


def starts_append() -> bool:
    """Note that the request may have changed something from now on. Return whether it may have before: for `append_refused`."""
    effect = _effect.get()
    if effect is None:
        return False
    before, effect.possible = effect.possible, True
    return before


def append_refused(*, before: bool) -> None:
    """Note that the log refused the records of an append, and nothing was changed. ``before``: of `starts_append`."""
    effect = _effect.get()
    if effect is not None:
        effect.possible = before
