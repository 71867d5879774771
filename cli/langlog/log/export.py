"""``langlog log export``: writes records as JSON lines, of one thread or a time range, complete with headers and body.

An interrupted export can continue: with ``--resume`` the file shows the exported position of each partition; a partial last
line is removed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import click

from .. import options
from ..ids import as_uuid, other_kind

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.log import Log, Positions, Record
    from langlog_backbone.process.settings import Settings


class Wanted(NamedTuple):
    """Selection of records to export."""

    thread_id: str | None
    keys: frozenset[str]
    types: tuple[str, ...]
    since: datetime | None
    until: datetime | None

    def has(self, record: Record) -> bool:
        if self.thread_id is not None and record.key != self.thread_id:
            return False
        from langlog_backbone.operation.record_view import record_matches

        return record_matches(record, self.keys, self.types, self.since, self.until)


@click.command(short_help="Write records as JSON lines.")
@click.option("--thread", "thread_id", help="Only this thread: its events and the commands that led to them.")
@options.keys
@options.since
@options.until
@options.types
@options.topics
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout.")
@click.option("--resume", is_flag=True, help="Continue an interrupted export to the same file.")
@options.data_dir
def export(
    thread_id: str | None,
    keys: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    types: tuple[str, ...],
    topics: tuple[str, ...],
    output: Path | None,
    *,
    resume: bool,
    data_dir: Path | None,
) -> None:
    """Write records as JSON lines: position, time, type, key, headers, body (bytes inside a body are base64).

    A thread that the read model knows is found by its index; everything else is read from the beginning, with a progress
    bar on a terminal.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    if resume and output is None:
        raise click.UsageError("--resume continues a file: name it with --output")
    if output is not None and output.exists() and not resume:
        raise click.UsageError(f"{output} exists: use --resume to continue it, or name another file")
    if thread_id is not None:
        thread_id = as_uuid(thread_id, "--thread")
        topics = topics or ("commands", "run-events")
    wanted = Wanted(thread_id, frozenset(keys), types, since, until)
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_export(settings, list(topics or options.TOPICS), wanted, output))


async def _export(settings: Settings, topics: list[str], wanted: Wanted, output: Path | None) -> int:
    from ..whereabouts import log_alone
    from .tail import json_line

    done: Positions = {}
    if output is not None:
        done = _written(output)
    count = 0
    with _opened(output) as file:
        async with log_alone(settings) as log:
            async for records in _records(settings, log, topics, wanted, done):
                for record in records:
                    if wanted.has(record):
                        file.write(json_line(record) + "\n")
                        count += 1
    if not count and wanted.thread_id is not None:
        await _print_head(settings, wanted.thread_id)
    if output is not None:
        click.echo(f"{count:,} records written to {output}", err=True)
    return 0


async def _print_head(settings: Settings, thread_id: str) -> None:
    """Explain an id that is the key of no record, if the read model knows it as another kind."""
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.process.service import StartError

    from ..whereabouts import log_and_read_model

    with contextlib.suppress(StartError):
        async with log_and_read_model(settings) as (reached, _):
            pool = await connect_pool(reached, size=1)
            try:
                for line in await other_kind(pool, thread_id, "thread"):
                    click.echo(line, err=True)
            finally:
                await pool.close()


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    with output.open("a", encoding="utf-8") as file:
        yield file


async def _records(
    settings: Settings, log: Log, topics: list[str], wanted: Wanted, done: Positions
) -> AsyncIterator[list[Record]]:
    """Yield the records: of a known thread by the index and the causes, else all records past the exported ones."""
    from langlog_backbone.history.thread_history import scan

    from ..progress import shown_progress

    if wanted.thread_id is not None and topics == ["commands", "run-events"]:
        indexed = await _of_thread(settings, log, wanted.thread_id)
        if indexed:
            yield [r for r in indexed if r.offset >= done.get((r.topic, r.partition), 0)]
            return
    async for records in scan(log, topics, wanted.thread_id, done, progress=shown_progress):
        yield records


async def _of_thread(settings: Settings, log: Log, thread_id: str) -> list[Record]:
    """Return commands and events of a thread by the index; empty when the read model does not know it, or is not there."""
    from langlog_backbone.history.event_view import causes
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.process.service import StartError
    from langlog_schemas import commands as cmd

    from ..whereabouts import log_and_read_model
    from .histories import history_reader

    try:
        async with log_and_read_model(settings) as (reached, _):
            pool: asyncpg.Pool = await connect_pool(reached, size=1)
            try:
                events = await history_reader(log, pool).of_thread_indexed(thread_id)
            finally:
                await pool.close()
    except StartError as error:
        click.echo(f"Scanning the log: {error}", err=True)
        return []
    offsets = {cause.offset for cause in causes(events).values()}
    commands = await log.fetch(cmd.TOPIC, log.partition_of(thread_id), offsets)
    return [*commands, *events]


def _written(output: Path) -> Positions:
    """Return the exported position of each partition; removes a partial last line."""
    import msgspec

    done: Positions = {}
    if not output.exists():
        return done
    whole = 0
    with output.open("rb") as file:
        for line in file:
            try:
                written = msgspec.json.decode(line)
                partition, offset = (written["topic"], written["partition"]), written["offset"]
            except (msgspec.MsgspecError, LookupError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            done[partition] = max(done.get(partition, 0), offset + 1)
    with output.open("r+b") as file:
        file.truncate(whole)
    return done
