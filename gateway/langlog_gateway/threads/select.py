"""``select`` on states (wire contract §4): the members of a response, and the keys of its values. Pure.

What is not selected is left out of the answer. ``values.<key>`` is one key of the values; a key that the state does not have is left out
as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..http.errors import unprocessable

MEMBERS = (
    "values",
    "next",
    "tasks",
    "metadata",
    "created_at",
    "checkpoint",
    "parent_checkpoint",
    "interrupts",
    "checkpoint_id",
    "parent_checkpoint_id",
)
OF_VALUES = "values."
CHARACTERS_MAX = 1_000
ENTRIES_MAX = 1_000


def checked(select: Sequence[str]) -> list[str]:
    """Return the names if all of them are valid. Raises ApiError 422."""
    if len(select) > ENTRIES_MAX or any(len(name) > CHARACTERS_MAX for name in select):
        raise unprocessable(f"select takes at most {ENTRIES_MAX} names of {CHARACTERS_MAX} characters")
    unknown = [name for name in select if name not in MEMBERS and not _names_a_key(name)]
    if unknown:
        expected = ", ".join((*MEMBERS, "values.<key>"))
        raise unprocessable(f"Invalid select columns: {unknown}. Expected: {expected}")
    return list(select)


def _names_a_key(name: str) -> bool:
    return name.startswith(OF_VALUES) and len(name) > len(OF_VALUES)
