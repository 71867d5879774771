"""What a worker that retires tells its pool: which runs it still has, and what it waits for. Between `worker` and `workers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from langlog_schemas.messages import Task

REPORTED = 20
"""Runs that are named; the others are counted."""


class InFlight(msgspec.Struct, frozen=True):
    """A run that a worker waits for before it makes room for newer code."""

    run_id: str
    thread_id: str
    graph_id: str
    until: Literal["its next step", "its end"]

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.graph_id} (until {self.until})"


class Retiring(msgspec.Struct, frozen=True):
    """``runs``: the first `REPORTED` of ``count``."""

    runs: list[InFlight] = []
    count: int = 0


def moves(task: Task) -> bool:
    """Whether a run goes on in newer code from its next step on. One that was started again before does not: no reload starts a
    run again twice."""
    return task.attempt == 1


def retiring(tasks: Sequence[Task]) -> Retiring:
    """What a worker with these runs waits for."""
    runs = [
        InFlight(task.run_id, task.thread_id, task.graph_id, "its next step" if moves(task) else "its end")
        for task in tasks[:REPORTED]
    ]
    return Retiring(runs, len(tasks))


def together(found: Sequence[Retiring]) -> Retiring:
    """What several workers wait for."""
    runs = [run for one in found for run in one.runs]
    return Retiring(runs[:REPORTED], sum(one.count for one in found))
