"""The machine's own clocks and chance, closed while a world runs: code that uses them goes around `langlog_backbone.time.sources`.

Such a call fails, and it is a violation of its world whether or not the code that made it catches the failure. Modules that hold a function
itself (``from time import monotonic``) are not noticed here: `tests/packaging/test_sources.py` reads langlog's sources for them.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from prometheus_client import metrics

CLOSED = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")),
    (os, ("urandom",)),
    (uuid, ("uuid1", "uuid4")),
    (random, ("random", "randint", "randrange", "choice", "uniform", "getrandbits", "shuffle")),
    (secrets, ("token_bytes", "token_hex")),
)
"""(module, its functions)"""


@contextmanager
def closed(violate: Callable[[str], None], clock: Callable[[], float]) -> Iterator[None]:
    """Report each call of this thread by ``violate`` and fail it. ``clock``: seconds; prometheus-client dates new metrics by it."""
    thread = threading.get_ident()

    def refused(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any, **options: Any) -> Any:
            if threading.get_ident() != thread:
                return original(*args, **options)
            text = f"{name} goes around langlog_backbone.time.sources"
            violate(f"{text}: {''.join(traceback.format_stack(limit=6))}")
            raise AssertionError(text)

        return refuse

    with ExitStack() as stack:
        for module, names in CLOSED:
            for name in names:
                function = refused(f"{module.__name__}.{name}", getattr(module, name))
                stack.enter_context(patch.object(module, name, function))
        # the first sample of a label is dated, whichever world of the process happens to draw it: no figure of a world depends on it
        stack.enter_context(patch.object(metrics, "time", SimpleNamespace(time=clock)))
        yield
