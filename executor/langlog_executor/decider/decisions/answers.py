"""Checks that the interrupts which a run answers are still open (wire contract §5.1 and §9.1). Pure.

    input.respond ──► `unanswerable`, when the run is made: an answer that is too late creates no run
    strict_resume ──► `refused`, when the run would start: the run fails, and the thread is unchanged

Of several answers one is accepted either way: commands and ends of runs of a thread have one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from langlog_schemas.aggregates.thread import INTERRUPT_CONSUMED, NO_INTERRUPTED_RUN, RunInFlight, ThreadState
from langlog_schemas.runs.errors import UNKNOWN_INTERRUPT, Refusal, RunError
from langlog_schemas.runs.resumes import by_id
from msgspec import Struct

STRICT = b'"strict_resume"'
"""Text in the kwargs of a strict run, searched before they are decoded, because few runs are strict."""
IDS_MAX = 1_000
"""Maximum number of ids in a refusal."""
NO_NAMES = "The resume map names no interrupt"
NO_OPEN_INTERRUPT = "No interrupt waits for an answer"
SEVERAL_OPEN_INTERRUPTS = (
    "When there are multiple pending interrupts, you must specify the interrupt id when resuming. "
    "Docs: https://docs.langchain.com/oss/python/langgraph/interrupts#handling-multiple-interrupts."
)


class Resuming(Struct):
    """Members that are read of a run's kwargs."""

    command: object = None
    config: object = None
    strict_resume: bool = False

    @property
    def answers(self) -> bool:
        return isinstance(self.command, dict) and self.command.get("resume") is not None

    @property
    def resume(self) -> Any:
        return self.command.get("resume") if isinstance(self.command, dict) else None

    @property
    def from_checkpoint(self) -> bool:
        """Whether the run starts from a checkpoint that it names: the worker checks what is open there."""
        configurable = self.config.get("configurable") if isinstance(self.config, dict) else None
        return isinstance(configurable, dict) and bool(configurable.get("checkpoint_id"))


_resuming = msgspec.json.Decoder(Resuming)


def unanswerable(state: ThreadState, answers: Sequence[str]) -> tuple[int, str] | None:
    """Return why these interrupts cannot be answered: they are not open, or a run in flight answers them. None if they can."""
    if not state.open_interrupts:
        return 404, NO_INTERRUPTED_RUN
    taken: set[str] = set()
    for run in state.runs.values():
        resume = _resuming.decode(run.kwargs).resume
        if isinstance(resume, dict):
            taken.update(resume)
    left = set(state.open_interrupts) - taken
    for id in answers:
        if id not in left:
            return 409, INTERRUPT_CONSUMED.format(id)
    return None


def refused(state: ThreadState, run: RunInFlight) -> RunError | None:
    """Return why a strict run must not start on the thread's current state, or None; the rules are langgraph's.

    A single value without an open interrupt resumes a graph that has stopped at a breakpoint; on a finished thread it is refused.
    """
    if STRICT not in bytes(run.kwargs):
        return None
    kwargs = _resuming.decode(run.kwargs)
    if not kwargs.strict_resume or not kwargs.answers or kwargs.from_checkpoint:
        return None
    open_ids = list(state.open_interrupts[:IDS_MAX])
    answers = by_id(kwargs.resume)
    if answers is None:
        if len(state.open_interrupts) > 1:
            return RunError(UNKNOWN_INTERRUPT, SEVERAL_OPEN_INTERRUPTS, Refusal("ambiguous", [], open_ids))
        if not state.open_interrupts and state.status_when_idle == "idle":
            return RunError(UNKNOWN_INTERRUPT, NO_OPEN_INTERRUPT, Refusal("not_pending"))
        return None
    if not answers:
        return RunError(UNKNOWN_INTERRUPT, NO_NAMES, Refusal("empty_map", [], open_ids))
    unknown = sorted(answers.keys() - set(state.open_interrupts))
    if not unknown:
        return None
    return RunError(
        UNKNOWN_INTERRUPT, INTERRUPT_CONSUMED.format(unknown[0]), Refusal("not_pending", unknown[:IDS_MAX], open_ids)
    )


def answered_ids(run: RunInFlight) -> list[str]:
    """Return the interrupts that the run answers by id."""
    return list(by_id(_resuming.decode(run.kwargs).resume) or ())
