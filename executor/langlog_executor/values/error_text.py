"""Texts of exceptions for reports, for any exception: its class may have any name, and its methods may raise.

Exceptions come from graphs. Reading one calls code of the graph's, so each call is guarded against everything that it can raise.
Pure, but for that code.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from langlog_backbone.project.imports import MODULE_PREFIX
from langlog_backbone.values.lone_surrogates import encodable
from langlog_schemas.commands import RunError

from ..runtime.io_loop import came_from_io
from .expansion import expands
from .redaction import shown

MESSAGE_LIMIT = 4_000
"""Maximum length of an exception's message, in characters."""
TRACEBACK_CHARACTERS_MAX = 100_000
"""Maximum length of a logged traceback, in characters; its end is kept, which names the exception."""
FRAMES_MAX = 1_000
"""Maximum number of frames of a logged traceback, of which the innermost are kept. Describing one takes far longer than walking over it."""
NAME_LIMIT = 200
"""Maximum length of the name of an exception's class, in characters."""
OTHER_LOOP = ("bound to a different event loop", "attached to a different loop", "Event loop is closed")
"""Parts of asyncio's messages about an object that is used on another event loop than its own."""
CAUSES_MAX = 20
"""Maximum number of exceptions that are followed from one to what it was raised from."""
INTERNAL_ERROR = "An internal error occurred"
TOO_LARGE = "the exception holds a value that is too large to be shown as text: raise it with a short text in place of the value"
LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
"""Folders of third-party code."""
_OURS = "langlog_"
"""Prefix of modules whose exceptions are about the server, not about the graph: clients get their class, the log their
text. A class of ours with ``for_clients = True`` is about what the graph did, and clients get its text."""
_DRIVERS = frozenset({"asyncpg", "redis", "aiokafka"})
"""Such modules for exceptions from the I/O loop; a graph may use these libraries itself."""


def described(error: BaseException) -> RunError:
    """Return class and message of an exception, without credentials and without the server's own affairs. Never raises."""
    error = _innermost(error)
    name = class_name(error)
    if _is_internal(error):
        return RunError(error=name, message=INTERNAL_ERROR)
    return RunError(error=name, message=shown(text_of(error), MESSAGE_LIMIT))


def of_another_loop(error: BaseException) -> bool:
    """Return whether the exception, or one that it was raised from, says that an object belongs to another event loop. Never raises."""
    seen: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if seen is None:
            return False
        if isinstance(seen, RuntimeError) and any(words in text_of(seen) for words in OTHER_LOOP):
            return True
        seen = BaseException.__dict__["__cause__"].__get__(seen) or BaseException.__dict__["__context__"].__get__(seen)
    return False


def _is_internal(error: BaseException) -> bool:
    module = _module(error)
    if module.startswith(MODULE_PREFIX):  # a file of the project
        return False
    package = module.partition(".")[0]
    if package.startswith(_OURS):
        return not getattr(type(error), "for_clients", False)
    return package in _DRIVERS and came_from_io(error)


def traceback_of(error: BaseException) -> str:
    """Return the traceback for the log: the frames of the project's own code, then all frames.

    Formatting it calls the exception's own methods. Never raises.
    """
    try:
        own = "".join(traceback.format_list(_project_frames(error)))
        if any(map(expands, in_its_traceback(error))):
            frames = traceback.extract_tb(error.__traceback__, limit=-FRAMES_MAX)
            lines = [*traceback.format_list(frames), f"{class_name(error)}: {TOO_LARGE}"]
        else:
            lines = traceback.format_exception(error, limit=-FRAMES_MAX)
        whole = "".join(lines)[-TRACEBACK_CHARACTERS_MAX:]
        return encodable(f"In the project:\n{own[-TRACEBACK_CHARACTERS_MAX:]}{whole}" if own else whole)
    except BaseException as raised:
        return f"{class_name(error)}, whose traceback cannot be formatted: {class_name(raised)}"


def _project_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames that are neither langlog's nor a library's. An exception from deep in a library keeps the line that called it."""
    frames: deque[tuple[str, int, str]] = deque(maxlen=FRAMES_MAX)
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        name = str(frame.f_globals.get("__name__", ""))
        ours = name.startswith(_OURS) and not name.startswith(MODULE_PREFIX)
        if not ours and not file.startswith(("<", *LIBRARIES)):
            frames.append((file, line, frame.f_code.co_name))
    return [traceback.FrameSummary(*frame) for frame in frames]


def in_its_traceback(error: BaseException) -> list[BaseException]:
    """Return the exceptions whose texts are part of its traceback: itself, what it was raised from, and the members of groups."""
    known: dict[int, BaseException] = {id(error): error}
    waiting = [error]
    while waiting:
        one = waiting.pop()
        base = BaseException.__dict__
        near = [base["__cause__"].__get__(one), base["__context__"].__get__(one)]
        if isinstance(one, BaseExceptionGroup):
            near += one.exceptions
        for other in near:
            if isinstance(other, BaseException) and id(other) not in known:
                known[id(other)] = other
                waiting.append(other)
    return list(known.values())


def text_of(value: Any) -> str:
    """Return `str` of any value; empty if that raises; `TOO_LARGE` for an exception that holds such a value."""
    if expands(value):
        return TOO_LARGE if isinstance(value, BaseException) else ""
    return _text(str, value) or ""


def written(value: Any) -> str:
    """Return `repr` of any value; the name of its class if that raises, or if the value is too large to be shown."""
    if expands(value):
        return f"{class_name(value)}({TOO_LARGE!r})" if isinstance(value, BaseException) else f"<{class_name(value)}>"
    text = _text(repr, value)
    return f"<{class_name(value)}>" if text is None else text


def class_name(value: Any) -> str:
    """Return the name of the value's class, without lone surrogates."""
    name: str = type.__dict__["__name__"].__get__(type(value))  # a metaclass may have a member of this name
    return encodable(name[:NAME_LIMIT])


def _text(function: Callable[[Any], str], value: Any) -> str | None:
    try:
        return "".join((function(value),))  # a subclass of str becomes a str
    except BaseException:  # SystemExit as well: it would end the loop that other runs share
        return None


def _module(value: Any) -> str:
    module = type(value).__dict__.get("__module__")
    return module if isinstance(module, str) else ""


def _innermost(error: BaseException) -> BaseException:
    """Return the only exception of a group, also of nested groups."""
    try:
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
    except BaseException:
        return error
    return error
