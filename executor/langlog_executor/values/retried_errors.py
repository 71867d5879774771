"""Exceptions that a node's `RetryPolicy` retries: langgraph writes each with its text into a line of the log, at any level of the log.

It does so on the loop that all runs share. A text that expands without bound (`expansion`) would hold that loop until the worker's memory
is used up. Pure, but for `guard`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from langgraph.pregel import _retry

from .error_text import TOO_LARGE, in_its_traceback, traceback_of
from .expansion import expands

DECISION = "_should_retry_on"
"""Name of the function in langgraph's module that decides whether an exception is retried."""


def guard() -> None:
    """Guard langgraph's decision on retries by `_bounded`, and the records of its logger. May be called again."""
    decide = getattr(_retry, DECISION, None)
    if decide is None or getattr(decide, "__wrapped__", None) is not None:
        return
    setattr(_retry, DECISION, _bounded(decide))
    logging.getLogger(_retry.__name__).addFilter(_with_bounded_traceback)


def _bounded(decide: Callable[[Any, Exception], bool]) -> Callable[[Any, Exception], bool]:
    @functools.wraps(decide)
    def decision(policy: Any, error: Exception) -> bool:
        """Return langgraph's decision. An exception that is too large to be written keeps `TOO_LARGE` as its text; one whose class
        makes a text of something else than its arguments is not retried."""
        if not decide(policy, error):
            return False
        if type(error).__str__ not in _OF_ARGUMENTS:
            return not expands(error)
        if expands(error.args):
            error.args = (TOO_LARGE,)
        return True

    return decision


_OF_ARGUMENTS = {BaseException.__str__, Exception.__str__, KeyError.__str__}
"""Ways to make a text of an exception's arguments alone."""


def _with_bounded_traceback(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and any(map(expands, in_its_traceback(error))):
        record.msg, record.args, record.exc_info = f"{record.getMessage()}\n{traceback_of(error)}", (), None
    return True
