"""Locations of log and read model for tools: the configured ones, else the embedded servers of a data folder, which run or are started.

Death: a server that was started here ends with the tool.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings


@contextlib.asynccontextmanager
async def log_and_read_model(settings: Settings, *, compared: bool = True) -> AsyncIterator[tuple[Settings, Log]]:
    """Yield settings with both URIs, and the started log. Creates nothing: raises StartError where there is no log, or no Postgres, and
    OtherLog where they do not belong together (unless it does not matter: ``compared``)."""
    from langlog_backbone.log import started_log

    async with contextlib.AsyncExitStack() as stack:
        settings = await stack.enter_async_context(postgres_of_folder(with_log(settings)))
        log = await stack.enter_async_context(started_log(settings))
        if compared:
            await compare(settings, log)
        yield settings, log


@contextlib.asynccontextmanager
async def postgres_of_folder(settings: Settings, *, locked: bool = False) -> AsyncIterator[Settings]:
    """Yield settings with DATABASE_URI: the configured one, else the data folder's Postgres, which is started unless a
    langlog runs on the folder.

    ``locked``: this process holds the folder's lock already. Raises StartError.
    """
    import msgspec
    from langlog_backbone.embedded.servers import EmbeddedPostgres, data_folder_lock
    from langlog_backbone.process.service import StartError

    if settings.database_uri:
        yield settings
        return
    folder = settings.data_dir.absolute()
    if not folder.is_dir():
        raise StartError(f"there is no data folder {settings.data_dir} (use --data-dir, or set DATABASE_URI)")
    server = EmbeddedPostgres(folder)
    async with contextlib.AsyncExitStack() as stack:
        try:
            if not locked:
                stack.enter_context(data_folder_lock(folder))
        except StartError:
            pass  # a langlog runs on the folder, and Postgres with it
        else:
            await server.start()
            stack.push_async_callback(server.stop)
        yield msgspec.structs.replace(settings, database_uri=server.uri)


async def compare(settings: Settings, log: Log) -> None:
    """Raise OtherLog if the read model has folded records that the log does not hold; StartError without Postgres."""
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.read_model.same_log import check_same_log

    pool = await connect_pool(settings, size=1)
    try:
        await check_same_log(pool.fetch, log, settings.projection, cut=False)
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def log_alone(settings: Settings) -> AsyncIterator[Log]:
    """Yield the started log, without Postgres if possible: an encrypted one is read with the keys that are there, and shows what is
    sealed as it is where no Postgres is known. Makes nothing: raises StartError where there is no log."""
    from langlog_backbone.log import started_log

    if settings.encryption != "off" and not settings.database_uri and settings.data_dir.is_dir():
        async with log_and_read_model(settings) as (_, log):
            yield log
        return
    async with started_log(with_log(settings)) as log:
        yield log


def with_log(settings: Settings) -> Settings:
    """Return settings with LOG_URI: the configured one, else the data folder's file. Raises StartError."""
    import msgspec
    from langlog_backbone.embedded.servers import LOG_FILE
    from langlog_backbone.process.service import StartError

    file = settings.data_dir.absolute() / LOG_FILE
    if settings.log_uri:
        return settings
    if not file.is_file():
        raise StartError(
            f"there is no log in {settings.data_dir} (name the data folder of langlog dev with --data-dir, or set LOG_URI)"
        )
    return msgspec.structs.replace(settings, log_uri=f"sqlite://{file}")


def log_uri_of(text: str) -> str:
    """Return the URI of a log that is named on the command line: a URI, or a data folder, whose log it is then. Raises
    click.UsageError."""
    from pathlib import Path

    import click
    from langlog_backbone.embedded.servers import LOG_FILE

    if text.startswith(("kafka://", "sqlite:///")):
        return text.rstrip("/")
    if "://" in text:
        raise click.UsageError(f"a log is kafka://host:9092, sqlite:///path or a data folder, not {text}")
    return f"sqlite://{Path(text).absolute() / LOG_FILE}"
