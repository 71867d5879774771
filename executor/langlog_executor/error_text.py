"""What a report says of an exception, whatever the exception is: its class may have any name, and its methods may raise.

Exceptions come from graphs. Reading one calls code of the graph's, so each call is guarded against everything that it can raise.
Pure, but for that code.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from langlog_backbone.lone_surrogates import encodable
from langlog_schemas.commands import RunError

from .credentials import shown

MESSAGE_LIMIT = 4_000
"""Characters of an exception's message that are kept."""
TRACEBACK_CHARACTERS_MAX = 100_000
"""Characters of a traceback that are logged; the end is kept, which says what was raised."""
NAME_LIMIT = 200
"""Characters of the name of an exception's class that are kept."""
INTERNAL_ERROR = "An internal error occurred"
_INTERNAL = ("langlog_", "asyncpg", "redis", "aiokafka")
"""Modules whose exceptions are about the server, not about the graph: logged, and told to clients without their text."""


def described(error: BaseException) -> RunError:
    """Class and message of an exception, without credentials and without the server's own affairs. Never raises."""
    error = _innermost(error)
    name = class_name(error)
    if _module(error).partition(".")[0].startswith(_INTERNAL):
        return RunError(error=name, message=INTERNAL_ERROR)
    return RunError(error=name, message=shown(said(error), MESSAGE_LIMIT))


def traceback_of(error: BaseException) -> str:
    """The traceback for the log. Formatting it calls the exception's own methods. Never raises."""
    try:
        return encodable("".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS_MAX:])
    except BaseException as raised:
        return f"{class_name(error)}, whose traceback cannot be formatted: {class_name(raised)}"


def said(value: Any) -> str:
    """`str` of anything; empty where that raises."""
    return _text(str, value) or ""


def written(value: Any) -> str:
    """`repr` of anything; the name of its class where that raises."""
    found = _text(repr, value)
    return f"<{class_name(value)}>" if found is None else found


def class_name(value: Any) -> str:
    """The name of the value's class, without lone surrogates."""
    name: str = type.__dict__["__name__"].__get__(type(value))  # a metaclass may have a member of this name
    return encodable(name[:NAME_LIMIT])


def _text(function: Callable[[Any], str], value: Any) -> str | None:
    try:
        return "".join((function(value),))  # a subclass of str becomes a str
    except BaseException:  # SystemExit as well: it would end the loop that other runs share
        return None


def _module(value: Any) -> str:
    found = type(value).__dict__.get("__module__")
    return found if isinstance(found, str) else ""


def _innermost(error: BaseException) -> BaseException:
    """The only exception of a group, of groups in groups too."""
    try:
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
    except BaseException:
        return error
    return error
