"""A sandbox for a graph: its checkpointer writes to memory, its store is a copy, and its frames are
dropped.

Concurrency: one sandbox for one attempt, on the event loop that made it; sync nodes use it from threads. It dies with its process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from langgraph.store.base import BaseStore, Op, PutOp, Result
from langgraph.store.memory import InMemoryStore
from langlog_backbone.log.partitioner import partition_of
from langlog_schemas.events import Event

from ..checkpoints.checkpointer import LogCheckpointer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langlog_schemas.messages import Task

    from ..checkpoints.overlay import Overlay
    from ..checkpoints.reader import CheckpointReader

Items = list[tuple[tuple[str, ...], str, dict[str, Any]]]
"""(namespace, key, value)"""


class ListeningSink:
    """Implements `runtime.records.RecordSink`: events go to one listener instead of the log."""

    crowded = False

    def __init__(self, listener: Callable[[Event], None]) -> None:
        """``listener`` is called with each event at once, one after the other, on the thread that emits it; it must not
        raise."""
        self._listener = listener
        self._turn = threading.Lock()

    def emit(self, event: Event) -> None:
        with self._turn:
            self._listener(event)

    async def flush(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def flush_blocking(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def last_offset(self, partition: int) -> int:
        return -1


class _Log:
    def partition_of(self, key: str) -> int:
        return partition_of(key, 1)

    partitions = 1


class _Backbone:
    log = _Log()


class _Io:
    """Replaces `IoLoop` on the only loop."""

    backbone = _Backbone()

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await coroutine


class _Reader:
    """Replaces `CheckpointReader` with an empty read model: all checkpoints are in the overlay."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self.io = _Io()
        self.serde = serde

    async def checkpoint(self, *_: Any) -> None:
        return None

    async def page(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def blobs(self, keys: Iterable[Any]) -> dict[Any, Any]:
        return {}

    async def lineage(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def threads_of_runs(self, run_ids: Sequence[str]) -> list[str]:
        return []

    async def wait_for(self, _: Any) -> None:
        """Return at once: no event will arrive."""


class _Refuse:
    """Replaces `CommandSender`, for the removal of checkpoints: a sandbox has nothing to remove."""

    async def send(self, commands: Sequence[Any]) -> None:
        """Change nothing."""


def sandbox_reader(serde: SerializerProtocol) -> CheckpointReader:
    """Return a reader that knows no checkpoints. To be called on the event loop."""
    return cast("CheckpointReader", _Reader(serde))


def sandboxed(serde: SerializerProtocol, overlay: Overlay, records: ListeningSink, task: Task) -> LogCheckpointer:
    """Return the workers' checkpointer on the content of an overlay. ``task.fresh`` must be set: nothing is read from elsewhere."""
    reader = sandbox_reader(serde)
    return LogCheckpointer(records, reader, task=task, overlay=overlay, sender=cast(Any, _Refuse()))


class SandboxStore(BaseStore):
    """The past store; writes stay in memory. Its items are read at the first access: most graphs have none.

    A search by meaning works as without an index: in order of the last change.
    """

    supports_ttl = True

    def __init__(self, load: Callable[[], Items]) -> None:
        self._load = load
        self._inner: InMemoryStore | None = None
        self._turn = threading.Lock()
        self.writes: list[PutOp] = []

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        ops = [op._replace(ttl=None) if isinstance(op, PutOp) else op for op in ops]
        self.writes += [op for op in ops if isinstance(op, PutOp)]
        return self._opened().batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, ops)

    def _opened(self) -> InMemoryStore:
        with self._turn:
            if self._inner is None:
                self._inner = InMemoryStore()
                for namespace, key, value in self._load():
                    self._inner.put(namespace, key, value)
            return self._inner
