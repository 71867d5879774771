"""The tables of the published Postgres saver (``langgraph-checkpoint-postgres``), read by the saver's own classes, for an import.

Tables of all its releases are read, and those of its shallow class, which keeps the latest checkpoint of each namespace.

Values are not decoded here: the saver gets a serializer that keeps type and bytes. A worker of the target decodes them, by the
project's serializer, which executes no code. Connections only read. Not safe for concurrent use beyond what the saver's lock gives.

Death: a lost database raises `TablesUnreadable`; there is no durable state.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import msgspec
from langlog_backbone.postgres.database import load_sql

SQL = load_sql("langlog_executor", "published_tables.sql")
PAGE = 50
"""Checkpoints of a thread that are read at a time at most. The saver reads each with all its values."""
FIRST_PAGE = 4
"""As many as `PAGE`, of a thread whose checkpoints' size is not known yet."""
PAGE_BYTES = 32 * 1024 * 1024
"""Bytes of values that a page should not exceed, by the size of the checkpoints before it. One checkpoint is always read whole."""
CONNECT_S = 10
READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout=600000"
EXTRA = "this needs the package of the published saver: pip install 'langlog[import]'"
JSON_TYPE = "json"
"""Type of values that the saver stores in the checkpoint itself: texts, numbers, true, false, null."""
PARTS_TYPE = "parts"
"""Type of a list of values that are stored apart: sent tasks, which checkpoints before version 4 have among the writes of their parent."""
TASKS = "__pregel_tasks"
"""Channel of sent tasks."""
SENDS_VERSION = 4
"""Version of checkpoints from which on they hold their sent tasks themselves."""
COLUMNS: dict[str, frozenset[str]] = {
    "checkpoints": frozenset({"thread_id", "checkpoint_ns", "checkpoint", "metadata"}),
    "checkpoint_blobs": frozenset({"thread_id", "checkpoint_ns", "channel", "type", "blob"}),
    "checkpoint_writes": frozenset(
        {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "blob"}
    ),
}
"""Table -> columns that it has in every release."""
OF_HISTORIES: dict[str, frozenset[str]] = {
    "checkpoints": frozenset({"checkpoint_id", "parent_checkpoint_id"}),
    "checkpoint_blobs": frozenset({"version"}),
}
"""Table -> columns that the shallow class does not make."""
OF_STORE = frozenset({"prefix", "key", "value", "created_at", "updated_at"})


class TablesUnreadable(Exception):
    """The database is unavailable, or has no such tables. The text holds no password."""


class Kept(NamedTuple):
    """A stored value, undecoded."""

    type: str
    data: bytes


