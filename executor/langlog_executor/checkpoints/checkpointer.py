"""`LogCheckpointer`: langgraph's saver on top of the log. Writes are events; reads are served from this attempt's overlay,
then from Postgres.

When a put returns, `RunRecords` has it, which keeps the order and appends in the background; the put waits for the append
if the run has durability "sync", and always outside a run. The worker flushes before it reports a run's end, so
no write of a run is missing when its outcome is known.

Concurrency: used by the graph loop and threads of one run; encoding happens on the caller's thread, all I/O on the I/O loop. It holds
no durable state: a new attempt starts from the read model.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langlog_backbone.time.sources import random_hex
from langlog_schemas import checkpoints, commands

from ..graphs.run_input import PrivateText, without_private
from ..runtime.command_sender import CommandSender
from ..values import encoding
from ..values.json_cipher import encryption_context
from ..values.library_features import DeltaChannelHistory
from .emission import CheckpointEmission
from .lookup import PAGE, CheckpointFilter, CheckpointLookup, Fetch
from .overlay import Overlay
from .serde import ProjectSerializer, json_cipher, pack, unpack
from .stored_checkpoint import StoredCheckpoint, StoredWrite

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..runtime.records import RecordSink
    from .reader import CheckpointReader

T = TypeVar("T")
DURABILITY = "__pregel_durability"
"""Key in ``configurable`` under which langgraph passes the requested durability."""


class LogCheckpointer(BaseCheckpointSaver[str]):
    """``records`` None: read only. ``task`` None: outside a run, reads wait for the projection of own writes.

    ``overlay`` keeps written and read checkpoints for further reads; by default within a run only.
    """

    def __init__(
        self,
        records: RecordSink | None,
        reader: CheckpointReader,
        *,
        task: Task | None = None,
        serde: SerializerProtocol | None = None,
        sender: CommandSender | None = None,
        overlay: Overlay | None = None,
    ) -> None:
        given = serde or reader.serde
        if isinstance(given, ProjectSerializer):
            self.serde = (
                given  # all that the library's constructor does, which checks it against a protocol for each run
            )
        else:
            super().__init__(serde=given)
        self._records = records
        self._reader = reader
        self._io = reader.io
        self._task = task
        self._sender = sender
        self._overlay = overlay if overlay is not None or task is None else Overlay()
        self._emission = CheckpointEmission(records, self._overlay, task)
        self._lookup = CheckpointLookup(reader, self._overlay, records, task)

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """Return a version that is greater as text. The random half keeps branches apart that continue from the same version."""
        if current is None:
            number = 0
        elif isinstance(current, int):
            number = current
        else:
            number = int(current.partition(".")[0])
        return f"{number + 1:016}.{random_hex(6)}"

    # writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        stored = self._put(config, checkpoint, metadata, new_versions)
        if self._must_wait(config):
            await self._emission.sink.flush()
        return stored

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        stored = self._put(config, checkpoint, metadata, new_versions)
        if self._must_wait(config):
            self._emission.sink.flush_blocking()
        return stored

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._put_writes(config, writes, task_id, task_path)
        if self._must_wait(config):
            await self._emission.sink.flush()

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._put_writes(config, writes, task_id, task_path)
        if self._must_wait(config):
            self._emission.sink.flush_blocking()

    def _must_wait(self, config: RunnableConfig) -> bool:
        if self._task is None or self._emission.sink.crowded:
            return True
        return bool(config["configurable"].get(DURABILITY) == "sync")

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        configurable = config["configurable"]
        thread_id, namespace = _space(config)
        with encryption_context(configurable):
            body = self._checkpoint_body(config, namespace, checkpoint, metadata, new_versions)
        self._emission.checkpoint(thread_id, body)
        return _config(thread_id, namespace, body.checkpoint_id)

    def _checkpoint_body(
        self,
        config: RunnableConfig,
        namespace: str,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> checkpoints.CheckpointBody:
        values = checkpoint["channel_values"]
        kind, data = pack(self.serde, {k: v for k, v in checkpoint.items() if k != "channel_values"})
        saved = _metadata(config, metadata)
        run_id = saved.get("run_id") or (self._task.run_id if self._task is not None else None)
        return checkpoints.CheckpointBody(
            namespace=namespace,
            checkpoint_id=checkpoint["id"],
            parent_id=config["configurable"].get("checkpoint_id") or None,
            type=kind,
            data=data,
            metadata=json_cipher(self.serde).sealed_metadata(encoding.encode(saved)),
            versions={c: str(v) for c, v in checkpoint["channel_versions"].items() if c in values},
            blobs=[
                checkpoints.ChannelBlob(channel, str(version), *pack(self.serde, values[channel]))
                for channel, version in new_versions.items()
                if channel in values
            ],
            run_id=str(run_id) if run_id else None,
        )

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        thread_id, namespace = _space(config)
        with encryption_context(config["configurable"]):
            body = checkpoints.WritesBody(
                namespace=namespace,
                checkpoint_id=config["configurable"]["checkpoint_id"],
                task_id=task_id,
                task_path=task_path,
                writes=[
                    checkpoints.Write(WRITES_IDX_MAP.get(channel, index), channel, *pack(self.serde, value))
                    for index, (channel, value) in enumerate(writes)
                ],
            )
        self._emission.writes(thread_id, body)

    # reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._get(config, self._io.call)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return _at_once(self._get(config, self._blocking))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - langgraph calls it so
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for listed in self._list(config, filter, before, limit, self._io.call):
            yield listed

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - langgraph calls it so
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        listing = self._list(config, filter, before, limit, self._blocking)
        while True:
            try:
                yield _at_once(anext(listing))
            except StopAsyncIteration:
                return

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._history(config, channels, self._io.call)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return _at_once(self._history(config, channels, self._blocking))

    async def _get(self, config: RunnableConfig, fetch: Fetch) -> CheckpointTuple | None:
        thread_id, namespace = _space(config)
        stored = await self._lookup.checkpoint(
            thread_id, namespace, config["configurable"].get("checkpoint_id") or None, fetch
        )
        return self._tuple_of(stored) if stored is not None else None

    async def _list(
        self,
        config: RunnableConfig | None,
        metadata: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
        fetch: Fetch,
    ) -> AsyncIterator[CheckpointTuple]:
        configurable = config["configurable"] if config is not None else {}
        wanted = CheckpointFilter(
            str(configurable["thread_id"]) if config is not None else None,
            configurable.get("checkpoint_ns"),
            configurable.get("checkpoint_id") or None,
            (before["configurable"].get("checkpoint_id") or None) if before is not None else None,
            encoding.encode_text(metadata) if metadata else None,
            limit,
        )
        async for stored in self._lookup.listing(wanted, fetch):
            yield self._tuple_of(stored)

    async def _history(
        self, config: RunnableConfig, channels: Sequence[str], fetch: Fetch
    ) -> Mapping[str, DeltaChannelHistory]:
        if not channels:
            return {}
        checkpoint_id = config["configurable"].get("checkpoint_id") or None
        writes, seeds = await self._lookup.lineage(*_space(config), checkpoint_id, channels, fetch)
        result: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            entry: DeltaChannelHistory = {
                "writes": [
                    (w.task_id, w.channel, unpack(self.serde, w.type, w.data)) for w in reversed(writes[channel])
                ]
            }
            if channel in seeds:
                entry["seed"] = unpack(self.serde, *seeds[channel])
            result[channel] = entry
        return result

    def _tuple_of(self, stored: StoredCheckpoint) -> CheckpointTuple:
        serde = self.serde
        checkpoint: Checkpoint = unpack(serde, stored.type, stored.data)
        checkpoint["channel_values"] = {
            channel: unpack(serde, *blob) for channel, blob in stored.blobs.items() if channel in stored.versions
        }
        return CheckpointTuple(
            config=_config(stored.thread_id, stored.namespace, stored.checkpoint_id),
            checkpoint=checkpoint,
            metadata=msgspec.json.decode(json_cipher(serde).opened(stored.metadata.encode())),
            parent_config=(
                _config(stored.thread_id, stored.namespace, stored.parent_id) if stored.parent_id is not None else None
            ),
            pending_writes=[(w.task_id, w.channel, unpack(serde, w.type, w.data)) for w in stored.writes],
        )

    async def _blocking(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """`Fetch` for the sync methods: blocks the calling thread."""
        return self._io.call_blocking(coroutine, "checkpointer")

    # removing and copying

    async def adelete_thread(self, thread_id: str) -> None:
        await self._delete([commands.DeleteCheckpoints(thread_id=thread_id)], self._io.call)

    def delete_thread(self, thread_id: str) -> None:
        _at_once(self._delete([commands.DeleteCheckpoints(thread_id=thread_id)], self._blocking))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._delete_for_runs(run_ids, self._io.call)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        _at_once(self._delete_for_runs(run_ids, self._blocking))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._delete(_prunings(thread_ids, strategy), self._io.call)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        _at_once(self._delete(_prunings(thread_ids, strategy), self._blocking))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._copy(source_thread_id, target_thread_id, self._io.call)
        await self._emission.sink.flush()

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        _at_once(self._copy(source_thread_id, target_thread_id, self._blocking))
        self._emission.sink.flush_blocking()

    async def _delete_for_runs(self, run_ids: Sequence[str], fetch: Fetch) -> None:
        if run_ids:
            await fetch(self._lookup.caught_up())
            threads = await fetch(self._reader.threads_of_runs(run_ids))
            await self._delete([commands.DeleteCheckpoints(thread_id=t, run_ids=list(run_ids)) for t in threads], fetch)

    async def _delete(self, sent: Sequence[commands.DeleteCheckpoints], fetch: Fetch) -> None:
        if not sent:
            return
        if self._sender is None:
            self._sender = CommandSender(self._io)
        if self._records is not None:
            await fetch(self._records.flush())
        await fetch(self._sender.send(sent))
        if self._overlay is not None:
            for command in sent:
                self._overlay.forget(command.thread_id)

    async def _copy(self, source: str, target: str, fetch: Fetch) -> None:
        after = await self._lookup.stable_position(source, fetch)
        copied: list[StoredCheckpoint] = []
        ended: StoredCheckpoint | None = None
        while True:
            page = await fetch(self._reader.page(source, None, ended=ended, limit=PAGE, after=after))
            copied += page
            if len(page) < PAGE:
                break
            ended = page[-1]
        sent: set[tuple[str, str, str]] = set()
        for checkpoint in reversed(copied):  # oldest first: a blob travels with the first checkpoint that names it
            new = {c: v for c, v in checkpoint.versions.items() if (checkpoint.namespace, c, v) not in sent}
            blobs = await fetch(self._reader.blobs((source, checkpoint.namespace, c, v) for c, v in new.items()))
            sent.update((checkpoint.namespace, c, v) for c, v in new.items())
            self._emission.checkpoint(
                target,
                checkpoints.CheckpointBody(
                    namespace=checkpoint.namespace,
                    checkpoint_id=checkpoint.checkpoint_id,
                    parent_id=checkpoint.parent_id,
                    type=checkpoint.type,
                    data=checkpoint.data,
                    metadata=checkpoint.metadata.encode(),
                    versions=checkpoint.versions,
                    blobs=[checkpoints.ChannelBlob(c, v, *blob) for (_, _, c, v), blob in blobs.items()],
                    run_id=checkpoint.run_id,
                ),
            )
            tasks: dict[tuple[str, str], list[StoredWrite]] = {}
            for write in checkpoint.writes:
                tasks.setdefault((write.task_path, write.task_id), []).append(write)
            for (task_path, task_id), writes in tasks.items():
                self._emission.writes(
                    target,
                    checkpoints.WritesBody(
                        namespace=checkpoint.namespace,
                        checkpoint_id=checkpoint.checkpoint_id,
                        task_id=task_id,
                        task_path=task_path,
                        writes=[checkpoints.Write(w.idx, w.channel, w.type, w.data) for w in writes],
                    ),
                )


for _method in (LogCheckpointer.put_writes, LogCheckpointer.aput_writes):
    # langgraph looks at it in each run, to see whether it takes a task's path
    setattr(_method, "__signature__", inspect.signature(_method))  # noqa: B010 - functions declare no such member


def _space(config: RunnableConfig) -> tuple[str, str]:
    configurable = config["configurable"]
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns") or ""


def _config(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


def _metadata(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Return the library's metadata of the checkpoint, with the run's metadata and the scalars of its configurable."""
    saved: dict[str, Any] = dict(get_serializable_checkpoint_metadata(config, metadata))
    given = without_private(config.get("metadata") or {})
    for name, held in config["configurable"].items():
        if isinstance(held, PrivateText) and name not in given:
            saved.pop(name, None)
    for key, value in given.items():
        if key not in saved and not key.startswith("__"):
            saved[key] = value
    parents = config["configurable"].get("checkpoint_map")
    if parents:
        saved["checkpoint_map"] = parents
    return saved


def _prunings(thread_ids: Sequence[str], strategy: str) -> list[commands.DeleteCheckpoints]:
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f"Unknown pruning strategy: {strategy}")
    return [commands.DeleteCheckpoints(thread_id=t, keep_latest=strategy == "keep_latest") for t in thread_ids]


def _at_once(coroutine: Awaitable[T]) -> T:
    """Return the result of a coroutine that never suspends, because its `Fetch` blocks instead."""
    steps = coroutine.__await__()
    try:
        next(steps)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise RuntimeError("suspended in a synchronous call")
