"""Opens the log of a URI: ``sqlite:///path/to/log.sqlite`` or ``kafka://host:9092[,host:9092…]``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from ..process.settings import Settings
from .port import Log, LogFault


def open_log(settings: Settings) -> Log:
    """Return the log of ``LOG_URI``, not yet started. Raises LogFault for a URI of another kind.

    With LANGLOG_ENCRYPTION it can read sealed records, if DATABASE_URI is set: the keys are there.
    """
    log = _open(settings)
    if settings.encryption == "off" or not settings.database_uri:
        return log
    from .encryption.keys import ThreadKeys
    from .encryption.sealed_log import SealedLog

    return SealedLog(log, ThreadKeys(settings), writes=settings.encryption == "on")


@contextlib.asynccontextmanager
async def started_log(settings: Settings) -> AsyncIterator[Log]:
    """Open and start the log for the duration of a block. Raises LogFault, LogUnavailable."""
    log = open_log(settings)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


def _open(settings: Settings) -> Log:
    uri = settings.log_uri
    if uri.startswith("sqlite:///"):
        from .sqlite.sqlite_log import SqliteLog

        return SqliteLog(Path(uri.removeprefix("sqlite://")), settings)
    if uri.startswith("kafka://"):
        from .kafka.kafka_log import KafkaLog

        return KafkaLog(uri.removeprefix("kafka://"), settings)
    raise LogFault(f"LOG_URI must begin with sqlite:/// or kafka://, not {uri.partition(':')[0]}:")
