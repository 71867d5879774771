"""Whether the request that a task serves may have changed something.

A server that fails before the request has appended a command is 503: nothing was changed. One that fails afterwards, when the result
of the command is read, is 504. `errors.unavailable` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from langlog_backbone.log.port import AppendUnknown, LogUnavailable, RecordTooLarge


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


@contextmanager
def appending() -> Iterator[None]:
    """Around an append: from its beginning the request may have changed something, unless the log refuses the records."""
    effect = _effect.get()
    if effect is None:
        yield
        return
    before, effect.possible = effect.possible, True
    try:
        yield
    except AppendUnknown:
        raise
    except (LogUnavailable, RecordTooLarge):
        effect.possible = before
        raise
