"""Checkpoint lookup of a saver: first in the attempt's `Overlay`, then in the read model. All values are encoded.

Concurrency: used on the loop or thread of the saver's caller; every wait uses the caller's `Fetch`, so that the same
code serves async and blocking methods. Within a run a read waits as long as Postgres is unavailable; elsewhere it raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from langlog_backbone.log import Position
from langlog_backbone.process.unavailable import is_unavailable

from .stored_checkpoint import Encoded, StoredCheckpoint, StoredWrite, by_id, in_log_order

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..runtime.records import RecordSink
    from .overlay import Overlay
    from .reader import CheckpointReader

T = TypeVar("T")
Fetch = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Runs a coroutine on the I/O loop and waits for it: `IoLoop.call`, or blocking the calling thread."""

RETRY_PAUSE_S = 0.5
PAGE = 100
"""Checkpoints read in one query when a listing has no limit of its own."""


class CheckpointFilter(NamedTuple):
    """Conditions of a listing; None: no condition. ``below``: only checkpoints before this one; ``metadata``: JSON to contain."""

    thread_id: str | None
    namespace: str | None
    checkpoint_id: str | None = None
    below: str | None = None
    metadata: str | None = None
    limit: int | None = None


class Lineage(NamedTuple):
    """For each channel, the writes along the ancestors, newest first, and the value that they start from."""

    writes: dict[str, list[StoredWrite]]
    seeds: dict[str, Encoded]


