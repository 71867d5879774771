"""Files that tests create once, under ``~/.cache/langlog``: one process at a time creates them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stack.node_package import CACHE


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Lock this part of the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
