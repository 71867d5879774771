"""The calls by which a graph on the host reads and writes checkpoints. Values pass as bytes; their types begin with ``js+``.

Concurrency: on the I/O loop, in the order in which the graph made the calls. What would hold the loop (handlers of the project that
encrypt, large values that are compressed) is done in a thread, and later calls wait for it. It holds nothing that must survive.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from langlog_schemas import checkpoints, commands

from ..checkpoints.emission import CheckpointEmission
from ..checkpoints.lookup import CheckpointFilter, CheckpointLookup
from ..checkpoints.overlay import Overlay
from ..checkpoints.serde import JAVASCRIPT, OtherLanguage, ProjectSerializer, json_cipher, packed, unpacked
from ..runtime.command_sender import CommandSender
from ..values.json_cipher import encryption_context

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..checkpoints.reader import CheckpointReader
    from ..checkpoints.stored_checkpoint import StoredCheckpoint, StoredWrite
    from ..runtime.records import RecordSink

T = TypeVar("T")
HELD_UP_BYTES = 256_000
"""Size in bytes from which a value is compressed in a thread."""
PAGE = 50
"""Number of checkpoints that are sent at once."""
NO_MORE = 0
"""Handle of a listing that is complete."""


class CheckpointCalls:
    """The checkpoint calls of one job. ``records`` None: it only reads. ``task`` None: outside a run."""

    def __init__(
        self,
        records: RecordSink | None,
        reader: CheckpointReader,
        *,
        task: Task | None = None,
        overlay: Overlay | None = None,
        configurable: Mapping[str, Any] | None = None,
    ) -> None:
        """``configurable``: has the encryption context."""
        self._reader = reader
        self._serde = reader.serde
        self._task = task
        self._records = records
        self._overlay = overlay if overlay is not None or task is None else Overlay()
        self._emission = CheckpointEmission(records, self._overlay, task)
        self._lookup = CheckpointLookup(reader, self._overlay, records, task)
        self._configurable = configurable or {}
        self._listings: dict[int, AsyncGenerator[StoredCheckpoint, None]] = {}
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._threaded = isinstance(self._serde, ProjectSerializer) and self._serde.ciphers.holds_thread
        self._calls: dict[str, Callable[..., Awaitable[Any] | None]] = {
            "put": self._put,
            "writes": self._writes,
            "get": self._get,
            "list": self._list,
            "next": self._next,
            "close": self._close,
            "lineage": self._lineage,
            "delete": self._delete,
            "flush": self._flush,
        }

    def knows(self, name: str) -> bool:
        return name in self._calls

    def call(self, name: str, args: list[Any]) -> Awaitable[Any] | None:
        """Start a call. Raises immediate errors; later ones are those of the returned awaitable."""
        return self._calls[name](*args)

    async def settled(self) -> None:
        """Wait until all writes so far are with the records."""
        async with self._turn:
            pass

    # writing

    def _put(
        self,
        thread_id: str,
        namespace: str,
        parent_id: str | None,
        checkpoint_id: str,
        kind: str,
        data: bytes,
        metadata: bytes,
        versions: dict[str, str],
        blobs: list[tuple[str, str, str, bytes]],
        durable: bool,  # noqa: FBT001 - a member of the message
    ) -> Awaitable[None] | None:
        run_id = None if self._task is None else self._task.run_id

        def write() -> None:
            with encryption_context(self._configurable):
                body = checkpoints.CheckpointBody(
                    namespace=namespace,
                    checkpoint_id=checkpoint_id,
                    parent_id=parent_id,
                    type=(whole := self._packed(kind, data))[0],
                    data=whole[1],
                    metadata=json_cipher(self._serde).sealed_metadata(metadata),
                    versions=versions,
                    blobs=[
                        checkpoints.ChannelBlob(channel, version, *self._packed(type_, value))
                        for channel, version, type_, value in blobs
                    ],
                    run_id=run_id,
                )
            self._emission.checkpoint(thread_id, body)

        return self._write(write, len(data) + sum(len(blob[3]) for blob in blobs), durable=durable)

    def _writes(
        self,
        thread_id: str,
        namespace: str,
        checkpoint_id: str,
        task_id: str,
        task_path: str,
        writes: list[tuple[int, str, str, bytes]],
        durable: bool,  # noqa: FBT001 - as above
    ) -> Awaitable[None] | None:
        def write() -> None:
            with encryption_context(self._configurable):
                body = checkpoints.WritesBody(
                    namespace=namespace,
                    checkpoint_id=checkpoint_id,
                    task_id=task_id,
                    task_path=task_path,
                    writes=[
                        checkpoints.Write(index, channel, *self._packed(type_, value))
                        for index, channel, type_, value in writes
                    ],
                )
            self._emission.writes(thread_id, body)

        return self._write(write, sum(len(write[3]) for write in writes), durable=durable)

    def _packed(self, kind: str, data: bytes) -> tuple[str, bytes]:
        if not kind.startswith(JAVASCRIPT):
            raise ValueError(f"a graph host writes values of type {JAVASCRIPT}…, not {kind}")
        return packed(self._serde, kind, data)

    def _write(self, write: Callable[[], None], size: int, *, durable: bool) -> Awaitable[None] | None:
        if not self._threaded and size < HELD_UP_BYTES and not self._turn.locked():
            write()
            return self._recorded(durable=durable)
        return self._in_turn(write, durable=durable)

    async def _in_turn(self, write: Callable[[], None], *, durable: bool) -> None:
        async with self._turn:
            await asyncio.to_thread(write)
        waiting = self._recorded(durable=durable)
        if waiting is not None:
            await waiting

    def _recorded(self, *, durable: bool) -> Awaitable[None] | None:
        sink = self._emission.sink
        return sink.flush() if durable or sink.crowded else None

    async def _flush(self) -> None:
        await self.settled()
        if self._records is not None:
            await self._records.flush()

    # reading

    async def _get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> list[Any] | None:
        await self.settled()
        stored = await self._lookup.checkpoint(thread_id, namespace, checkpoint_id, _here)
        return None if stored is None else await self._opened([stored], lambda: self._shown(stored))

    async def _list(
        self,
        thread_id: str | None,
        namespace: str | None,
        checkpoint_id: str | None,
        before: str | None,
        metadata: bytes | None,
        limit: int | None,
    ) -> list[Any]:
        await self.settled()
        wanted = CheckpointFilter(
            thread_id, namespace, checkpoint_id, before, None if metadata is None else metadata.decode(), limit
        )
        handle = next(self._numbers)
        self._listings[handle] = self._lookup.listing(wanted, _here)  # type: ignore[assignment]  # it is a generator
        return await self._next(handle)

    async def _next(self, handle: int) -> list[Any]:
        listing = self._listings.get(handle)
        if listing is None:
            return [NO_MORE, []]
        page: list[StoredCheckpoint] = []
        async for stored in listing:
            page.append(stored)
            if len(page) == PAGE:
                break
        else:
            self._listings.pop(handle, None)
            handle = NO_MORE
        return [handle, await self._opened(page, lambda: [self._shown(stored) for stored in page])]

    async def _close(self, handle: int) -> None:
        listing = self._listings.pop(handle, None)
        if listing is not None:
            await listing.aclose()

    async def _lineage(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: list[str]
    ) -> dict[str, Any]:
        await self.settled()
        writes, seeds = await self._lookup.lineage(thread_id, namespace, checkpoint_id, channels, _here)

        def opened() -> dict[str, Any]:
            return {
                channel: [
                    [self._written(write) for write in reversed(writes[channel])],
                    list(self._unpacked(*seeds[channel])) if channel in seeds else None,
                ]
                for channel in channels
            }

        return await asyncio.to_thread(opened)

    async def _opened(self, checkpoints: list[StoredCheckpoint], opened: Callable[[], T]) -> T:
        """Decompress in a thread if it would block the loop."""
        size = sum(len(one.data) + sum(len(data) for _, data in one.blobs.values()) for one in checkpoints)
        return await asyncio.to_thread(opened) if self._threaded or size > HELD_UP_BYTES else opened()

    def _shown(self, stored: StoredCheckpoint) -> list[Any]:
        kind, data = self._unpacked(stored.type, stored.data)
        return [
            stored.thread_id,
            stored.namespace,
            stored.checkpoint_id,
            stored.parent_id,
            kind,
            data,
            json_cipher(self._serde).opened(stored.metadata.encode()),
            {
                channel: list(self._unpacked(*blob))
                for channel, blob in stored.blobs.items()
                if channel in stored.versions
            },
            [self._written(write) for write in stored.writes],
        ]

    def _written(self, write: StoredWrite) -> list[Any]:
        return [write.task_id, write.channel, *self._unpacked(write.type, write.data)]

    def _unpacked(self, kind: str, data: bytes) -> tuple[str, bytes]:
        kind, data = unpacked(self._serde, kind, data)
        if not kind.startswith(JAVASCRIPT):
            raise OtherLanguage(
                "a checkpoint of this thread was written by a graph in Python, whose values a graph in JavaScript cannot read: "
                "use another thread, or the graph that has written it"
            )
        return kind, data

    # removing

    async def _delete(self, thread_id: str) -> None:
        await self._flush()
        await CommandSender(self._reader.io).send([commands.DeleteCheckpoints(thread_id=thread_id)])
        if self._overlay is not None:
            self._overlay.forget(thread_id)


async def _here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """`Fetch` on the I/O loop itself."""
    return await coroutine
