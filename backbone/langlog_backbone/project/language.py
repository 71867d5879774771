"""Which language an object of the project is written in: the end of its file's name says so.

Python objects are loaded into langlog's own processes; JavaScript and TypeScript objects into a process of Node beside them.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

Language = Literal["python", "javascript"]
"""``javascript`` is TypeScript too: both run in the same process."""

JAVASCRIPT = frozenset({".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"})
"""Ends of the names of files that Node executes."""


def language_of(source: str) -> Language:
    """The language of a path inside the project or of a dotted module: the ``./src/agent.ts`` of ``./src/agent.ts:graph``."""
    return "javascript" if PurePath(source).suffix in JAVASCRIPT else "python"
