"""Errors of runs as clients see them, and reasons for which an answer is refused."""

from __future__ import annotations

from typing import Literal

import msgspec

UNKNOWN_INTERRUPT = "UnknownInterruptError"
"""Class of the error of a refused answer, as clients see it; the name is langgraph's."""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer without an open interrupt, in a run with ``strict_resume``. The thread is as it was.

    ``not_pending``: the answer names interrupts that are not open, ``interrupt_ids``. ``empty_map``: it names none. ``ambiguous``: it is
    one value, and several interrupts are open. ``pending_ids``: the open ones.
    """

    reason: Literal["not_pending", "empty_map", "ambiguous"]
    interrupt_ids: list[str] = []
    pending_ids: list[str] = []


class RunError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The error of a run as clients see it: the exception's class and its message."""

    error: str
    message: str = ""
    refusal: Refusal | None = None
    """The run was refused before it did anything."""
