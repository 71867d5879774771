"""``langlog log tail``: the log as it is written, through the same reader that services use. Reads only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .. import options
from ..ids import as_uuid

if TYPE_CHECKING:
    from langlog_backbone.log import Log, Positions, Record
    from langlog_backbone.operation.record_view import RecordFilter
    from langlog_backbone.process.settings import Settings

NOW: Literal["now"] = "now"
Begin = datetime | Literal["now"] | None
"""Start: a time, the end of the log, or (None) its first record."""


@click.group()
def log() -> None:
    """Tools for the log."""


@log.command()
@options.topics
@options.keys
@click.option("--thread", "threads", multiple=True, help="Only this thread; may be repeated.")
@options.types
@options.since
@options.until
@click.option("--from-start", is_flag=True, help="Begin with the first record instead of the next one.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, or print all that is there and end.")
@options.as_json
@options.data_dir
def tail(
    topics: tuple[str, ...],
    keys: tuple[str, ...],
    threads: tuple[str, ...],
    types: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    *,
    from_start: bool,
    follow: bool,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Print events as they arrive: position, time, type, key. With --from, those since a time first.

    Reads LOG_URI, or the embedded log of a data folder, also while langlog dev runs on it.
    """
    from langlog_backbone.operation.record_view import RecordFilter
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    keys += tuple(as_uuid(text, "--thread") for text in threads)
    wanted = RecordFilter((), frozenset(keys), types, since, until)
    begin = since or (None if from_start or not follow else NOW)
    run(_tail(settings, list(topics or options.TOPICS), wanted, begin, follow=follow, as_json=as_json))


def type_of(record: Record) -> str:
    from langlog_schemas import envelope

    return envelope.type_of(record.headers)


def line(record: Record) -> str:
    """Return a record as a line for people."""
    where = f"{record.topic}/{record.partition}@{record.offset}"
    return f"{where:<24} {record.headers.get('ce_time', '-'):<32} {type_of(record):<28} {record.key}"


def json_line(record: Record) -> str:
    """Return a record as JSON; bytes inside a body are base64."""
    import msgspec
    from langlog_backbone.operation.record_view import body_of

    members = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": record.headers.get("ce_time"),
        "type": type_of(record),
        "key": record.key,
        "headers": record.headers,
        "data": body_of(record),
    }
    return msgspec.json.encode(members).decode()


async def _tail(
    settings: Settings, topics: list[str], wanted: RecordFilter, begin: Begin, *, follow: bool, as_json: bool
) -> int:
    from ..whereabouts import log_alone

    async with log_alone(settings) as log:
        await _print(log, topics, wanted, begin, follow=follow, render=json_line if as_json else line)
    return 0


async def _print(log: Log, topics: list[str], wanted: RecordFilter, begin: Begin, *, follow: bool, render: Any) -> None:
    ends = {(topic, n): end for topic in topics for n, end in enumerate(await log.end_offsets(topic))}
    begins = await _begins(log, topics, begin, ends)
    missing = {partition for partition, end in ends.items() if end > begins[partition]}
    if not follow and not missing:
        return
    # an end of 0 is the beginning, and stays it
    reader = log.reader(topics, begins)
    try:
        while follow or missing:
            for record in await reader.read():
                partition = (record.topic, record.partition)
                if not follow and record.offset >= ends[partition]:
                    continue
                if wanted.has(record):
                    click.echo(render(record))
                if record.offset + 1 >= ends[partition]:
                    missing.discard(partition)
    finally:
        await reader.stop()


async def _begins(log: Log, topics: list[str], begin: Begin, ends: Positions) -> Positions:
    """Return the first offset to read of each partition."""
    if begin == NOW:
        return ends
    starts = {(topic, n): start for topic in topics for n, start in enumerate(await log.start_offsets(topic))}
    if begin is None:
        return starts
    at = {(topic, n): offset for topic in topics for n, offset in enumerate(await log.offsets_at(topic, begin))}
    return {partition: max(start, at[partition]) for partition, start in starts.items()}
