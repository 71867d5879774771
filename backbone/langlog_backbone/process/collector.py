"""Python's garbage collector, set for servers: the default looks for cycles after every 700 new objects.

A request or a step of a graph makes thousands of objects and next to no cycles, so that a fifth of the CPU went into looking.
"""

from __future__ import annotations

import gc

YOUNG = 20_000
"""New objects between two looks at the young ones."""
OLDER = 20
"""Looks at a generation between two looks at the next older one."""


def tune_collector() -> None:
    """To be called when everything is imported: what is there now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
