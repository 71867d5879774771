"""The measures by name, and the servers of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bench.driver.load import Result, Server
from bench.scenarios.encrypted import encryption
from bench.scenarios.growth import growth
from bench.scenarios.machine import consoles, idle, memory
from bench.scenarios.mixed import mixed
from bench.scenarios.rebuilding import rebuild
from bench.scenarios.runs import (
    background,
    long_thread,
    old_thread,
    one_thread,
    supersteps,
    thread_and_run,
    wait_stateless,
    waiting_runs,
)
from bench.scenarios.sockets import sockets
from bench.scenarios.store import store
from bench.scenarios.stored import holding, thread_search
from bench.scenarios.streams import first_frame, frame_delay, readers, streams_64
from bench.scenarios.threads import Filling, create_thread, state_and_history
from bench.scenarios.vectors import vectors

Measure = Callable[[Server], Awaitable[list[Result]]]
OnTwo = Callable[[Filling, Server, Server], Awaitable[list[Result]]]

ON_ONE: dict[str, Measure] = {
    "create-thread": create_thread,
    "wait": wait_stateless,
    "thread-and-run": thread_and_run,
    "waiting-runs": waiting_runs,
    "first-frame": first_frame,
    "frame-delay": frame_delay,
    "streams": streams_64,
    "readers": readers,
    "sockets": sockets,
    "background": background,
    "one-thread": one_thread,
    "supersteps": supersteps,
    "state": state_and_history,
    "long-thread": long_thread,
    "old-thread": old_thread,
    "store": store,
    "mixed": mixed,
    "idle": idle,
    "consoles": consoles,
}
"""On one server with the benchmark's project."""

ON_TWO: dict[str, OnTwo] = {
    "thread-search": thread_search,
    "holding": holding,
}
"""On two of them: one that is filled, one that stays empty."""

ON_EXAMPLE: dict[str, Measure] = {"memory": memory}
"""On the example project."""

ON_INDEX: dict[str, Measure] = {"vectors": vectors}
"""On a project whose store is searched by meaning."""

ON_HISTORY: dict[str, Measure] = {"rebuild": rebuild}
"""On a server with a long log."""

ON_OWN: dict[str, Measure] = {"growth": growth}
"""On a server that nothing else is measured on."""

ON_SEALED: dict[str, Callable[[Server, Server], Awaitable[list[Result]]]] = {"encryption": encryption}
"""On two: one without encryption, one with it."""

NAMES = (*ON_ONE, *ON_TWO, *ON_EXAMPLE, *ON_INDEX, *ON_HISTORY, *ON_OWN, *ON_SEALED)
