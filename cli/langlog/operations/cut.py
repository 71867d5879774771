"""``langlog log cut``: deletes the front of the log and replaces it by a snapshot. See ``docs/how-to/retention.md``.

Works beside a running langlog, or on an unused data folder.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from langlog_backbone.time.sources import machine_now

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings
    from langlog_projector.rebuild.retention import Plan

CONFIRMED_BELOW = timedelta(days=1)
"""Minimum remaining time of a cut without a prompt: ``90m`` may have meant months."""


@click.command()
@click.option("--before", type=options.Moment(past=True), required=True, help=f"Where to cut. {options.TIME}.")
@click.option("--dry", is_flag=True, help="Only print what would be cut.")
@click.option("--yes", is_flag=True, help="Cut without confirmation, even all but the last day.")
@click.option(
    "--ignore-group",
    "ignored",
    multiple=True,
    help="A consumer group whose position does not limit the cut; may be repeated.",
)
@options.data_dir
def cut(before: datetime, *, dry: bool, yes: bool, ignored: tuple[str, ...], data_dir: Path | None) -> None:
    """Cut the log before a time. Threads, runs, their state and all other objects stay unchanged.

    The cut part is folded into a snapshot, stored in the log. It is cut only after a read model made from the snapshot and the rest
    was found to equal the live one, row by row; else every difference is printed (exit code 1). Records that a group of readers has not
    handled stay. The events themselves are lost: audit, replay and time travel begin after the cut.

    A time less than a day ago needs a confirmation, on a terminal or by --yes.

    Uses LOG_URI and DATABASE_URI, or the data folder of langlog dev, running or not. Services may run meanwhile.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    left = machine_now() - before
    if left < CONFIRMED_BELOW and not dry:
        what = f"cuts all but the last {_span(left)} of the log, before {before.isoformat(timespec='seconds')}"
        if not options.confirmed(f"This {what}. Cut?", yes=yes, what=f"langlog log cut {what}"):
            click.echo("Nothing was cut.", err=True)
            raise SystemExit(1)
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_cut(settings, before, dry=dry, ignored=ignored))


def _span(time: timedelta) -> str:
    """Return a duration for people, in the largest unit of which there are two."""
    seconds = int(time.total_seconds())
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


async def _cut(settings: Settings, before: datetime, *, dry: bool, ignored: tuple[str, ...]) -> int:
    from langlog_projector.rebuild import retention
    from langlog_projector.rebuild.rebuild import RebuildError

    from ..progress import shown_progress
    from ..whereabouts import log_and_read_model
    from .rebuild import print_comparison

    async with log_and_read_model(settings) as (reached, log):
        try:
            if dry:
                _print_plan(await retention.plan(log, reached, before, ignored), before, "would be cut")
                return 0
            size = _size(reached)
            with shown_progress("folding") as progress:
                done = await retention.cut(log, reached, before, progress, ignored)
        except RebuildError as error:
            click.echo(f"langlog: {error}", err=True)
            return 1
        if done.comparison is None:
            _print_plan(done.plan, before, "are to be cut")
            return 0
        same = print_comparison(done.comparison)
        if not done.done:
            click.echo(
                "Nothing was cut, because the read model differs from the log: see `langlog verify` and `langlog rebuild`."
            )
            return 1
        _print_plan(done.plan, before, "were cut")
        click.echo(f"Replaced by a snapshot ({done.rows:,} rows, {done.snapshot_records:,} records).")
        if size is not None:
            click.echo(f"The log's file had {size / 1e6:,.1f} MB, now {(_size(reached) or 0) / 1e6:,.1f} MB.")
        return 0 if same else 1


def _print_plan(plan: Plan, before: datetime, what: str) -> None:
    total = sum(end - plan.starts[partition] for partition, end in plan.ends.items())
    share = f"{100 * plan.records / total:.0f} %" if total else "all"
    click.echo(
        f"Before {before.isoformat(timespec='seconds')}: {plan.records:,} of {total:,} records ({share}) {what}."
    )
    for topic in dict.fromkeys(topic for topic, _ in plan.cuts):
        partitions = [partition for partition in plan.cuts if partition[0] == topic]
        gone = sum(plan.cuts[partition] - plan.starts[partition] for partition in partitions)
        if gone:
            click.echo(f"  {topic:<18} {gone:>12,} of {sum(plan.ends[x] - plan.starts[x] for x in partitions):,}")
    for name in sorted({name for names in plan.holders.values() for name in names}):
        held = [f"{topic}/{part}" for (topic, part), names in plan.holders.items() if name in names]
        shown = ", ".join(held[:4]) + (f" and {len(held) - 4} more" if len(held) > 4 else "")
        click.echo(f"  less than requested, because {name} has not read further: {shown}")


def _size(settings: Settings) -> int | None:
    """Return the size of the embedded log's file in bytes; None on Kafka."""
    if not settings.log_uri.startswith("sqlite:///"):
        return None
    path = Path(settings.log_uri.removeprefix("sqlite://"))
    files = [path, path.with_name(path.name + "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())
