"""Moves the clock of a process under test, and of its children, by the seconds in the file that LANGLOG_TEST_CLOCK names.

Python imports this by itself at start when this folder is in PYTHONPATH. The file is read each time the clock is, so a test steps
the clock of a running process by writing to it. The monotonic clock is not moved: setting a machine's clock does not move it either.
"""

import builtins
import datetime
import os
import sys
import time
from pathlib import Path

MOVED = Path(os.environ["LANGLOG_TEST_CLOCK"])
REAL = datetime.datetime
_time, _time_ns = time.time, time.time_ns
_import = builtins.__import__


def moved_s() -> float:
    return float(MOVED.read_text() or 0)


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, REAL)


class MovedDatetime(REAL, metaclass=_AnyDatetime):
    """Returns another time, as ordinary datetimes."""

    @classmethod
    def now(cls, tz=None):
        return REAL.now(tz) + datetime.timedelta(seconds=moved_s())

    @classmethod
    def utcnow(cls):
        return REAL.utcnow() + datetime.timedelta(seconds=moved_s())

    @classmethod
    def today(cls):
        return REAL.today() + datetime.timedelta(seconds=moved_s())


def _importing(name, globals=None, *args, **more):
    """Import the moved class into modules of langgraph only: msgspec accepts no other class than `datetime` as a time."""
    module = _import(name, globals, *args, **more)
    if f"{name} {(globals or {}).get('__package__')}".count("langgraph"):
        for known, loaded in list(sys.modules.items()):
            # None stands for a module that must not be imported; `getattr` would import what a module has only once it is asked for
            if known.startswith("langgraph") and loaded is not None and vars(loaded).get("datetime") is REAL:
                setattr(loaded, "datetime", MovedDatetime)  # noqa: B010
    return module


time.time = lambda: _time() + moved_s()
time.time_ns = lambda: _time_ns() + int(moved_s() * 1e9)
builtins.__import__ = _importing
