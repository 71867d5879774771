"""Files that tests create once, under ``~/.cache/langlog``: one process at a time creates them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "langlog"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Lock this part of the cache. A process that locks the same part twice, one lock within the other, waits without end."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
