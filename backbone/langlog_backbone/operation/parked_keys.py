"""Keys that are parked behind a record that cannot be handled: list them, show their records, and release them.

Reading queries Postgres. Releasing appends the operator's request to the log (`commands.ReleaseParked`,
`events.ParkedEventsReleased`), and waits until decider and projector have carried it out. See docs on dead letters.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, messages
from langlog_schemas import events as ev
from langlog_schemas.events import ParkedReleased

from ..log.port import Log
from ..log.records import command_record, event_record
from ..postgres.database import load_sql
from ..redis import channels
from ..redis.client import Bus
from ..time.clock import new_id

SQL = load_sql("langlog_backbone", "parked.sql")
SOURCE = "/langlog/operator"
ANSWER_S = 30.0
"""Seconds without an answer after which decider and projector count as unavailable."""


class NotReleased(Exception):
    """The key is still parked. The message gives the reason."""


class ParkedKey(msgspec.Struct, frozen=True):
    """A key whose records wait. ``first``: origin of the first of them, ``topic-partition-offset``."""

    key: str
    """Key of the records."""
    records: int
    """Number of records that wait."""
    since: datetime
    """Time at which the first of them was parked."""
    first: str
    """Origin of the record that is handled next, `<topic>-<partition>-<offset>`."""
    type: str | None
    """Type of that record."""
    error: str | None
    """Reason why the first one cannot be handled."""


class ParkedRecord(msgspec.Struct, frozen=True):
    """A record that waits. ``state``: ``bad`` by itself, or ``behind`` a bad one; ``origin``: ``topic-partition-offset``."""

    origin: str
    """Origin of the record, `<topic>-<partition>-<offset>`."""
    topic: str
    """Topic of the log."""
    type: str | None
    """Type of the record."""
    state: str
    """`bad`: it cannot be handled; `behind`: it waits behind a bad one."""
    error: str | None
    """Reason why it cannot be handled."""
    at: datetime
    """Time at which it was parked."""
    headers: dict[str, str]
    """Headers of the record."""
    data: Any
    """The decoded body; base64 if it cannot be decoded."""


PORTION_RECORDS = 200
"""Maximum number of parked records that are read at once."""
PORTION_BYTES = 4_000_000
"""Size in bytes beyond which no further parked record is read at once."""


class ParkedKeys:
    """Lists and releases parked keys. ``actor``: the operator's name, stored in the records."""

    def __init__(self, pool: asyncpg.Pool, log: Log, bus: Bus) -> None:
        self._pool, self._log, self._bus = pool, log, bus

    async def first(self, key: str) -> ParkedRecord | None:
        """Return the record that is handled next."""
        records = await portion_of(self._pool, key, count=1)
        return records[0] if records else None

    async def release(self, key: str, drop: str | None, actor: str | None = None) -> int:
        """Release all records of the key, except ``drop`` (the origin of its first record); return how many records that were.

        Raises NotReleased, LogUnavailable, AppendUnknown."""
        waiting: int
        handled: int
        waiting, handled = await self._pool.fetchrow(SQL["counts"], key)
        first = await self.first(key)
        if first is not None and first.topic != cmd.TOPIC:
            # both are requested at once, so that one release also handles the commands behind the events
            event = ev.ParkedEventsReleased(aggregate_id=key, drop=drop)
            await self._log.append([event_record(event, id=new_id(), source=SOURCE, actor=actor)])
            drop = None
        while True:
            outcome = await self._release_commands(key, drop, actor)
            handled += len(outcome.decided) + len(outcome.dropped)
            if not outcome.left:
                # the decider continues by itself if more records wait than fit into one release
                return max(handled, waiting)
            first = await self.first(key)
            if first is None:
                raise NotReleased("the key has been parked again")
            if first.topic != cmd.TOPIC or not (outcome.decided or outcome.dropped):
                raise NotReleased(_still(first))
            drop = None

    async def _release_commands(self, key: str, drop: str | None, actor: str | None) -> ParkedReleased:
        me = f"{channels.WORKER_ID}{new_id()}"
        answer: asyncio.Future[messages.Reply] = asyncio.get_running_loop().create_future()

        def on_reply(data: bytes) -> None:
            if not answer.done():
                answer.set_result(messages.decode_reply(data[1:]))

        channel = channels.gateway(me)
        await self._bus.subscribe(channel, on_reply)
        try:
            command = cmd.ReleaseParked(aggregate_id=key, drop=drop)
            await self._log.append([command_record(command, id=new_id(), source=SOURCE, reply_to=me, actor=actor)])
            async with asyncio.timeout(ANSWER_S):
                reply = await answer
        except TimeoutError:
            raise NotReleased(
                f"no decider and projector have answered within {ANSWER_S:g} s; they will do it once they run"
            ) from None
        finally:
            await self._bus.unsubscribe(channel, on_reply)
        if reply.status >= 400:  # events of the key are in the way
            return ParkedReleased(aggregate_id=key, left=1)
        return msgspec.json.decode(reply.body, type=ParkedReleased)


async def keys(pool: asyncpg.Pool) -> list[ParkedKey]:
    """Return every parked key, the longest parked first."""
    return [ParkedKey(**row) for row in await pool.fetch(SQL["keys"])]


async def records_of(pool: asyncpg.Pool, key: str) -> AsyncIterator[ParkedRecord]:
    """Yield the parked records of a key, in the order in which they will be handled. They are read in portions."""
    portion = await portion_of(pool, key)
    while portion:
        for record in portion:
            yield record
        portion = await portion_of(pool, key, portion[-1])


async def portion_of(
    pool: asyncpg.Pool, key: str, after: ParkedRecord | None = None, *, count: int = PORTION_RECORDS
) -> list[ParkedRecord]:
    """Return the first of those records behind another one: ``count`` at most, and fewer where they are large."""
    topic, part, offset = ("", "-1", "-1") if after is None else after.origin.rsplit("-", 2)
    rows = await pool.fetch(SQL["records"], key, topic, int(part), int(offset), count, PORTION_BYTES)
    return [_record(row) for row in rows]


def _record(row: asyncpg.Record) -> ParkedRecord:
    headers = msgspec.json.decode(row["headers"], type=dict[str, str])
    origin = f"{row['topic']}-{row['part']}-{row['offset']}"
    return ParkedRecord(
        origin=origin,
        topic=row["topic"],
        type=row["type"],
        state=row["state"],
        error=row["error"],
        at=row["at"],
        headers=headers,
        data=_body(headers, row["value"]),
    )


def _body(headers: dict[str, str], value: bytes) -> Any:
    packed = headers.get("content-type") == envelope.MSGPACK_CONTENT
    try:
        return (msgspec.msgpack if packed else msgspec.json).decode(value)
    except (msgspec.DecodeError, ValueError):
        return base64.b64encode(value).decode()


def _still(record: ParkedRecord) -> str:
    return f"{record.origin} ({record.type or 'no type'}) cannot be handled yet: {record.error}"
