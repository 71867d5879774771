"""Problems of a project: `langlog validate` prints them, and `langlog build` refuses projects with errors."""

from __future__ import annotations

from typing import Literal

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """``error``: langlog does not start, or builds no image; ``warning``: probably not what was meant; ``note``: works otherwise here."""

    level: Literal["error", "warning", "note"]
    key: str
    """Dotted path in langgraph.json; empty: the file as a whole."""
    text: str
    """One line with the problem, its value, and the remedy."""
