"""Copies of interrupts in the payloads of langgraph's modes ``tasks``, ``checkpoints`` and ``debug``.

langgraph makes them by `dataclasses.asdict`, which has no references: it copies what two members share for each of them. It does so on
the loop that all runs share, before the saver can refuse the value, and in a callback, whose exceptions end no run. Pure, but for
`guard`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from langgraph.pregel import debug

from ..values import expansion

COPY = "asdict"
"""Name of the function in langgraph's module."""


def guard() -> None:
    """Replace langgraph's copying of interrupts by `_copied`. May be called again."""
    if getattr(debug, COPY, None) is dataclasses.asdict:
        setattr(debug, COPY, _copied)


def _copied(interrupt: Any) -> dict[str, Any]:
    """Return the members of an interrupt: copies where `dataclasses.asdict` makes them and they are small enough.

    Never raises: langgraph calls it in a callback, whose exceptions end no run. The saver refuses what cannot be stored.
    """
    if not expansion.expands(interrupt):
        with contextlib.suppress(Exception):  # RecursionError, and whatever a member's own methods raise
            return dataclasses.asdict(interrupt)
    return {field.name: getattr(interrupt, field.name) for field in dataclasses.fields(interrupt)}
