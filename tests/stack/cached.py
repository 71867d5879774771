"""What tests make once and keep, under ``~/.cache/langlog``: one process at a time makes it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stack.node_package import CACHE


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Nobody else makes this part of the cache meanwhile."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
