"""Whether what a run answers is still asked (wire contract §5.1 and §9.1). Pure.

    input.respond ──► `unanswerable`, when the run is made: an answer that is too late makes no run
    strict_resume ──► `refused`, when the run would start: the run fails, and the thread is as it was

Of several answers one wins either way: commands and ends of runs of a thread have one order.
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
"""How kwargs of a strict run say so: looked for before they are read, because few are."""
IDS_MAX = 1_000
"""Ids that a refusal names."""
NO_NAMES = "The resume map names no interrupt"
NO_OPEN_INTERRUPT = "No interrupt waits for an answer"
SEVERAL_OPEN_INTERRUPTS = (
    "When there are multiple pending interrupts, you must specify the interrupt id when resuming. "
    "Docs: https://docs.langchain.com/oss/python/langgraph/interrupts#handling-multiple-interrupts."
)


class Resuming(Struct):
    """What is read of a run's kwargs."""

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
        """It goes on from a checkpoint that it names: what is open there the worker sees."""
        configurable = self.config.get("configurable") if isinstance(self.config, dict) else None
        return isinstance(configurable, dict) and bool(configurable.get("checkpoint_id"))


_resuming = msgspec.json.Decoder(Resuming)


def unanswerable(state: ThreadState, answers: Sequence[str]) -> tuple[int, str] | None:
    """Why these interrupts cannot be answered: not asked, or a run in flight answers them."""
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
    """Why a strict run that is about to start may not, with the thread as it is; the rules are langgraph's.

    One value where nothing is asked resumes a graph that has stopped at a breakpoint; on a thread that is done it answers nobody.
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
    """The interrupts that the run answers by id."""
    return list(by_id(_resuming.decode(run.kwargs).resume) or ())