class KeepingSerializer:
    """Returns stored values undecoded. Packs lists of them, as the saver does with sent tasks."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return PARTS_TYPE, msgspec.json.encode([_encoded(part) for part in obj])

    def loads_typed(self, data: tuple[str, bytes]) -> Kept:
        return Kept(data[0], bytes(data[1] or b""))


class PublishedTables:
    """One database, for the duration of an ``async with``."""

    def __init__(self, uri: str, name: str) -> None:
        """``name``: the address without credentials."""
        self._uri, self._name = uri, name

    async def __aenter__(self) -> PublishedTables:
        """Connect. Raises TablesUnreadable."""
        try:
            import psycopg
            from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
            from psycopg.rows import dict_row
        except ImportError:
            raise TablesUnreadable(EXTRA) from None
        self._error: type[Exception] = psycopg.Error
        try:
            self._connection: Any = await psycopg.AsyncConnection.connect(
                self._uri,
                autocommit=True,
                prepare_threshold=0,
                row_factory=dict_row,
                connect_timeout=CONNECT_S,
                options=READ_ONLY,
            )
        except (psycopg.Error, UnicodeError, ValueError) as error:
            # libpq's messages about an address may repeat it
            reason = str(error).strip() if self._uri not in str(error) else type(error).__name__
            raise TablesUnreadable(f"cannot connect to {self._name}: {reason}") from None
        self._saver: Any = AsyncPostgresSaver(self._connection, serde=KeepingSerializer())
        try:
            self._prepare({row["name"]: frozenset(row["columns"]) for row in await self._rows("tables")})
        except BaseException:
            await self._connection.close()
            raise
        return self

    def _prepare(self, tables: Mapping[str, frozenset[str]]) -> None:
        """Read as the release did that made the tables. ``tables``: their columns. Raises TablesUnreadable."""
        if not tables["checkpoints"]:
            raise TablesUnreadable(
                f"{self._name} has no table checkpoints in its search_path: name the database of the saver, "
                "and its schema with ?options=-csearch_path%3Dschema"
            )
        self.shallow = not any(tables[name] & columns for name, columns in OF_HISTORIES.items())
        """Whether there is only the latest checkpoint of each namespace."""
        for name, columns in COLUMNS.items():
            wanted = columns if self.shallow else columns | OF_HISTORIES.get(name, frozenset())
            if lacking := sorted(wanted - tables[name]):
                raise TablesUnreadable(
                    f"{self._name} has a table {name} without {', '.join(lacking)}: it is not the published saver's. "
                    "Name the saver's schema with ?options=-csearch_path%3Dschema"
                )
        self.has_store = tables["store"] >= OF_STORE
        if self.shallow:
            from langgraph.checkpoint.postgres.shallow import AsyncShallowPostgresSaver

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._saver = AsyncShallowPostgresSaver(self._connection, serde=KeepingSerializer())
        if "task_path" not in tables["checkpoint_writes"]:  # before migration 9
            self._saver.SELECT_SQL = _without_task_path(self._saver.SELECT_SQL)
            self._saver.SELECT_PENDING_SENDS_SQL = _without_task_path(self._saver.SELECT_PENDING_SENDS_SQL)

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def count(self) -> int:
        """Return the number of threads. Raises TablesUnreadable."""
        return int((await self._rows("count"))[0]["count"])

    async def threads(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield ``thread_id``, ``created_at``, ``updated_at``, ``graph_id``; in pages, by id. Raises TablesUnreadable."""
        after, statement = "", "shallow_threads" if self.shallow else "threads"
        while page := await self._rows(statement, after):
            yield page
            after = page[-1]["thread_id"]

    async def checkpoints(self, thread_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield rows in a worker's form (`imported_rows.StoredRow`), newest first. ``blobs`` has all values of the checkpoint, with
        ``version`` beside each. Raises TablesUnreadable."""
        if self.shallow:
            for space in await self._rows("shallow_namespaces", thread_id):
                async for row in self._latest(thread_id, space["checkpoint_ns"]):
                    yield row
            return
        config: Any = {"configurable": {"thread_id": thread_id}}
        before: Any = None
        most = FIRST_PAGE
        while True:
            number = size = 0
            try:
                async for stored in self._saver.alist(config, before=before, limit=most):
                    number += 1
                    before = {"configurable": {"checkpoint_id": stored.config["configurable"]["checkpoint_id"]}}
                    row = _row(stored)
                    size += sum(len(value["data"]) for value in [*row["blobs"], *row["writes"]])
                    yield row
            except self._error as error:
                raise self._unreadable(error) from None
            if number < most:
                return
            most = next_page(number, size)

    async def _latest(self, thread_id: str, namespace: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the checkpoint of a namespace that the shallow class has kept."""
        at: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}}
        try:
            async for stored in self._saver.alist(at):
                sends = stored.checkpoint.pop("pending_sends")
                if sends and stored.checkpoint["v"] < SENDS_VERSION:
                    stored.checkpoint["channel_values"][TASKS] = Kept(*self._saver.serde.dumps_typed(sends))
                    versions = stored.checkpoint["channel_versions"]
                    versions[TASKS] = max(versions.values()) if versions else self._saver.get_next_version(None, None)
                yield _row(stored)
        except self._error as error:
            raise self._unreadable(error) from None

    async def items(self) -> AsyncIterator[dict[str, Any]]:
        """Yield rows of the store's table. Raises TablesUnreadable."""
        after = ("", "")
        while page := await self._rows("items", *after):
            for row in page:
                yield row["item"]
            after = page[-1]["item"]["prefix"], page[-1]["item"]["key"]

    async def _rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        try:
            async with self._saver.lock:
                cursor = await self._connection.execute(SQL[statement], values or None)
                rows: list[dict[str, Any]] = await cursor.fetchall()
        except self._error as error:
            raise self._unreadable(error) from None
        return rows

    def _unreadable(self, error: Exception) -> TablesUnreadable:
        return TablesUnreadable(f"{self._name} cannot be read: {str(error).strip()}")


def next_page(number: int, size: int) -> int:
    """How many checkpoints to read after ``number`` of them had ``size`` bytes. Pure."""
    return max(1, min(PAGE, PAGE_BYTES * number // max(1, size)))


def _without_task_path(statement: str) -> str:
    return statement.replace("cw.task_path", "''").replace("order by task_path, ", "order by ")


def _row(stored: Any) -> dict[str, Any]:
    at = stored.config["configurable"]
    checkpoint = {name: value for name, value in stored.checkpoint.items() if name != "channel_values"}
    versions = checkpoint.get("channel_versions") or {}
    values: dict[str, Any] = stored.checkpoint.get("channel_values") or {}
    return {
        "checkpoint_id": at["checkpoint_id"],
        "checkpoint_ns": at.get("checkpoint_ns") or "",
        "parent_id": stored.parent_config["configurable"]["checkpoint_id"] if stored.parent_config else None,
        "checkpoint": checkpoint,
        "metadata": stored.metadata or {},
        "channels": list(values),
        "blobs": [
            {"channel": channel, "version": str(versions.get(channel, "")), **_encoded(value)}
            for channel, value in values.items()
        ],
        "writes": [
            {"task_id": task_id, "channel": channel, **_encoded(value)}
            for task_id, channel, value in stored.pending_writes or []
        ],
    }


def _encoded(value: Any) -> dict[str, str]:
    kept = value if isinstance(value, Kept) else Kept(JSON_TYPE, msgspec.json.encode(value))
    return {"type": kept.type, "data": base64.b64encode(kept.data).decode()}
