"""``langlog dead``: keys that are parked behind a record that cannot be handled, and how to get them going again.

What releasing does is `langlog_backbone.operation.parked_keys`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options
from .connected import read_model, read_model_and_log, run_with_settings

if TYPE_CHECKING:
    from langlog_backbone.operation.parked_keys import ParkedKeys
    from langlog_backbone.process.settings import Settings


@click.group(short_help="Records that could not be handled.")
def dead() -> None:
    """Records that could not be handled, and the keys that wait behind them."""


@dead.command("list", short_help="List the parked keys.")
@options.data_dir
def list_(data_dir: Path | None) -> None:
    """List the parked keys: number of waiting records, since when, and the error of the first."""
    run_with_settings(_list, data_dir)


@dead.command(short_help="Show every record of KEY that waits.")
@click.argument("key")
@options.as_json
@options.data_dir
def show(key: str, *, as_json: bool, data_dir: Path | None) -> None:
    """Show the waiting records of KEY, in the order in which they will be handled."""
    run_with_settings(_show, data_dir, key, as_json=as_json)


@dead.command(short_help="Handle the records of KEY again, in order.")
@click.argument("key")
@options.data_dir
def retry(key: str, data_dir: Path | None) -> None:
    """Handle the records of KEY again, in order, after the cause was fixed."""
    run_with_settings(_retry, data_dir, key)


@dead.command(short_help="Discard the first record of KEY for good.")
@click.argument("key")
@options.yes
@options.data_dir
def drop(key: str, *, yes: bool, data_dir: Path | None) -> None:
    """Permanently discard the first record of KEY, the one that failed, and process the others."""
    run_with_settings(_drop, data_dir, key, yes=yes)


async def _list(settings: Settings) -> int:
    from langlog_backbone.operation import parked_keys
    from langlog_backbone.process.activity import shown_in_line

    async with read_model(settings) as pool:
        parked = await parked_keys.keys(pool)
    for one in parked:
        since = one.since.isoformat(timespec="seconds")
        click.echo(
            f"{one.key}  {one.records} waiting since {since}  {one.first} {one.type or '?'}: "
            f"{shown_in_line(one.error or '')}"
        )
    if not parked:
        click.echo("Nothing is parked.")
    return 0


async def _show(settings: Settings, key: str, *, as_json: bool) -> int:
    import msgspec
    from langlog_backbone.operation import parked_keys
    from langlog_backbone.process.activity import shown_in_line

    parked = False
    async with read_model(settings) as pool:
        async for record in parked_keys.records_of(pool, key):
            parked = True
            if as_json:
                shown = {
                    "origin": record.origin,
                    "type": record.type,
                    "state": record.state,
                    "error": record.error,
                    "headers": record.headers,
                    "data": record.data,
                }
                click.echo(msgspec.json.encode(shown).decode())
            else:
                error = f"  {shown_in_line(record.error)}" if record.error else ""
                click.echo(
                    f"{record.origin:<26} {record.at.isoformat():<32} {record.type or '?':<28} {record.state:<6}{error}"
                )
    if not parked:
        click.echo(f"Nothing of {key} is parked.", err=True)
    return 0 if parked else 1


async def _retry(settings: Settings, key: str) -> int:
    async with operator(settings) as parked:
        if await parked.first(key) is None:
            click.echo(f"Nothing of {key} is parked.", err=True)
            return 1
        return await _released(parked, key, None)


async def _drop(settings: Settings, key: str, *, yes: bool) -> int:
    async with operator(settings) as parked:
        first = await parked.first(key)
        if first is None:
            click.echo(f"Nothing of {key} is parked.", err=True)
            return 1
        if first.state != "bad":
            click.echo(f"{first.origin} is not bad by itself: retry {key} first.", err=True)
            return 1
        what = f"discards {first.origin} ({first.type})"
        if not options.confirmed(
            f"Permanently discard {first.origin} ({first.type})?",
            yes=yes,
            what=f"langlog dead drop {what} permanently",
        ):
            return 1
        return await _released(parked, key, first.origin)


async def _released(parked: ParkedKeys, key: str, drop: str | None) -> int:
    from langlog_backbone.operation.parked_keys import NotReleased

    try:
        done = await parked.release(key, drop)
    except NotReleased as reason:
        click.echo(f"langlog: {reason}", err=True)
        return 1
    click.echo(f"Released {key}: {done} records processed.")
    return 0


@contextlib.asynccontextmanager
async def operator(settings: Settings) -> AsyncIterator[ParkedKeys]:
    """Yield an object that lists and releases parked keys, connected to all servers."""
    from langlog_backbone.operation.parked_keys import ParkedKeys
    from langlog_backbone.redis.client import Bus, RedisPipe

    from .why import existing

    settings = existing(settings)
    async with contextlib.AsyncExitStack() as stack:
        pool, log = await stack.enter_async_context(read_model_and_log(settings))
        pipe = RedisPipe(settings)
        stack.push_async_callback(pipe.stop)
        bus = Bus(pipe, settings)
        await bus.start()
        stack.push_async_callback(bus.stop)
        yield ParkedKeys(pool, log, bus)
