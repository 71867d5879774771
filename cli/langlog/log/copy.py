"""``langlog log copy``: copies a whole log into another one, at the same positions. See ``docs/how-to/kafka.md``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings


@click.command(short_help="Copy a log to Kafka, or from it.")
@click.option(
    "--from", "source", help="The log to copy: kafka://…, sqlite:///… or a data folder.  [LOG_URI, or the data folder]"
)
@click.option("--to", "target", required=True, help="Where to: kafka://…, sqlite:///… or a data folder.")
@click.option("--follow", is_flag=True, help="Copy beside a langlog that runs, and end once it has stopped.")
@click.option(
    "--keys-to",
    "keys_to",
    help="A Postgres (postgresql://…) that gets what is not in the log: keys of threads, credentials of runs under way, the secret.",
)
@click.option("--dry-run", is_flag=True, help="Compare what the target holds already, and print what would be copied.")
@click.option("--verify-only", is_flag=True, help="Only compare both logs, record by record.")
@options.data_dir
def copy(
    source: str | None,
    target: str,
    *,
    follow: bool,
    dry_run: bool,
    verify_only: bool,
    keys_to: str | None,
    data_dir: Path | None,
) -> None:
    """Copy a log into another one: same topics, partitions, offsets, keys, headers, times and bodies.

    Continues where an interrupted copy stopped, after comparing what is there already; refuses a target that holds something else.
    At the end all of the target is compared with the source. No service starts on a target whose copy is unfinished.

    What runs on the source must have stopped, or is followed (--follow) until it has. Encrypted records are copied as they are.
    Both logs have LANGLOG_PARTITIONS partitions and LANGLOG_TOPIC_PREFIX.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    if dry_run and verify_only:
        raise click.UsageError("--dry-run and --verify-only exclude each other")
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_copy(settings, source, target, follow=follow, dry_run=dry_run, verify_only=verify_only, keys_to=keys_to))


async def _copy(
    settings: Settings,
    source: str | None,
    target: str,
    *,
    follow: bool,
    dry_run: bool,
    verify_only: bool,
    keys_to: str | None,
) -> int:
    from langlog_backbone.log import LogFault, started_log
    from langlog_backbone.process.service import StartError
    from langlog_backbone.transfer.at_rest import at_rest, held
    from langlog_backbone.transfer.copying import compare, compare_prefix, copy
    from langlog_backbone.transfer.digests import Gap
    from langlog_backbone.transfer.targets import exists, opened_target, raw

    from ..progress import Phases
    from ..whereabouts import log_uri_of, with_log

    from_uri = with_log(settings).log_uri if source is None else log_uri_of(source)
    to_uri = log_uri_of(target)
    if from_uri == to_uri:
        raise StartError(f"{from_uri} cannot be copied into itself")
    there = await exists(settings, to_uri)
    if verify_only and not there:
        raise StartError(f"there is no log at {to_uri}")
    if source is not None and not await exists(settings, from_uri):
        raise StartError(f"there is no log at {from_uri}")
    if not to_uri.startswith("kafka://"):
        Path(to_uri.removeprefix("sqlite://")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        log = await stack.enter_async_context(started_log(raw(settings, from_uri)))
        settled = await stack.enter_async_context(at_rest(settings, from_uri, follow=follow))
        if not follow:
            await settled()
        if dry_run and not there:
            await _print_plan(log, from_uri, to_uri)
            return 0
        if not verify_only:
            await stack.enter_async_context(held(settings, to_uri))
        into = await stack.enter_async_context(opened_target(settings, to_uri))
        phases = stack.enter_context(Phases())
        try:
            if verify_only:
                records = await compare(log, into.log, phases.show)
                click.echo(f"Compared {records:,} records of {from_uri} and {to_uri}. No differences.")
                return 0
            if dry_run:
                present = await compare_prefix(log, into, phases.show)
                await _print_plan(log, from_uri, to_uri, present.records)
                return 0
            copied = await copy(log, into, phases.show, settled)
        except Gap as error:
            raise LogFault(str(error)) from None
        if keys_to is not None:
            await _copy_beside(settings, from_uri, to_uri, keys_to)
    before = f" {copied.before:,} records were there before." if copied.before else ""
    click.echo(f"Copied {copied.appended:,} records to {to_uri}.{before} Compared all of them: no differences.")
    return 0


async def _copy_beside(settings: Settings, from_uri: str, to_uri: str, keys_to: str) -> None:
    from langlog_backbone.transfer.beside import Writer, rows_beside
    from msgspec.structs import replace

    from ..whereabouts import postgres_of_folder

    locked = False
    if from_uri.startswith("sqlite://") and not settings.database_uri:
        settings = replace(settings, data_dir=Path(from_uri.removeprefix("sqlite://")).parent)
        locked = (settings.data_dir / "lock").exists()  # which `at_rest` holds
    async with postgres_of_folder(settings, locked=locked) as reached:
        source = replace(reached, log_uri=from_uri)
        async with Writer(replace(settings, log_uri=to_uri, database_uri=keys_to)) as writer:
            async for rows in rows_beside(source, secret=True):
                await writer.put(rows)
    click.echo(
        f"Copied {writer.keys:,} keys of threads, {writer.credentials:,} credentials of runs"
        + (
            " and the secret of the deployment."
            if writer.secret
            else ". LANGLOG_SECRET stays what it is."
            if settings.secret
            else "."
        )
    )


async def _print_plan(log: Log, from_uri: str, to_uri: str, present: int = 0) -> None:
    from langlog_backbone.transfer.reading import TOPICS_COPIED, count, ends_of, starts_of

    starts, ends = await starts_of(log), await ends_of(log)
    click.echo(f"{from_uri} holds {count(starts, ends):,} records in {log.partitions} partitions of each topic:")
    for topic in TOPICS_COPIED:
        of = {partition: end for partition, end in ends.items() if partition[0] == topic}
        cut = sum(start for partition, start in starts.items() if partition[0] == topic)
        click.echo(f"  {topic:<18}{count(starts, of):>12,}" + (f", after {cut:,} that were cut" if cut else ""))
    if present:
        click.echo(f"{to_uri} holds the first {present:,} of them.")
    click.echo(f"{count(starts, ends) - present:,} records would be copied to {to_uri}.")
