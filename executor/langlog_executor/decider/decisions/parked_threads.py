"""Deciding about the removal of a thread whose key is parked: ``(known state, command, meta) -> events``, pure.

Waiting commands and events are neither decided nor folded: they are removed with the thread. The changes they would have
made are therefore unknown here. The caller's filter is compared with the known state of the thread, and a thread without a
known state is removed only for a caller without a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import CommandMeta
from msgspec.structs import replace

from .access import thread_refusal
from .threads import THREAD_MISSING, expire_thread

Removal = cmd.DeleteThread | cmd.ExpireThread


def decide_removal(
    known: Sequence[ThreadState], command: Removal, meta: CommandMeta, newest: datetime | None
) -> list[ev.AnyEvent]:
    """Return `events.ThreadDeleted`, a rejection, or no event if the thread is not due to expire.

    ``known``: the thread as the decider has it and as the read model has it. ``newest``: the time of the last record that waits; the
    thread's TTL counts from there.
    """
    there = [state for state in known if state.exists]
    if isinstance(command, cmd.ExpireThread):
        if not there or not all(_due(state, meta, newest) for state in there):
            return []
    else:
        if not there and command.visible:
            return [_rejected(command, 404, THREAD_MISSING.format(command.thread_id))]
        for state in there:
            refusal = thread_refusal(state, command)
            if refusal is not None:
                return [_rejected(command, *refusal)]
    held: dict[str, int] = {}
    for state in there:
        for run in state.runs.values():
            held[run.run_id] = max(run.attempt, held.get(run.run_id, 0))
    active = [(run_id, attempt) for run_id, attempt in held.items() if attempt]
    return [ev.ThreadDeleted(thread_id=command.thread_id, active=active)]


def _due(state: ThreadState, meta: CommandMeta, newest: datetime | None) -> bool:
    if newest is not None and newest > datetime.fromisoformat(state.updated_at):
        state = replace(state, updated_at=newest.isoformat())
    return any(isinstance(event, ev.ThreadDeleted) for event in expire_thread(state, meta))


def _rejected(command: Removal, status: int, detail: str) -> ev.CommandRejected:
    return ev.CommandRejected(aggregate_id=command.thread_id, status=status, detail=detail)
