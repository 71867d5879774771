"""Assistants by id for runs: lookups that gather while a query is under way go out together in the next.

Each lookup is answered by a query that began after it was asked for, so that a run always gets the assistant as it was when
the request came in: a cache could not promise that across gateways. All on one event loop. A failed query fails those who
waited for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.runs.request import Assistant

from ..http.backends import Reads

SQL = load_sql("langlog_gateway", "runs.sql")


class AssistantLookup:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._wanted: dict[str, asyncio.Future[Assistant | None]] = {}
        self._querying: asyncio.Task[None] | None = None

    async def find(self, ids: Sequence[str]) -> list[Assistant | None]:
        """In the order asked for; None: there is none. What comes back is shared: not to be changed. Raises ApiError 503."""
        loop = asyncio.get_running_loop()
        futures = []
        for id in ids:
            future = self._wanted.get(id)
            if future is None:
                future = self._wanted[id] = loop.create_future()
                future.add_done_callback(_consume_exception)
            futures.append(future)
        if self._querying is None or self._querying.done():
            self._querying = loop.create_task(self._query())
        return [await asyncio.shield(future) for future in futures]

    async def _query(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            try:
                rows = await self._reads.rows(SQL["assistants"], list(wanted))
                assistants = {row["assistant_id"]: _assistant(row) for row in rows}
            except Exception as error:
                for future in wanted.values():
                    future.set_exception(error)
            else:
                for id, future in wanted.items():
                    future.set_result(assistants.get(id))


def _consume_exception(future: asyncio.Future[Any]) -> None:
    """Those who asked may be gone: their error is then nobody's."""
    if not future.cancelled():
        future.exception()


def _assistant(row: Any) -> Assistant:
    decode = msgspec.json.decode
    return Assistant(
        row["assistant_id"],
        row["graph_id"],
        decode(row["config"]),
        decode(row["context"]),
        decode(row["metadata"]),
    )