class CheckpointLookup:
    """``records``: the sink of the saver's writes, so that reads wait for it where the overlay does not have it."""

    def __init__(
        self,
        reader: CheckpointReader,
        overlay: Overlay | None,
        records: RecordSink | None,
        task: Task | None,
    ) -> None:
        self._reader = reader
        self._log = reader.io.backbone.log
        self._overlay = overlay
        self._records = records
        self._task = task

    async def checkpoint(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, fetch: Fetch
    ) -> StoredCheckpoint | None:
        """Return one checkpoint with blobs and writes (``checkpoint_id`` None: the latest of the namespace), or None."""
        overlay = self._overlay
        if overlay is not None:
            complete = self._all_here(thread_id)
            if checkpoint_id is None:
                latest = overlay.latest(thread_id, namespace)
                if complete or overlay.knows_head(thread_id, namespace):
                    if latest is None:
                        return None
                    checkpoint_id = latest
                elif self._fresh(thread_id):  # thinning leaves the latest
                    checkpoint_id = latest
            if checkpoint_id is not None:
                known = overlay.get(thread_id, namespace, checkpoint_id)
                if known is not None or complete:
                    return await self._complete(known, fetch) if known is not None else None
        after = await self.stable_position(thread_id, fetch)
        stored: StoredCheckpoint | None = await self._query(
            lambda: self._reader.checkpoint(thread_id, namespace, checkpoint_id, after), fetch
        )
        if overlay is None:
            return stored
        if stored is not None:
            overlay.learn(stored)
        if checkpoint_id is None:
            overlay.learn_head(thread_id, namespace, stored)
            checkpoint_id = overlay.latest(thread_id, namespace)
        if checkpoint_id is None:
            return None
        known = overlay.get(thread_id, namespace, checkpoint_id)
        return await self._complete(known, fetch) if known is not None else None

    async def _complete(self, stored: StoredCheckpoint, fetch: Fetch) -> StoredCheckpoint:
        """Return the checkpoint with all its blobs: versions from before the attempt that were not read yet are read now."""
        if len(stored.blobs) < len(stored.versions):
            await self._fill([stored], fetch)
        return stored

    async def _fill(self, checkpoints: Sequence[StoredCheckpoint], fetch: Fetch) -> None:
        """Read the missing blobs, each once."""
        missing = {
            (c.thread_id, c.namespace, channel, version)
            for c in checkpoints
            for channel, version in c.versions.items()
            if channel not in c.blobs
        }
        if not missing:
            return
        blobs: dict[tuple[str, str, str, str], Encoded] = {}
        if self._overlay is not None:
            blobs = {key: blob for key in missing if (blob := self._overlay.blob(key)) is not None}
        wanted = missing - blobs.keys()
        if wanted:
            blobs.update(await self._query(lambda: self._reader.blobs(wanted), fetch))
        for checkpoint in checkpoints:
            for channel, version in checkpoint.versions.items():
                key = (checkpoint.thread_id, checkpoint.namespace, channel, version)
                if channel not in checkpoint.blobs and key in blobs:
                    checkpoint.blobs[channel] = blobs[key]
                    if self._overlay is not None:
                        self._overlay.learn_blob(key, blobs[key])

    async def listing(self, wanted: CheckpointFilter, fetch: Fetch) -> AsyncIterator[StoredCheckpoint]:
        """Return checkpoints with blobs and writes, newest first."""
        thread_id, namespace, checkpoint_id, below, metadata, left = wanted
        exhausted = thread_id is not None and self._all_here(thread_id)
        after = await self.stable_position(thread_id, fetch) if thread_id is not None and not exhausted else None
        before: tuple[int, str] | None = None
        if below is not None and thread_id is not None:
            position = await self._position_of(thread_id, namespace or "", below, after, fetch, query=not exhausted)
            if position is not None:
                before, below = (position, below), None
        order = by_id if thread_id is None else in_log_order
        known = self._overlay.all(thread_id, namespace) if self._overlay is not None else []
        mine = sorted(_matching(known, wanted, below, before), key=order)
        here = {by_id(stored) for stored in known}
        ended: StoredCheckpoint | None = None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page: list[StoredCheckpoint] = []
            if not exhausted:
                query = partial(
                    self._reader.page,
                    thread_id,
                    namespace,
                    metadata=metadata,
                    checkpoint_id=checkpoint_id,
                    below=below,
                    before=before,
                    ended=ended,
                    limit=size,
                    after=after,
                )
                page = await self._query(query, fetch)
                exhausted = len(page) < size
                ended = page[-1] if page else ended
            merged: list[StoredCheckpoint] = []
            for stored in page:
                while mine and order(mine[-1]) > order(stored):
                    merged.append(mine.pop())
                if by_id(stored) not in here:
                    self._add_writes(stored)
                    merged.append(stored)
            if exhausted:
                merged += reversed(mine)
                mine = []
            merged = merged[:left]
            await self._fill(merged, fetch)
            for stored in merged:
                yield stored
            if left is not None:
                left -= len(merged)
            if exhausted:
                return

    def _add_writes(self, stored: StoredCheckpoint) -> None:
        """Add this worker's own writes to a checkpoint that was read."""
        if self._overlay is not None:
            self._overlay.merge_writes(stored)

    async def _position_of(
        self, thread_id: str, namespace: str, checkpoint_id: str, after: Position | None, fetch: Fetch, *, query: bool
    ) -> int | None:
        """Return a checkpoint's position in the log; None if it is unknown in the namespace: then ids are compared, as savers do.

        A replayed graph looks up the state of a subgraph before a checkpoint of its parent in this way.
        """
        known = self._overlay.get(thread_id, namespace, checkpoint_id) if self._overlay is not None else None
        if known is not None or not query:
            return known.log_position if known is not None else None
        return await self._query(lambda: self._reader.position_of(thread_id, namespace, checkpoint_id, after), fetch)

    async def lineage(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str], fetch: Fetch
    ) -> Lineage:
        """Return the lineage of a checkpoint: known ancestors without a query, the rest by one query."""
        writes: dict[str, list[StoredWrite]] = {c: [] for c in channels}
        seeds: dict[str, Encoded] = {}
        wanted = list(channels)
        cursor = checkpoint_id
        inclusive = False
        if cursor is None:
            head = await self.checkpoint(thread_id, namespace, None, fetch)
            cursor = head.checkpoint_id if head is not None else None
        while cursor is not None and wanted and self._overlay is not None:
            known = self._overlay.get(thread_id, namespace, cursor)
            if known is None:
                break
            if inclusive:
                reached = [c for c in wanted if c in known.versions]
                if any(c not in known.blobs for c in reached):
                    await self._fill([known], fetch)
                _gather(known.writes, wanted, writes)
                seeds.update((c, known.blobs[c]) for c in reached if c in known.blobs)
                wanted = [c for c in wanted if c not in reached]
            cursor = known.parent_id
            inclusive = True
        if cursor is not None and wanted and not self._all_here(thread_id):
            after = await self.stable_position(thread_id, fetch)
            query = partial(
                self._reader.lineage, thread_id, namespace, cursor, wanted, inclusive=inclusive, after=after
            )
            for ancestor in await self._query(query, fetch):
                _gather(ancestor.writes, wanted, writes)
                seeds.update(ancestor.seeds)
                wanted = [c for c in wanted if c not in ancestor.seeds]
        return Lineage(writes, seeds)

    def _fresh(self, thread_id: str) -> bool:
        """Return whether the thread had no checkpoint before this attempt."""
        return self._task is not None and self._task.fresh and self._task.thread_id == thread_id

    def _all_here(self, thread_id: str) -> bool:
        """Return whether the overlay holds all checkpoints of the thread."""
        return self._overlay is not None and not self._overlay.thinned and self._fresh(thread_id)

    async def stable_position(self, thread_id: str, fetch: Fetch) -> Position | None:
        """Return the position that the read model must have passed before a query about the thread."""
        task, partition = self._task, self._log.partition_of(thread_id)
        own = task is not None and task.thread_id == thread_id
        offset = task.read_after if task is not None and own else -1
        if self._records is not None and not (own and self._overlay is not None and not self._overlay.thinned):
            await fetch(self._records.flush())
            offset = max(offset, self._records.last_offset(partition))
        return Position(partition, offset) if offset >= 0 else None

    async def _query(self, question: Callable[[], Coroutine[Any, Any, T]], fetch: Fetch) -> T:
        """Run a query. Within a run it waits as long as Postgres is unavailable: the run pauses, and does not fail."""
        while True:
            try:
                rows: T = await fetch(question())
            except Exception as error:
                if self._task is None or not is_unavailable(error):
                    raise
                self._reader.availability.failed(error)
                await fetch(asyncio.sleep(RETRY_PAUSE_S))  # nothing signals that Postgres is back
            else:
                self._reader.availability.succeeded()
                return rows

    async def caught_up(self) -> None:
        """Wait, on the I/O loop, until the read model holds everything that was written here."""
        if self._records is None:
            return
        await self._records.flush()
        for partition in range(self._log.partitions):
            offset = self._records.last_offset(partition)
            if offset >= 0:
                await self._reader.wait_for(Position(partition, offset))


