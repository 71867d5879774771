"""Notes the monotonic clock at hops of a run in every Python process of a server: see `bench.host_hops`. Notes are kept in memory and
written after a run's end, a line each, and at the end of the process.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_notes: list[str] = []
_file = Path(os.devnull)


def note(name: str) -> None:
    _notes.append(f"{time.monotonic_ns()} {name}\n")


def flush() -> None:
    notes = _notes[:]
    del _notes[: len(notes)]
    with _file.open("a") as file:
        file.writelines(notes)


def _wrap(
    owner: Any, name: str, before: str | None, after: str | None = None, *, then: Callable[[], None] | None = None
) -> None:
    wrapped = getattr(owner, name)

    def noted(each: str | None) -> None:
        if each is not None:
            note(each)

    if inspect.iscoroutinefunction(wrapped):

        @functools.wraps(wrapped)
        async def call(*args: Any, **kwargs: Any) -> Any:
            noted(before)
            try:
                return await wrapped(*args, **kwargs)
            finally:
                noted(after)
                if then is not None:
                    then()

    else:

        @functools.wraps(wrapped)
        def call(*args: Any, **kwargs: Any) -> Any:
            noted(before)
            try:
                return wrapped(*args, **kwargs)
            finally:
                noted(after)

    setattr(owner, name, call)


def _execution(module: Any) -> None:
    _wrap(module.RunExecution, "run", "worker: task taken", "worker: run over", then=flush)
    _wrap(module.RunExecution, "_watch", "worker: graph submitted", "worker: end seen")
    _wrap(module.RunExecution, "_report", None, "worker: report in the log")
    _wrap(module.GraphAttempt, "run", "graph loop: begun", "graph loop: ended")
    _wrap(module.HostedAttempt, "_run", "worker: attempt begun", "worker: attempt ended")


def _jobs(module: Any) -> None:
    _wrap(module.Job, "_ended", "worker: end decoded")


def _process(module: Any) -> None:
    _wrap(module._Life, "data_received", "worker: bytes received")  # noqa: SLF001 - ours
    sent = module._Life.send  # noqa: SLF001

    def send(self: Any, message: Any) -> None:
        sent(self, message)
        if isinstance(message, module_run()):
            note("worker: run sent")

    def module_run() -> Any:
        return sys.modules["langlog_executor.graph_host.protocol"].Run

    module._Life.send = send  # noqa: SLF001


WRAPPED: dict[str, Callable[[Any], None]] = {
    "langlog_executor.worker.run_execution": _execution,
    "langlog_executor.graph_host.jobs": _jobs,
    "langlog_executor.graph_host.process": _process,
}


def wrapped(folder: str) -> dict[str, Callable[[Any], None]]:
    """Return what notes the hops of a module, by the module's name, into a file of this process in the folder."""
    global _file
    _file = Path(folder) / f"{os.getpid()}.times"
    atexit.register(flush)
    return WRAPPED
