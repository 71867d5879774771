"""Where log and read model are, for tools: what is set, else the embedded servers of a data folder, which run or are started.

Death: a server that was started here goes with the tool.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langlog_backbone.log import Log
    from langlog_backbone.settings import Settings


@contextlib.asynccontextmanager
async def log_and_read_model(settings: Settings) -> AsyncIterator[tuple[Settings, Log]]:
    """Settings with both URIs, and the log, started. Makes nothing: raises StartError where there is no log, or no Postgres."""
    import msgspec
    from langlog_backbone.embedded import LOG_FILE, EmbeddedPostgres, data_folder_lock
    from langlog_backbone.log import open_log
    from langlog_backbone.service import StartError

    folder = settings.data_dir.absolute()
    async with contextlib.AsyncExitStack() as stack:
        if not settings.log_uri:
            if not (folder / LOG_FILE).is_file():
                raise StartError(f"there is no log in {settings.data_dir} (say --data-dir, or set LOG_URI)")
            settings = msgspec.structs.replace(settings, log_uri=f"sqlite://{folder / LOG_FILE}")
        if not settings.database_uri:
            if not folder.is_dir():
                raise StartError(f"there is no data folder {settings.data_dir} (say --data-dir, or set DATABASE_URI)")
            server = EmbeddedPostgres(folder)
            try:
                stack.enter_context(data_folder_lock(folder))
            except StartError:
                pass  # a langlog runs on the folder, and Postgres with it
            else:
                await server.start()
                stack.push_async_callback(server.stop)
            settings = msgspec.structs.replace(settings, database_uri=server.uri)
        log = open_log(settings)
        await log.start()
        stack.push_async_callback(log.stop)
        yield settings, log


@contextlib.asynccontextmanager
async def log_alone(settings: Settings) -> AsyncIterator[Log]:
    """The log, started, without Postgres if that can be: an encrypted one is read with the keys that are there, and shows what is
    sealed as it is where no Postgres is known. Makes nothing: raises StartError where there is no log."""
    import msgspec
    from langlog_backbone.embedded import LOG_FILE
    from langlog_backbone.log import open_log
    from langlog_backbone.service import StartError

    folder = settings.data_dir.absolute()
    if settings.encryption != "off" and not settings.database_uri and folder.is_dir():
        async with log_and_read_model(settings) as (_, log):
            yield log
        return
    if not settings.log_uri:
        if not (folder / LOG_FILE).is_file():
            raise StartError(f"there is no log in {settings.data_dir} (say --data-dir, or set LOG_URI)")
        settings = msgspec.structs.replace(settings, log_uri=f"sqlite://{folder / LOG_FILE}")
    log = open_log(settings)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()