def _matching(
    known: Sequence[StoredCheckpoint], wanted: CheckpointFilter, below: str | None, before: tuple[int, str] | None
) -> list[StoredCheckpoint]:
    """Return the checkpoints that match a listing, as the read model selects them (`CheckpointReader.page`)."""
    metadata = msgspec.json.decode(wanted.metadata) if wanted.metadata else {}
    return [
        c
        for c in known
        if (wanted.checkpoint_id is None or c.checkpoint_id == wanted.checkpoint_id)
        and (below is None or c.checkpoint_id < below)
        and (before is None or (c.log_position, c.checkpoint_id) < before)
        and _contains(msgspec.json.decode(c.metadata), metadata)
    ]


def _gather(writes: Sequence[StoredWrite], wanted: Sequence[str], into: dict[str, list[StoredWrite]]) -> None:
    """Collect the writes of the wanted channels, newest first."""
    for write in reversed(writes):
        if write.channel in wanted:
            into[write.channel].append(write)


def _contains(value: Any, wanted: Any) -> bool:
    """Return whether ``metadata`` contains the wanted members, like jsonb's containment in the read model."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(k in value and _contains(value[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(value, list) and all(any(_contains(v, w) for v in value) for w in wanted)
    return type(value) is type(wanted) and bool(value == wanted)
