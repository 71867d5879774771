"""Reads checkpoints from the read model, once that has passed the position that the caller names.

Concurrency: one for a process; its coroutines run on the I/O loop. While Postgres is unavailable a read raises, the
attempt fails over to the next one or the query answers with an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_backbone.log import Position
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import Availability
from langlog_backbone.read_model.watermark import Watermark
from langlog_schemas.events import RUN_EVENTS

from ..runtime.checkpoint_ids import issue_ids_after
from .serde import project_serializer
from .stored_checkpoint import Ancestor, Encoded, StoredCheckpoint, StoredWrite

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from ..runtime.io_loop import IoLoop

_SQL = load_sql("langlog_executor", "checkpoints.sql")
_LATEST, _ONE, _PAGE, _POSITION = _SQL["latest"], _SQL["one"], _SQL["page"], _SQL["position"]

LAST_POSITION = (1 << 63) - 1
"""A log position that sorts after every other."""

AFTER_ALL = "\U0010ffff"
"""An id that sorts after every other."""

_versions = msgspec.json.Decoder(dict[str, str]).decode

BlobKey = tuple[str, str, str, str]
"""(thread, namespace, channel, version)"""


class CheckpointReader:
    """``after`` of all methods: a position in ``run-events`` that the read model must have passed (None: as it is)."""

    def __init__(
        self, io: IoLoop, *, serde: SerializerProtocol | None = None, watermark: Watermark | None = None
    ) -> None:
        self.io = io
        self.serde = serde or project_serializer()
        """Decodes the checkpoints, on the caller's thread."""
        self.availability = Availability("worker.checkpoints")
        """Availability of Postgres for the runs of this process."""
        self._pool = io.backbone.pool
        self._watermark = watermark or Watermark(io.backbone.bus, io.backbone.positions)

    async def checkpoint(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, after: Position | None
    ) -> StoredCheckpoint | None:
        """Return one checkpoint (``checkpoint_id`` None: the latest of the namespace) with blobs and writes, in one query;
        None if absent."""
        partition = after.partition if after is not None else -1

        async def query() -> tuple[int, Any]:
            if checkpoint_id is None:
                row = await self._pool.fetchrow(_LATEST, thread_id, namespace, partition)
            else:
                row = await self._pool.fetchrow(_ONE, thread_id, namespace, partition, checkpoint_id)
            return row["position"], row

        row = await self._current(query, after)
        if row["greatest_id"] is not None:
            issue_ids_after(row["greatest_id"])
        if row["checkpoint_id"] is None:
            return None
        stored = _checkpoint_of(row, thread_id, namespace)
        stored.blobs = _blobs_of(row)
        return stored

    async def page(
        self,
        thread_id: str | None,
        namespace: str | None,
        *,
        metadata: str | None = None,
        checkpoint_id: str | None = None,
        below: str | None = None,
        before: tuple[int, str] | None = None,
        ended: StoredCheckpoint | None = None,
        limit: int,
        after: Position | None = None,
    ) -> list[StoredCheckpoint]:
        """Return the next checkpoints, newest first, with writes but without blobs. Without a thread: by id.

        ``before``: only those before this (log position, id); ``below``: only ids below; ``ended``: the last one of the page before.
        """
        await self.wait_for(after)
        if thread_id is not None:
            bound = before if before is not None else (LAST_POSITION, "")
            if ended is not None:
                bound = ended.log_position, ended.checkpoint_id
            values = (thread_id, namespace, *bound, metadata or "{}", limit, below or AFTER_ALL)
            if namespace is not None and checkpoint_id is None:
                rows = await self._pool.fetch(_PAGE, *values)
            else:
                last = ended.namespace if ended is not None else ""
                rows = await self._pool.fetch(_SQL["page_of_thread"], *values, checkpoint_id, last)
        else:
            rows = await self._pool.fetch(
                _SQL["page_anywhere"],
                namespace,
                below or AFTER_ALL,
                metadata or "{}",
                limit,
                checkpoint_id,
                ended.checkpoint_id if ended is not None else None,
                ended.namespace if ended is not None else None,
                ended.thread_id if ended is not None else None,
            )
        return [_checkpoint_of(row, row["thread_id"], row["ns"]) for row in rows]

    async def position_of(
        self, thread_id: str, namespace: str, checkpoint_id: str, after: Position | None
    ) -> int | None:
        """Return a checkpoint's position in the log; None if the read model does not have it."""
        await self.wait_for(after)
        position: int | None = await self._pool.fetchval(_SQL["position_of"], thread_id, namespace, checkpoint_id)
        return position

    async def blobs(self, keys: Iterable[BlobKey]) -> dict[BlobKey, Encoded]:
        """Return the values of channels at versions; deleted ones are absent."""
        columns = list(zip(*keys, strict=True))
        if not columns:
            return {}
        rows = await self._pool.fetch(_SQL["blobs"], *columns)
        return {(r["thread_id"], r["ns"], r["channel"], r["version"]): (r["type"], r["data"]) for r in rows}

    async def lineage(
        self,
        thread_id: str,
        namespace: str,
        checkpoint_id: str,
        channels: Sequence[str],
        *,
        inclusive: bool,
        after: Position | None,
    ) -> list[Ancestor]:
        """Return, for each channel, writes and nearest value along the ancestors, nearest first."""
        await self.wait_for(after)
        rows = await self._pool.fetch(_SQL["lineage"], thread_id, namespace, checkpoint_id, list(channels), inclusive)
        return [Ancestor(_blobs_of(row), _writes_of(row)) for row in rows]

    async def latest_without_run(self, thread_id: str, run_id: str) -> StoredCheckpoint | None:
        """Return the thread's latest checkpoint without those of the run."""
        row = await self._pool.fetchrow(_SQL["latest_without_run"], thread_id, run_id)
        if row is None:
            return None
        stored = _checkpoint_of(row, thread_id, "")
        stored.blobs = _blobs_of(row)
        return stored

    async def threads_of_runs(self, run_ids: Sequence[str]) -> list[str]:
        return [row["thread_id"] for row in await self._pool.fetch(_SQL["threads_of_runs"], list(run_ids))]

    async def recorded_so_far(self, thread_id: str) -> None:
        """Wait until the read model holds the thread's current records in the log. Raises LogUnavailable."""
        log = self.io.backbone.log
        partition = log.partition_of(thread_id)
        end = (await log.end_offsets(RUN_EVENTS))[partition]
        await self.wait_for(Position(partition, end - 1) if end else None)

    async def wait_for(self, after: Position | None) -> None:
        """Wait until the read model has passed the position."""
        if after is None or self._watermark.passed(after.partition, after.offset):
            return

        async def query() -> tuple[int, None]:
            return await self._pool.fetchval(_POSITION, after.partition), None

        await self._current(query, after)

    async def _current(self, query: Callable[[], Awaitable[tuple[int, Any]]], after: Position | None) -> Any:
        position, rows = await query()
        if after is None:
            return rows
        self._watermark.learn(after.partition, position)
        if position > after.offset:
            return rows
        async with self._watermark.waiter(after.partition) as waiter:
            while True:
                position, rows = await query()
                self._watermark.learn(after.partition, position)
                if position > after.offset:
                    return rows
                await waiter.wait()


def _checkpoint_of(row: Any, thread_id: str, namespace: str) -> StoredCheckpoint:
    return StoredCheckpoint(
        thread_id=thread_id,
        namespace=namespace,
        checkpoint_id=row["checkpoint_id"],
        log_position=row["log_position"],
        parent_id=row["parent_id"],
        run_id=row["run_id"],
        type=row["type"],
        data=row["data"],
        metadata=row["metadata"],
        versions=_versions(row["versions"]),
        writes=_writes_of(row),
    )


def _blobs_of(row: Any) -> dict[str, Encoded]:
    if row["channels"] is None:
        return {}
    return {c: (t, d) for c, t, d in zip(row["channels"], row["types"], row["datas"], strict=True)}


def _writes_of(row: Any) -> list[StoredWrite]:
    if row["task_ids"] is None:
        return []
    columns = (row[c] for c in ("task_paths", "task_ids", "idxs", "write_channels", "write_types", "write_datas"))
    return sorted(map(StoredWrite, *columns))
