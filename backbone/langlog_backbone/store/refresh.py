"""Refreshed TTLs: reads extend the life of store items (``refresh_on_read``), through the log, and no read waits for it.

Concurrency: belongs to one event loop. Reads note what they found; what has gathered is appended together a moment later, one command
for each namespace. When it dies, or the log is unavailable, the items expire as if they had not been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from langlog_schemas import commands as cmd

from ..log import AppendUnknown, Log, LogUnavailable, NewRecord
from ..log.records import command_record
from ..time import clock
from ..time.clock import iso, new_id

logger = structlog.get_logger(__name__)

LINGER_S = 0.05
"""Seconds for which reads are collected into one command."""
GAIN_SHARE = 0.01
"""Minimum gain, as a share of the TTL, for which a refresh is written: the log keeps every one."""
KEYS_AT_ONCE = 1_000
"""Maximum number of keys in one command."""
WAITING_MAX = 100_000
"""Maximum number of items that wait while an append is under way; further ones are not refreshed."""

ItemKey = tuple[tuple[str, ...], str]


class Refreshes:
    """``source``: the writer's name in the envelope."""

    def __init__(self, log: Log, source: str) -> None:
        self._log = log
        self._source = source
        self._read: dict[ItemKey, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record rows of items that were just read (`reader`); those without a TTL, or refreshed lately, are left alone."""
        now: datetime | None = None
        for row in rows:
            minutes, expires_at = row["ttl_minutes"], row["expires_at"]
            if minutes is None or expires_at is None:
                continue
            now = now or clock.now()
            ttl = timedelta(minutes=min(minutes, cmd.TTL_MAX_MINUTES))
            if now + ttl - expires_at >= ttl * GAIN_SHARE and len(self._read) < WAITING_MAX:
                self._read[tuple(row["namespace"]), row["key"]] = now
        if self._read and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._append_soon())

    async def stop(self) -> None:
        """Append the collected refreshes, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._append()

    async def _append_soon(self) -> None:
        while self._read:
            await asyncio.sleep(LINGER_S)
            await self._append()

    async def _append(self) -> None:
        read, self._read = self._read, {}
        if not read:
            return
        try:
            await self._log.append([self._record(command) for command in commands_of(read)])
        except (AppendUnknown, LogUnavailable) as error:
            logger.warning("store.not_refreshed", items=len(read), error=str(error))

    def _record(self, command: cmd.RefreshStore) -> NewRecord:
        return command_record(command, id=new_id(), source=self._source)


def commands_of(read: Mapping[ItemKey, datetime]) -> list[cmd.RefreshStore]:
    """Return one command for each namespace, or several if it has many keys. Its items count as read at the time of the first read."""
    by_namespace: dict[tuple[str, ...], list[str]] = {}
    for namespace, key in read:
        by_namespace.setdefault(namespace, []).append(key)
    return [
        cmd.RefreshStore(
            namespace=list(namespace),
            keys=keys[n : n + KEYS_AT_ONCE],
            read_at=iso(min(read[namespace, key] for key in keys)),
        )
        for namespace, keys in by_namespace.items()
        for n in range(0, len(keys), KEYS_AT_ONCE)
    ]
