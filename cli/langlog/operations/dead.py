"""``langlog dead``: keys that are parked behind a record that cannot be handled, and how to get them going again.

Looking reads Postgres. Releasing appends to the log what the operator wants (`commands.ReleaseParked`,
`events.ParkedEventsReleased`), and waits for decider and projector to have done it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings
    from langlog_backbone.redis.client import Bus
    from langlog_schemas.events import ParkedReleased

SOURCE = "/langlog/operator"
ANSWER_S = 30.0
"""A decider and a projector that have not answered by then are taken to be away."""


class NotReleased(Exception):
    """What is still in the way."""


@click.group(short_help="Records that could not be handled.")
def dead() -> None:
    """Records that could not be handled, and the keys that wait behind them."""


@dead.command("list", short_help="One line for each parked key.")
@options.data_dir
def list_(data_dir: Path | None) -> None:
    """One line for each parked key: how many records wait, since when, and what is wrong with the first."""
    _run(_list, data_dir)


@dead.command(short_help="Show every record of KEY that waits.")
@click.argument("key")
@options.as_json
@options.data_dir
def show(key: str, as_json: bool, data_dir: Path | None) -> None:
    """Every record of KEY that waits, in the order in which they will be handled."""
    _run(_show, data_dir, key, as_json)


@dead.command(short_help="Handle the records of KEY again, in order.")
@click.argument("key")
@options.data_dir
def retry(key: str, data_dir: Path | None) -> None:
    """Handle the records of KEY again, in order, after the cause is mended."""
    _run(_retry, data_dir, key)


@dead.command(short_help="Discard the first record of KEY for good.")
@click.argument("key")
@options.yes
@options.data_dir
def drop(key: str, yes: bool, data_dir: Path | None) -> None:
    """Permanently discard the first record of KEY, the one that failed, and process the others."""
    _run(_drop, data_dir, key, yes)


def _run(what: Any, data_dir: Path | None, *args: Any) -> None:
    from langlog_backbone.process.logging import configure_logging
    from langlog_backbone.process.settings import read_settings

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(what(settings, *args))


@contextlib.asynccontextmanager
async def _postgres(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    from langlog_backbone.postgres.database import connect_pool

    pool = await connect_pool(settings, size=1)
    try:
        yield pool
    finally:
        await pool.close()


def _sql() -> dict[str, str]:
    from langlog_backbone.postgres.database import load_sql

    return load_sql("langlog", "dead.sql")


async def _list(settings: Settings) -> int:
    from langlog_backbone.process.activity import shown_in_line

    from .why import existing

    async with _postgres(existing(settings)) as pool:
        rows = await pool.fetch(_sql()["keys"])
    for row in rows:
        since = row["since"].isoformat(timespec="seconds")
        click.echo(
            f"{row['key']}  {row['records']} waiting since {since}  {row['first']} {row['type'] or '?'}: "
            f"{shown_in_line(row['error'] or '')}"
        )
    if not rows:
        click.echo("Nothing is parked.")
    return 0


async def _show(settings: Settings, key: str, as_json: bool) -> int:
    import msgspec
    from langlog_backbone.process.activity import shown_in_line

    from .why import existing

    async with _postgres(existing(settings)) as pool:
        rows = await pool.fetch(_sql()["records"], key)
    for row in rows:
        origin = f"{row['topic']}-{row['part']}-{row['offset']}"
        headers = msgspec.json.decode(row["headers"])
        if as_json:
            found = {
                "origin": origin,
                "type": row["type"],
                "state": row["state"],
                "error": row["error"],
                "headers": headers,
                "data": _body(headers, row["value"]),
            }
            click.echo(msgspec.json.encode(found).decode())
        else:
            error = f"  {shown_in_line(row['error'])}" if row["error"] else ""
            click.echo(f"{origin:<26} {row['at'].isoformat():<32} {row['type'] or '?':<28} {row['state']:<6}{error}")
    if not rows:
        click.echo(f"Nothing of {key} is parked.", err=True)
    return 0 if rows else 1


def _body(headers: dict[str, str], value: bytes) -> Any:
    import msgspec
    from langlog_schemas import envelope

    packed = headers.get("content-type") == envelope.MSGPACK_CONTENT
    try:
        return (msgspec.msgpack if packed else msgspec.json).decode(value)
    except (msgspec.DecodeError, ValueError):
        return base64.b64encode(value).decode()


async def _retry(settings: Settings, key: str) -> int:
    async with operator(settings) as at_work:
        if await at_work.first(key) is None:
            click.echo(f"Nothing of {key} is parked.", err=True)
            return 1
        return await _released(at_work, key, None)


async def _drop(settings: Settings, key: str, yes: bool) -> int:
    async with operator(settings) as at_work:
        row = await at_work.first(key)
        if row is None:
            click.echo(f"Nothing of {key} is parked.", err=True)
            return 1
        origin = f"{row['topic']}-{row['part']}-{row['offset']}"
        if row["state"] != "bad":
            click.echo(f"{origin} is not bad by itself: retry {key} first.", err=True)
            return 1
        what = f"discards {origin} ({row['type']})"
        if not options.confirmed(
            f"Permanently discard {origin} ({row['type']})?", yes=yes, what=f"langlog dead drop {what} permanently"
        ):
            return 1
        return await _released(at_work, key, origin)


async def _released(at_work: Operator, key: str, drop: str | None) -> int:
    try:
        done = await at_work.release(key, drop)
    except NotReleased as reason:
        click.echo(f"langlog: {reason}", err=True)
        return 1
    click.echo(f"Released {key}: {done} records processed.")
    return 0


@contextlib.asynccontextmanager
async def operator(settings: Settings) -> AsyncIterator[Operator]:
    """Somebody who can look at parked keys and release them, connected to everything."""
    from langlog_backbone.log import open_log
    from langlog_backbone.read_model.same_log import check_same_log
    from langlog_backbone.redis.client import Bus, RedisPipe

    from .why import existing

    settings = existing(settings)
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(_postgres(settings))
        log = open_log(settings)
        stack.push_async_callback(log.stop)
        await log.start()
        await check_same_log(pool.fetch, log, settings.projection)
        pipe = RedisPipe(settings)
        stack.push_async_callback(pipe.stop)
        bus = Bus(pipe, settings)
        await bus.start()
        stack.push_async_callback(bus.stop)
        yield Operator(pool, log, bus)


class Operator:
    def __init__(self, pool: asyncpg.Pool, log: Log, bus: Bus) -> None:
        self._pool, self._log, self._bus = pool, log, bus
        self._sql = _sql()

    async def first(self, key: str) -> asyncpg.Record | None:
        """The record that is handled next."""
        rows = await self._pool.fetch(self._sql["records"], key)
        return rows[0] if rows else None

    async def release(self, key: str, drop: str | None) -> int:
        """Have everything of the key handled, but ``drop``; how many records that were. Raises NotReleased."""
        from langlog_schemas import commands as cmd
        from langlog_schemas import events as ev

        rows = await self._pool.fetch(self._sql["records"], key)
        handled: int = sum(row["topic"] != cmd.TOPIC for row in rows)
        row = rows[0] if rows else None
        if row is not None and row["topic"] != cmd.TOPIC:
            # both are asked for at once: nobody has to come back for the commands behind the events
            await self._append(ev.DEAD_LETTERS, ev.ParkedEventsReleased(aggregate_id=key, drop=drop))
            drop = None
        while True:
            told = await self._release_commands(key, drop)
            handled += len(told.decided) + len(told.dropped)
            if not told.left:
                return max(
                    handled, len(rows)
                )  # the decider goes on by itself where more waits than fits into one release
            row = await self.first(key)
            if row is None:
                raise NotReleased("the key has been parked again")
            if row["topic"] != cmd.TOPIC or not (told.decided or told.dropped):
                raise NotReleased(_still(row))
            drop = None

    async def _release_commands(self, key: str, drop: str | None) -> ParkedReleased:
        import msgspec
        from langlog_backbone.redis import channels
        from langlog_backbone.time.clock import new_id
        from langlog_schemas import commands as cmd
        from langlog_schemas import events as ev
        from langlog_schemas import messages

        me = f"{channels.WORKER_ID}{new_id()}"
        answer: asyncio.Future[messages.Reply] = asyncio.get_running_loop().create_future()

        def on_reply(data: bytes) -> None:
            if not answer.done():
                answer.set_result(messages.decode_reply(data[1:]))

        await self._bus.subscribe(channels.gateway(me), on_reply)
        await self._append(cmd.TOPIC, cmd.ReleaseParked(aggregate_id=key, drop=drop), me)
        try:
            async with asyncio.timeout(ANSWER_S):
                reply = await answer
        except TimeoutError:
            raise NotReleased(
                f"no decider and projector have answered within {ANSWER_S:g} s; they will do it once they run"
            ) from None
        if reply.status >= 400:  # events of the key are in the way
            return ev.ParkedReleased(aggregate_id=key, left=1)
        return msgspec.json.decode(reply.body, type=ev.ParkedReleased)

    async def _append(self, topic: str, body: Any, reply_to: str | None = None) -> None:
        import msgspec
        from langlog_backbone.log import NewRecord
        from langlog_backbone.time.clock import new_id, now_iso
        from langlog_schemas import envelope

        found = envelope.headers(
            id=new_id(), type=body.TYPE, source=SOURCE, time=now_iso(), subject=body.key, reply_to=reply_to
        )
        await self._log.append([NewRecord(topic, body.key, msgspec.json.encode(body), found)])


def _still(row: asyncpg.Record) -> str:
    return f"{row['topic']}-{row['part']}-{row['offset']} ({row['type'] or 'no type'}) cannot be handled yet: {row['error']}"
