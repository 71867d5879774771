"""Deciding of crons (wire contract §10): ``(state, command, meta) -> events``, pure. The next due time follows from the command's time.

Crons fire without a command: schedulers append the runs, with ids derived from cron and due time, then advance the cron.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from langlog_backbone.time.clock import iso
from langlog_backbone.time.schedule import Schedule
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates import cron as cron_aggregate
from langlog_schemas.aggregates.cron import CronState
from langlog_schemas.envelope import CommandMeta
from langlog_schemas.rules.filters import admits
from msgspec import UNSET
from msgspec.structs import replace

from .sizes import metadata_refusal

CRON_EXISTS = "Cron '{}' already exists"
CRON_MISSING = "Cron '{}' not found"
PATCHED = (
    "assistant_id",
    "schedule",
    "timezone",
    "end_time",
    "on_run_completed",
    "enabled",
    "user_id",
    "authority",
)
"""Members of a patch that replace those of the cron."""


def decide_cron(state: CronState, command: cmd.AnyCronCommand, meta: CommandMeta) -> list[ev.AnyEvent]:
    """Return the events of a command to a cron; empty if the command is stale."""
    id = state.cron_id
    # what is not the caller's is not there for him
    current = state.content if state.content is None or admits(command.visible, state.content.metadata) else None
    match command:
        case cmd.CreateCron():
            if state.content is not None:
                return [ev.CronRejected(cron_id=id, status=409, detail=CRON_EXISTS.format(id))]
            origin = command.provenance
            content = ev.CronContent(
                assistant_id=command.assistant_id,
                thread_id=command.thread_id,
                user_id=command.user_id,
                schedule=command.schedule,
                timezone=command.timezone,
                end_time=command.end_time,
                payload=command.payload,
                metadata=command.metadata,
                on_run_completed=command.on_run_completed,
                enabled=command.enabled,
                authority=command.authority,
                next_run_date=_next(command.schedule, command.timezone, meta),
                created_at=(origin and origin.created_at) or meta.time,
                updated_at=(origin and origin.updated_at) or meta.time,
            )
            return [ev.CronCreated(cron_id=id, content=content, provenance=origin)]
        case cmd.PatchCron():
            if current is None:
                return [ev.CronRejected(cron_id=id, status=404, detail=CRON_MISSING.format(id))]
            content = _patched(current, command, meta)
            refusal = metadata_refusal(current.metadata, content.metadata, command.metadata_limit)
            if refusal is not None:
                return [ev.CronRejected(cron_id=id, status=refusal[0], detail=refusal[1])]
            return [ev.CronChanged(cron_id=id, content=content)]
        case cmd.AdvanceCron():
            if current is None or current.next_run_date != command.due:
                return []
            return [ev.CronAdvanced(cron_id=id, next_run_date=command.next_run_date)]
        case cmd.DeleteCron():
            if current is None:
                return [ev.CronRejected(cron_id=id, status=404, detail="Not Found")]
            return [ev.CronDeleted(cron_id=id)]
        case _:
            assert_never(command)


def fold_cron(state: CronState, events: Sequence[ev.AnyEvent]) -> CronState:
    """Return the state after a command's events."""
    for event in events:
        state = cron_aggregate.evolve(state, event)
    return state


def _patched(current: ev.CronContent, command: cmd.PatchCron, meta: CommandMeta) -> ev.CronContent:
    given = {name: value for name in PATCHED if (value := getattr(command, name)) is not UNSET}
    metadata = {**current.metadata, **({} if command.metadata is UNSET else command.metadata)}
    payload = {**current.payload, **command.payload}
    changed = replace(current, payload=payload, metadata=metadata, updated_at=meta.time, **given)
    resumed = changed.enabled and not current.enabled
    if resumed or (changed.schedule, changed.timezone) != (current.schedule, current.timezone):
        # what was due while it was paused is not made up for
        return replace(changed, next_run_date=_next(changed.schedule, changed.timezone, meta))
    return changed


def _next(schedule: str, timezone: str | None, meta: CommandMeta) -> str:
    after = datetime.fromisoformat(meta.time)
    return iso(Schedule(schedule, timezone).after(after))
