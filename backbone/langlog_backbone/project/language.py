"""The language of an object of the project, by the suffix of its file's name.

Python objects are loaded into langlog's own processes; JavaScript and TypeScript objects into a process of Node beside them.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

Language = Literal["python", "javascript"]
"""``javascript`` includes TypeScript: both run in the same process."""

JAVASCRIPT = frozenset({".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"})
"""Suffixes of files that Node executes."""


def language_of(source: str) -> Language:
    """Return the language of a path inside the project or of a dotted module: the ``./src/agent.ts`` of ``./src/agent.ts:graph``."""
    return "javascript" if PurePath(source).suffix in JAVASCRIPT else "python"
