"""Connections of operators' commands: settings, Postgres, the log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings


def run_with_settings(what: Any, data_dir: Path | None, *args: Any, **flags: Any) -> None:
    """Run ``what(settings, …)`` to the end, and exit with the code that it returns."""
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(what(settings, *args, **flags))


@contextlib.asynccontextmanager
async def postgres(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Yield Postgres, which DATABASE_URI names."""
    from langlog_backbone.postgres.database import connect_pool

    pool = await connect_pool(settings, size=1)
    try:
        yield pool
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def read_model(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Yield Postgres only, of a running langlog or of an unused data folder, for reading."""
    from ..whereabouts import log_and_read_model

    async with contextlib.AsyncExitStack() as stack:
        if not settings.database_uri:
            settings, _ = await stack.enter_async_context(log_and_read_model(settings, compared=False))
        yield await stack.enter_async_context(postgres(settings))


@contextlib.asynccontextmanager
async def read_model_and_log(settings: Settings) -> AsyncIterator[tuple[asyncpg.Pool, Log]]:
    """Yield Postgres and the log, which belong together, for commands that append to it. Raises StartError, OtherLog."""
    from langlog_backbone.log import open_log
    from langlog_backbone.read_model.same_log import check_same_log

    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(postgres(settings))
        log = open_log(settings)
        stack.push_async_callback(log.stop)
        await log.start()
        await check_same_log(pool.fetch, log, settings.projection)
        yield pool, log
