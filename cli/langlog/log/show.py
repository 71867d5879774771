"""``langlog log show RUN_ID``: the events of a run, line by line. Reads the log and, for its index, Postgres; changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options
from ..ids import as_uuid, other_kind

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.history.thread_history import RecordedEvent
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings


@click.command(short_help="Show a run as a timeline, event by event.")
@click.argument("run_id")
@options.thread_of_run
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API shows it.")
@click.option("--scan", is_flag=True, help="Without Postgres: find the run by reading the log.")
@options.data_dir
def show(run_id: str, thread_id: str | None, *, as_json: bool, scan: bool, data_dir: Path | None) -> None:
    """Show a run as a timeline: queued, dispatched, each checkpoint and what it changed, interrupts, retries, the end, webhooks.

    On a terminal each line is placed on a time axis, and long gaps are marked. In pipes the lines are plain.

    A deleted run (stateless, or its thread deleted) is found by scanning the log, which takes longer.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    run_id = as_uuid(run_id, "RUN_ID")
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_show(settings, run_id, thread_id and as_uuid(thread_id, "--thread"), as_json=as_json, scan=scan))


async def _show(settings: Settings, run_id: str, thread_id: str | None, *, as_json: bool, scan: bool) -> int:
    from langlog_backbone.postgres.database import connect_pool

    from ..whereabouts import log_alone, log_and_read_model

    if scan:
        async with log_alone(settings) as log:
            return await _print_run(log, None, run_id, thread_id, as_json=as_json)
    async with log_and_read_model(settings) as (reached, log):
        pool = await connect_pool(reached, size=1)
        try:
            return await _print_run(log, pool, run_id, thread_id, as_json=as_json)
        finally:
            await pool.close()


async def _print_run(log: Log, pool: asyncpg.Pool | None, run_id: str, thread_id: str | None, *, as_json: bool) -> int:
    import msgspec
    from langlog_backbone.history.event_view import causes, event_view
    from langlog_backbone.history.thread_history import each_step
    from langlog_schemas import commands as cmd

    from .histories import history_reader
    from .timeline import title

    other = [] if pool is None else await other_kind(pool, run_id, "run")
    history = (
        None if other else await history_reader(log, pool).of_run(run_id, thread_id)
    )  # a scan would find no run of that id
    if history is None:
        click.echo(
            f"langlog: there is no run {run_id} in the log: check the id, and that --data-dir or LOG_URI name its log",
            err=True,
        )
        for line in other:
            click.echo(line, err=True)
        return 1
    if not as_json:
        click.echo(title(history.entries, run_id, history.thread_id))
        _print_timeline(each_step(history.entries))
        return 0
    partition = log.partition_of(history.thread_id)
    decided = causes([recorded.record for recorded in history.entries])
    commands = {r.offset: r for r in await log.fetch(cmd.TOPIC, partition, {c.offset for c in decided.values()})}
    for recorded in history.entries:
        cause = decided.get(recorded.record.offset)
        command = None if cause is None else commands.get(cause.offset)
        click.echo(msgspec.json.encode(event_view(recorded.record, recorded.run_id, cause, command)))
    return 0


def _print_timeline(entries: Sequence[RecordedEvent]) -> None:
    """Print one line per event; on a terminal beside an axis, with long gaps marked. Plain in pipes and with NO_COLOR."""
    from .timeline import AXIS_WIDTH, bars, gaps, style_of, timeline

    shown = sys.stdout.isatty()
    axis, named = (bars(entries), gaps(entries)) if shown else ([], {})
    for index, (recorded, line) in enumerate(zip(entries, timeline(entries), strict=True)):
        if index in named:
            click.echo(click.style(f"{' ' * AXIS_WIDTH} ╌ {named[index]}", fg="cyan"))
        bar = f"{axis[index]} " if shown else ""
        click.echo(f"{click.style(bar, dim=True)}{click.style(line, **style_of(recorded))}")
