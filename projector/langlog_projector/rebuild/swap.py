"""Rebuild and verification of the read model, and the swap of the live schema.

A swap is two renames in one transaction, while the live projector waits at its positions: both models are at the same positions, so
waiting batches continue in the new one. No service has to be restarted: statements name bare tables, and Postgres resolves
names again when a schema of the search path is renamed, also for statements that are prepared.

Concurrency: see `rebuild`. Death: a swap is one transaction; before it nothing has changed, after it only the formerly
kept schema remains to be dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import asyncpg
from langlog_backbone.log import Log, Positions
from langlog_backbone.postgres.database import connect_pool
from langlog_backbone.process.settings import Settings
from langlog_backbone.read_model.same_log import OtherLog, check_same_log

from ..erasure import take_along
from .comparison import Comparison, compare
from .rebuild import SQL, Builder, Progress, RebuildError, building, catch_up, follow_log, held, live_positions


def new_schema(live: str) -> str:
    """Return the schema that a rebuild builds."""
    return f"{live}_new"


def old_schema(live: str) -> str:
    """Return the schema that was live before the last swap."""
    return f"{live}_old"


def verify_schema(live: str) -> str:
    """Return the schema that `verify` builds and drops."""
    return f"{live}_verify"


class Report(NamedTuple):
    folded: int
    """Number of folded records."""
    refused: int
    """Number of those that cannot be folded, live or here."""
    comparison: Comparison | None
    """Comparison with the live model; None: there was none."""
    swapped: bool = False
    kept: bool = False
    """Whether the former live schema is kept."""


Compared = Callable[[Comparison], bool]
"""Returns whether a model with this comparison shall be swapped in."""


async def verify(log: Log, settings: Settings, progress: Progress) -> Report:
    """Fold the log into a scratch schema up to the live positions, and compare. Raises RebuildError, LogFault, StartError."""
    schema = verify_schema(settings.projection)
    live = await connect_pool(settings, size=2)
    try:
        if await live_positions(live) is None:
            raise RebuildError(f"there is no read model {settings.projection}")
        async with building(log, settings, schema, progress, keep=False) as builder:
            try:
                await catch_up(builder, live)
                comparison = await compare_with_live(builder, live, settings.projection)
            finally:
                await builder.pool.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        return Report(builder.done, builder.refused, comparison)
    finally:
        await live.close()


async def rebuild_from_scratch(log: Log, settings: Settings, progress: Progress) -> Report:
    """Build the read model from the log, regardless of the live one, and swap it in; the former one is kept.

    For a live model that does not belong to the log (`same_log.OtherLog`): no projector can continue it, and nothing is compared.
    If it does belong, this is a rebuild that begins again and accepts every difference. Raises RebuildError, LogFault, StartError.
    """
    name = settings.projection
    live = await connect_pool(settings, size=2)
    try:
        try:
            await check_same_log(live.fetch, log, name)
        except OtherLog:
            async with building(log, settings, new_schema(name), progress, keep=False) as builder:
                await follow_log(builder, log)
                await _analyze(builder)
                await follow_log(builder, log)
                await live.execute(f"DROP SCHEMA IF EXISTS {name}_gone CASCADE")
                async with held(live) as (connection, _):
                    await _change_names(connection, builder.schema, name)
                await live.execute(f"DROP SCHEMA IF EXISTS {name}_gone CASCADE")
                return Report(builder.done, builder.refused, None, swapped=True, kept=True)
    finally:
        await live.close()
    return await rebuild(log, settings, progress, lambda _: True, fresh=True)


async def rebuild(log: Log, settings: Settings, progress: Progress, accept: Compared, *, fresh: bool = False) -> Report:
    """Build the read model again beside the live one and swap it in, if ``accept`` returns True.

    ``fresh``: begin again, also if an earlier rebuild was interrupted. If not accepted, or interrupted, the new schema stays, and the
    next rebuild continues it. Raises RebuildError, LogFault, StartError.
    """
    name = settings.projection
    live = await connect_pool(settings, size=2)
    try:
        async with building(log, settings, new_schema(name), progress, keep=not fresh) as builder:
            if await live_positions(live) is None:
                await follow_log(builder, log)
                await _analyze(builder)
                await _give_name(live, builder.schema, name)
                return Report(builder.done, builder.refused, None, swapped=True)
            await catch_up(builder, live)
            await _analyze(builder)
            await catch_up(builder, live)
            comparison = await compare_with_live(builder, live, name)
            if not accept(comparison):
                return Report(builder.done, builder.refused, comparison)
            await _swap(builder, live, name)
            return Report(builder.done, builder.refused, comparison, swapped=True, kept=True)
    finally:
        await live.close()


async def roll_back(log: Log, settings: Settings, progress: Progress) -> Report:
    """Bring the schema that the last swap kept up to date, and swap it in again; the present one is then the kept one."""
    name = settings.projection
    live = await connect_pool(settings, size=2)
    try:
        if await live_positions(live) is None:
            raise RebuildError(f"there is no read model {name}")
        async with building(log, settings, old_schema(name), progress, as_it_is=True) as builder:
            await catch_up(builder, live)
            await _swap(builder, live, name)
            return Report(builder.done, builder.refused, None, swapped=True)
    finally:
        await live.close()


async def drop_old(settings: Settings) -> bool:
    """Drop the schema that the last swap kept. Return False if there is none."""
    schema = old_schema(settings.projection)
    live = await connect_pool(settings, size=1)
    try:
        if await live.fetchrow(SQL["schema"], schema) is None:
            return False
        await live.execute(f"DROP SCHEMA {schema} CASCADE")
        return True
    finally:
        await live.close()


async def compare_with_live(builder: Builder, live: asyncpg.Pool, name: str) -> Comparison:
    """Compare the built model with the live one, at the same positions; the live projector waits only until both are in one snapshot."""
    async with live.acquire() as reading:
        snapshot = reading.transaction(isolation="repeatable_read", readonly=True)
        async with held(live) as (_, positions):
            await _reach(builder, positions, name)
            await snapshot.start()
            # against plans that are kept from when a table was small; this reads all there is
            await reading.execute("SET LOCAL enable_seqscan = on")
            await reading.execute(SQL["positions"])
        try:
            return await compare(reading, name, builder.schema)
        finally:
            await snapshot.rollback()


async def _reach(builder: Builder, positions: Positions, name: str) -> None:
    """Bring the built model to the live positions, with the data that is no longer in the log."""
    await builder.fold_to(positions)
    if builder.settings.encryption != "off":
        async with builder.pool.acquire() as connection:
            await take_along(connection, name, builder.schema)


async def _swap(builder: Builder, live: asyncpg.Pool, name: str) -> None:
    await catch_up(builder, live)
    gone = f"{name}_gone"
    await live.execute(f"DROP SCHEMA IF EXISTS {gone} CASCADE")
    async with held(live) as (connection, positions):
        await _reach(builder, positions, name)
        await _change_names(connection, builder.schema, name)
    await live.execute(f"DROP SCHEMA IF EXISTS {gone} CASCADE")


async def _change_names(connection: asyncpg.Connection, schema: str, name: str) -> None:
    """In the transaction of `held`: make the schema the live one, and keep the former one instead of what was kept."""
    # a reported swap must also hold after a crash
    await connection.execute("SET LOCAL synchronous_commit = on")
    await connection.execute(SQL["lock_names"])
    if schema != old_schema(name) and await connection.fetchrow(SQL["schema"], old_schema(name)):
        await connection.execute(f"ALTER SCHEMA {old_schema(name)} RENAME TO {name}_gone")
    await connection.execute(f"ALTER SCHEMA {name} RENAME TO {name}_between")
    await connection.execute(f"ALTER SCHEMA {schema} RENAME TO {name}")
    await connection.execute(f"ALTER SCHEMA {name}_between RENAME TO {old_schema(name)}")


async def _give_name(live: asyncpg.Pool, schema: str, name: str) -> None:
    """Rename the schema, if there was no live model. Raises RebuildError if one was created meanwhile."""
    async with live.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute(SQL["lock_names"])
        if await connection.fetchrow(SQL["schema"], name) is not None:
            raise RebuildError(f"a service has begun {name} meanwhile; run `langlog rebuild` again")
        await connection.execute(f"ALTER SCHEMA {schema} RENAME TO {name}")


async def _analyze(builder: Builder) -> None:
    """Analyze the tables: plans need statistics, which a table that has just been filled does not have."""
    tables = {row["table_name"] for row in await builder.pool.fetch(SQL["columns"], builder.schema)}
    await builder.pool.execute("; ".join(f"ANALYZE {table}" for table in sorted(tables)))
