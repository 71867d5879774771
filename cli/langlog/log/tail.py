"""``langlog log tail``: the log as it is written, through the same reader that services use. Reads only."""

from __future__ import annotations

import base64
import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from langlog_backbone.log import Log, Record
    from langlog_backbone.process.settings import Settings

TOPICS = (
    "commands",
    "run-events",
    "assistant-events",
    "cron-events",
    "store-events",
    "graph-events",
    "dead-letters",
    "snapshots",
)


@click.group()
def log() -> None:
    """Tools for the log."""


@log.command()
@click.option("--topic", "topics", multiple=True, type=click.Choice(TOPICS), help="Only this topic; may be repeated.")
@click.option("--key", "keys", multiple=True, help="Only this key (a thread id, an assistant id …); may be repeated.")
@click.option(
    "--type", "types", multiple=True, help="Only this type, such as run.succeeded or 'run.*'; may be repeated."
)
@click.option("--from-start", is_flag=True, help="Begin with the first record instead of the next one.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, or print all that is there and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with headers and body.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Of langlog dev.  [LANGLOG_DATA_DIR]")
def tail(
    topics: tuple[str, ...],
    keys: tuple[str, ...],
    types: tuple[str, ...],
    from_start: bool,
    follow: bool,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Print events as they arrive: position, time, type, key.

    Reads LOG_URI, or the embedded log of a data folder, also while langlog dev runs on it.
    """
    from langlog_backbone.process.logging import configure_logging
    from langlog_backbone.process.settings import read_settings

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    wanted = Wanted(frozenset(keys), types)
    run(_tail(settings, list(topics or TOPICS), wanted, from_start or not follow, follow, as_json))


class Wanted:
    """Which records are printed."""

    def __init__(self, keys: frozenset[str], types: tuple[str, ...]) -> None:
        self._keys = keys
        self._types = types

    def has(self, record: Record) -> bool:
        if self._keys and record.key not in self._keys:
            return False
        if not self._types:
            return True
        found = type_of(record)
        unversioned = found.rpartition(".v")[0]
        return any(fnmatch.fnmatchcase(found, x) or fnmatch.fnmatchcase(unversioned, x) for x in self._types)


def type_of(record: Record) -> str:
    from langlog_schemas import envelope

    return envelope.type_of(record.headers)


def line(record: Record) -> str:
    """A record for people."""
    where = f"{record.topic}/{record.partition}@{record.offset}"
    return f"{where:<24} {record.headers.get('ce_time', '-'):<32} {type_of(record):<28} {record.key}"


def json_line(record: Record) -> str:
    """A record for programs; bytes inside a body are base64."""
    import msgspec
    from langlog_schemas import envelope

    body: Any
    try:
        msgpack = record.headers.get("content-type") == envelope.MSGPACK_CONTENT
        body = (msgspec.msgpack if msgpack else msgspec.json).decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None if envelope.ERASED in record.headers else base64.b64encode(record.value).decode()
    found = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": record.headers.get("ce_time"),
        "type": type_of(record),
        "key": record.key,
        "headers": record.headers,
        "data": body,
    }
    return msgspec.json.encode(found).decode()


async def _tail(
    settings: Settings, topics: list[str], wanted: Wanted, from_start: bool, follow: bool, as_json: bool
) -> int:
    from ..whereabouts import log_alone

    async with log_alone(settings) as log:
        await _print(log, topics, wanted, from_start, follow, json_line if as_json else line)
    return 0


async def _print(log: Log, topics: list[str], wanted: Wanted, from_start: bool, follow: bool, render: Any) -> None:
    ends = {(topic, n): end for topic in topics for n, end in enumerate(await log.end_offsets(topic))}
    starts = {(topic, n): start for topic in topics for n, start in enumerate(await log.start_offsets(topic))}
    missing = {place for place, end in ends.items() if end > starts[place]}
    if not follow and not missing:
        return
    # an end of 0 is the beginning, and stays it
    reader = log.reader(topics, {} if from_start else ends)
    try:
        while follow or missing:
            for record in await reader.read():
                place = (record.topic, record.partition)
                if not follow and record.offset >= ends[place]:
                    continue
                if wanted.has(record):
                    click.echo(render(record))
                if record.offset + 1 >= ends[place]:
                    missing.discard(place)
    finally:
        await reader.stop()
