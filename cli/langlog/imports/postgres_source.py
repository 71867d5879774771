"""Tables of the published Postgres saver and its store as a source: checkpoints unchanged, all namespaces, with pending writes.

Thread ids that are no UUIDs get one that follows from them; the id of before is in the thread's metadata and in its provenance.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from langlog_executor.checkpoints.published_saver import PublishedTables, TablesUnreadable

from .http import Refused, Unanswered
from .report import Report
from .source import History, Row, Thread, ThreadHead

IDS = uuid.UUID("5f7d0a52-5b0e-5c53-9c1c-0d5f5a5e1c11")
"""Namespace of generated ids, for threads whose own ids are not UUIDs."""
ORIGINAL_ID = "original_thread_id"
"""Member of the metadata of such a thread."""
HISTORY_BYTES_MAX = 4_000_000_000
NONE: tuple[Row, ...] = ()
NO_STORE = "the database has no table of the store"


class PostgresSource:
    def __init__(self, uri: str, report: Report) -> None:
        self.name = report.source
        self._tables = PublishedTables(uri, self.name)
        self._report = report

    async def __aenter__(self) -> PostgresSource:
        """Connect. Raises Unanswered."""
        try:
            await self._tables.__aenter__()
        except TablesUnreadable as error:
            raise Unanswered(str(error)) from None
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._tables.__aexit__(*details)

    async def assistants(self) -> AsyncIterator[list[Row]]:
        """Yield nothing: the saver has no assistants."""
        for one in NONE:
            yield [one]

    async def assistant(self, listed: Row) -> tuple[Row, list[str]]:
        return listed, []

    async def crons(self) -> AsyncIterator[Row]:
        """Yield nothing: the saver has no crons."""
        for one in NONE:
            yield one

    async def count(self, metadata: Row) -> int | None:
        try:
            return await self._tables.count()
        except TablesUnreadable as error:
            raise Unanswered(str(error)) from None

    async def threads(self, metadata: Row) -> AsyncIterator[list[ThreadHead]]:
        if metadata:
            raise Unanswered("threads of the Postgres saver have no metadata: leave out --threads-where")
        try:
            async for page in self._tables.threads():
                yield [_head(row) for row in page]
        except TablesUnreadable as error:
            raise Unanswered(str(error)) from None

    async def thread(self, head: ThreadHead) -> Thread:
        body: Row = {
            "thread_id": head.id,
            "metadata": {} if head.original_id is None else {ORIGINAL_ID: head.original_id},
            "created_at": head.created_at,
            "updated_at": head.updated_at,
        }
        if head.original_id is not None:
            body["original_id"] = head.original_id
        return Thread(body, head.graph_id)

    async def history(self, head: ThreadHead) -> History:
        """Return the history. Raises TooLarge."""
        history = History("rows", HISTORY_BYTES_MAX)
        own = head.original_id or head.id
        try:
            async for row in self._tables.checkpoints(own):
                if row["metadata"].get("thread_id") == own:
                    row["metadata"]["thread_id"] = head.id
                values = [(row["checkpoint_ns"], blob["channel"], blob["version"]) for blob in row["blobs"]]
                history.add(row["checkpoint_id"], row["parent_id"], row, values)
        except TablesUnreadable as error:
            history.close()
            raise Unanswered(str(error)) from None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            history.close()
            raise Refused(
                422, f"its rows are not those of the published saver ({type(error).__name__}: {error})"
            ) from None
        except BaseException:
            history.close()
            raise
        history.reverse()
        return history

    async def items(self) -> AsyncIterator[Row]:
        if not self._tables.has_store:
            self._report.remarks.append(NO_STORE)
            return
        try:
            async for item in self._tables.items():
                yield _item(item)
        except TablesUnreadable as error:
            raise Unanswered(str(error)) from None


def _head(row: Row) -> ThreadHead:
    own = str(row["thread_id"])
    try:
        id = str(uuid.UUID(own))
    except ValueError:
        id = str(uuid.uuid5(IDS, own))
    return ThreadHead(id, row["updated_at"], None if id == own else own, row["created_at"], row["graph_id"])


def _item(row: Row) -> dict[str, Any]:
    item = {
        "namespace": row["prefix"].split("."),
        "key": row["key"],
        "value": row["value"],
        "created_at": row.get("created_at"),
        "updated_at": row.get("updated_at"),
    }
    return item if row.get("ttl_minutes") is None else {**item, "ttl": row["ttl_minutes"]}
