"""``langlog rebuild`` and ``langlog verify``: rebuild the read model from the log, and compare it with a rebuilt one.

Both work beside a running langlog, or on an unused data folder. See ``docs/how-to/rebuild.md``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..progress import shown_progress

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings
    from langlog_projector.rebuild.comparison import Comparison
    from langlog_projector.rebuild.swap import Report

NICE = 5
"""Niceness of the process: services have priority, and a quarter of a core is left for the rebuild if they need it too (nice(2))."""
VALUE_WIDTH = 200
"""Maximum number of characters of a shown value."""


@click.command(short_help="Rebuild the read model from the log and swap it in.")
@click.option(
    "--from-scratch",
    is_flag=True,
    help="Rebuild from the log alone, without comparison: for a read model of another or a newer log.",
)
@click.option("--fresh", is_flag=True, help="Start over instead of continuing an interrupted rebuild.")
@click.option("--accept-differences", is_flag=True, help="Swap also if the live read model differs from the new one.")
@click.option(
    "--rollback", is_flag=True, help="Swap back to the read model that the last swap kept, brought up to date."
)
@click.option("--drop-old", is_flag=True, help="Drop the read model that the last swap kept.")
@options.data_dir
def rebuild(
    *, from_scratch: bool, fresh: bool, accept_differences: bool, rollback: bool, drop_old: bool, data_dir: Path | None
) -> None:
    """Rebuild the read model from the log, beside the live one, and swap it in.

    Services may run meanwhile and need no restart. If it differs from the live read model, differences are printed, and it
    is not swapped in without --accept-differences (exit code 1). The former read model is kept for --rollback until
    --drop-old.

    A log that was restored from an older copy ends before the positions of the read model: services then refuse to start. Stop them
    and use --from-scratch.

    Uses LOG_URI and DATABASE_URI, or the data folder of langlog dev, running or not.
    """
    if rollback + drop_old + from_scratch + (fresh or accept_differences) > 1:
        raise click.UsageError("--from-scratch, --rollback and --drop-old go alone: give one of them")
    if from_scratch:
        _run(data_dir, _from_scratch, compared=False)
    elif drop_old:
        _run(data_dir, _drop_old, compared=False)
    elif rollback:
        _run(data_dir, _roll_back)
    else:
        _run(data_dir, lambda settings, log: _rebuild(settings, log, fresh=fresh, accept=accept_differences))


@click.command(short_help="Fold the log anew and compare it with the live read model.")
@options.data_dir
def verify(data_dir: Path | None) -> None:
    """Fold the whole log anew into a scratch schema and compare it with the live read model, row by row.

    Prints every difference. Exit code 1 if there is one. Changes nothing; services go on meanwhile.

    Uses LOG_URI and DATABASE_URI, or the data folder of langlog dev, running or not.
    """
    _run(data_dir, _verify)


def _run(data_dir: Path | None, work: Any, *, compared: bool = True) -> None:
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICE)
    run(_reach(settings, work, compared=compared))


async def _reach(settings: Settings, work: Any, *, compared: bool) -> int:
    from langlog_projector.rebuild.rebuild import RebuildError

    from ..whereabouts import log_and_read_model

    async with log_and_read_model(settings, compared=compared) as (reached, log):
        try:
            code: int = await work(reached, log)
        except RebuildError as error:
            click.echo(f"langlog: {error}", err=True)
            return 1
        return code


async def _verify(settings: Settings, log: Any) -> int:
    from langlog_projector.rebuild import swap

    with shown_progress("folding") as progress:
        report = await swap.verify(log, settings, progress)
    _print_folded(report)
    assert report.comparison is not None
    return 0 if print_comparison(report.comparison) else 1


async def _rebuild(settings: Settings, log: Any, *, fresh: bool, accept: bool) -> int:
    from langlog_projector.rebuild import swap

    with shown_progress(f"folding into {swap.new_schema(settings.projection)}") as progress:
        report = await swap.rebuild(log, settings, progress, lambda comparison: comparison.same or accept, fresh=fresh)
    _print_folded(report)
    if report.comparison is None:
        click.echo(f"There was no read model {settings.projection}: now there is.")
        return 0
    print_comparison(report.comparison)
    if not report.swapped:
        click.echo("Not swapped in: check the differences, and use --accept-differences if the new one is right.")
        return 1
    _print_swapped(settings)
    return 0


async def _from_scratch(settings: Settings, log: Any) -> int:
    from langlog_projector.rebuild import swap

    with shown_progress(f"folding into {swap.new_schema(settings.projection)}") as progress:
        report = await swap.rebuild_from_scratch(log, settings, progress)
    _print_folded(report)
    if report.comparison is not None:
        print_comparison(report.comparison)
    if report.kept:
        _print_swapped(settings)
    else:
        click.echo(f"There was no read model {settings.projection}: now there is.")
    return 0


async def _roll_back(settings: Settings, log: Any) -> int:
    from langlog_projector.rebuild import swap

    with shown_progress(f"bringing {swap.old_schema(settings.projection)} up to date") as progress:
        report = await swap.roll_back(log, settings, progress)
    _print_folded(report)
    _print_swapped(settings)
    return 0


async def _drop_old(settings: Settings, log: Any) -> int:
    from langlog_projector.rebuild import swap

    gone = await swap.drop_old(settings)
    click.echo(f"{swap.old_schema(settings.projection)} {'is dropped' if gone else 'does not exist'}.")
    return 0


def _print_folded(report: Report) -> None:
    click.echo(f"Folded {report.folded:,} records.")
    if report.refused:
        click.echo(f"{report.refused} of them cannot be folded, live or here: see `dead-letters`.")


def _print_swapped(settings: Settings) -> None:
    from langlog_projector.rebuild.swap import old_schema

    click.echo(
        f"Swapped: {settings.projection} is the new one. The one before is kept as {old_schema(settings.projection)} "
        "(--rollback, --drop-old)."
    )


def print_comparison(comparison: Comparison) -> bool:
    """Print the comparison; return whether both are equal."""
    from langlog_projector.rebuild.comparison import EXCLUDED

    rows = sum(comparison.tables.values())
    left_out = "; ".join(f"{what} ({why})" for what, why in EXCLUDED.items()) or "nothing"
    click.echo(f"Compared {rows:,} rows of {len(comparison.tables)} tables; left out: {left_out}.")
    for table, key, column, live, rebuilt in comparison.differences:
        click.echo(f"{table} {key} {column}\n    live    {_cut(live)}\n    rebuilt {_cut(rebuilt)}")
    click.echo("No differences." if comparison.same else f"{comparison.rows_differing:,} rows differ.")
    return comparison.same


def _cut(value: str | None) -> str:
    if value is None:
        return "(none)"
    return value if len(value) <= VALUE_WIDTH else f"{value[:VALUE_WIDTH]}… ({len(value):,} characters)"
