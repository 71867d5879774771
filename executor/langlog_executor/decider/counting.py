"""Counts decisions: commands by outcome, and outcomes of runs.

Commands that a former owner of a partition decides a second time count twice; there are few of them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime

from langlog_backbone.metrics import table, tenants
from langlog_backbone.metrics.deferred import later
from langlog_backbone.metrics.families import Family, family
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.runs.ends import OUTCOME_OF

from .effects import Decided

OWN_ERRORS = frozenset(
    {
        "CancelledError",
        "GraphRecursionError",
        "InternalError",
        "ReportError",
        "StateTooLarge",
        "TimeoutError",
        "UserInterrupt",
        "WorkerLost",
    }
)
"""Classes of errors that are counted by name; all others come from the code of graphs, which may have any number of them."""
GRAPH = "graph"

_command = functools.cache(table.COMMANDS.labels)
_created = functools.cache(table.RUNS_CREATED.labels)
_dispatched = functools.cache(table.DISPATCHES.labels)
_ended = functools.cache(table.RUNS_ENDED.labels)
_took = functools.cache(table.RUN_SECONDS.labels)


async def runs_of_tenants() -> list[Family]:
    """A source of `langlog_backbone.metrics.exposition`."""
    return [family(table.TENANT_RUNS, tenants.RUNS.values())]


def count_dead_letters(count: int) -> None:
    """Count commands that could not be decided, or wait behind one."""
    table.DEAD_LETTERS.labels("decider").inc(count)


def count_command(command: cmd.Command, events: Sequence[ev.AnyEvent]) -> None:
    """Count a decided command."""
    match events[0] if events else None:
        case ev.CommandRejected() | ev.AssistantRejected() | ev.CronRejected():
            outcome = "rejected"
        case ev.CommandRepeated():
            outcome = "repeated"
        case None:
            outcome = "unchanged"
        case _:
            outcome = "accepted"
    later(_command(command.TYPE, outcome).inc)


def count_runs(decided: Sequence[Decided]) -> None:
    """Count the outcomes of runs. ``decided``: with events that are in the log."""
    for one in decided:
        if one.before is None:
            continue
        graph, created_at = "", ""
        for event in one.events:
            match event:
                case ev.RunCreated():
                    graph, created_at = event.graph_id, one.meta.time
                    later(_created(graph).inc)
                    if event.dispatched is not None:
                        later(_dispatched(graph, event.dispatched).inc)
                    if tenants.RUNS.limit:
                        tenants.RUNS.count(event.user_id)
                case ev.RunDispatched() | ev.RunEnded():
                    run = one.before.runs.get(event.run_id)
                    if run is not None:
                        graph, created_at = run.graph_id, run.created_at
                    if isinstance(event, ev.RunDispatched):
                        later(_dispatched(graph, event.reason).inc)
                    else:
                        later(_ended(graph, OUTCOME_OF[type(event)], cause_of(event)).inc)
                        if created_at:
                            took = datetime.fromisoformat(one.meta.time) - datetime.fromisoformat(created_at)
                            later(_took(graph).observe, max(0.0, took.total_seconds()))
                case _:
                    pass


def cause_of(event: ev.RunEnded) -> str:
    """Return the cause of a run's end as one of few words, or an empty text if it has no cause."""
    if event.error is not None:
        return event.error.error if event.error.error in OWN_ERRORS else GRAPH
    return "superseded" if event.superseded_by else ""
