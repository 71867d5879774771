"""`LogStore`: the store of graph nodes. Writes are commands in the log, reads use the read model.

A write returns once the read model holds it, so every later read, in a node or over HTTP, returns it. Within one batch
reads see the state before its writes, and of several writes to one item the last one counts, as in langgraph's own stores. Texts
of a batch are embedded together, before anything is written.

Concurrency: usable from any loop or thread; the I/O is done on the I/O loop. It has no durable state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from langlog_backbone.postgres.database import Parameters
from langlog_backbone.process.retry import Availability
from langlog_backbone.project.json_handlers import NO_CONTEXT
from langlog_backbone.store.conditions import address_fault, value_filter
from langlog_backbone.store.reader import Row, StoreReader
from langlog_backbone.store.refresh import Refreshes
from langlog_backbone.values.json_shape import has_nul
from langlog_schemas.commands import ABSENT, StoreOp, WriteStore
from msgspec.structs import replace

from ..runtime.command_sender import SOURCE, CommandSender
from ..runtime.patient_reads import PatientReads
from ..values.json_cipher import JsonCipher, context_of
from ..values.library_features import check_namespace
from ..values.storable import storable

if TYPE_CHECKING:
    from ..runtime.io_loop import IoLoop
    from .embeddings import Embedder, Text

ROWS_MAX = 1_000_000
"""Maximum number of rows of one response: nodes choose their own limits."""


class LogStore(BaseStore):
    """The store of nodes; one per process. ``ttl`` is the ``store.ttl`` section of langgraph.json; without ``embedder``
    there is no search by meaning. ``json``: seals values."""

    supports_ttl = True

    def __init__(
        self,
        io: IoLoop,
        *,
        sender: CommandSender | None = None,
        ttl: TTLConfig | None = None,
        embedder: Embedder | None = None,
        json: JsonCipher | None = None,
    ) -> None:
        self._io = io
        self._json = json or JsonCipher()
        self._reader = StoreReader(PatientReads(io.backbone.pool, Availability("worker.store")).fetch, most=ROWS_MAX)
        self._refreshes = Refreshes(io.backbone.log, SOURCE)
        self._sender = sender or CommandSender(io)
        self._embedder = embedder
        self.ttl_config = ttl

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations. Raises ValueError for an invalid one, NotStorable, EmbeddingFailed and CommandRefused.

        Waits as long as log or read model are unavailable.
        """
        return await self._io.call(self._perform(self._checked(ops)))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Like `abatch`; blocks the calling thread, which must not be that of the I/O loop."""
        return self._io.call_blocking(self._perform(self._checked(ops)), "store")

    async def stop(self) -> None:
        """On the I/O loop: append the refreshes of reads."""
        await self._refreshes.stop()

    # on the caller's thread

    def _checked(self, ops: Iterable[Op]) -> list[Op | StoreWrite]:
        checked: list[Op | StoreWrite] = []
        for op in ops:
            check_namespace(op)
            if isinstance(op, PutOp):
                checked.append(self._write(op))
            else:
                checked.append(_plain(op) if isinstance(op, SearchOp) and op.filter else op)
        return checked

    def _write(self, op: PutOp) -> StoreWrite:
        if not op.namespace:
            raise ValueError("Namespace cannot be empty.")
        value = None if op.value is None else storable(op.value)
        if "\0" in "".join((op.key, *op.namespace)) or (value is not None and has_nul(value)):
            raise ValueError("NUL characters cannot be stored")
        if fault := address_fault(op.namespace, op.key):
            raise ValueError(fault)
        texts: list[Text] = []
        if self._embedder is not None and op.value is not None and op.index is not False:
            texts = self._embedder.texts_of(op.value, op.index)
        raw = ABSENT if value is None else msgspec.Raw(value)
        put = StoreOp(key=op.key, value=raw, index=op.index, ttl=op.ttl)
        return StoreWrite(tuple(op.namespace), put, texts, _encryption_context() if self._json.any else NO_CONTEXT)

    # on the I/O loop

    async def _perform(self, ops: list[Op | StoreWrite]) -> list[Result]:
        writes: dict[tuple[tuple[str, ...], str], StoreWrite] = {}
        for op in ops:
            if isinstance(op, StoreWrite):
                item_key = op.namespace, op.op.key
                writes.pop(item_key, None)
                writes[item_key] = op
        results: list[Result] = [None] * len(ops)
        texts = [text for write in writes.values() for text in write.texts]
        if texts and self._embedder is not None:
            vectors, _ = await asyncio.gather(self._embedder.vectors(texts), self._read_all(ops, results))
        else:
            vectors = []
            await self._read_all(ops, results)
        next_vectors = iter(vectors)
        commands: dict[tuple[str, ...], list[StoreOp]] = {}
        for write in writes.values():
            put = replace(write.op, vectors=[next(next_vectors) for _ in write.texts]) if write.texts else write.op
            if put.value and self._json.any:
                sealed = await self._json.seal(bytes(put.value), write.context, "store", "value")
                put = replace(put, value=msgspec.Raw(sealed))
            commands.setdefault(write.namespace, []).append(put)
        if commands:
            await self._sender.send(
                [WriteStore(namespace=list(item_key), ops=puts) for item_key, puts in commands.items()]
            )
        return results

    async def _read_all(self, ops: list[Op | StoreWrite], results: list[Result]) -> None:
        reads = [(n, self._read(op)) for n, op in enumerate(ops) if not isinstance(op, StoreWrite)]
        if len(reads) == 1:
            results[reads[0][0]] = await reads[0][1]
        elif reads:
            fetched = await asyncio.gather(*(read for _, read in reads))
            for (n, _), result in zip(reads, fetched, strict=True):
                results[n] = result

    def _read(self, op: Op) -> Coroutine[Any, Any, Result]:
        match op:
            case GetOp():
                return self._get(op)
            case SearchOp():
                return self._search(op)
            case ListNamespacesOp():
                return self._namespaces(op)
            case _:
                raise ValueError(f"Unknown operation type: {type(op)}")

    async def _get(self, op: GetOp) -> Result:
        row = await self._reader.get(op.namespace, op.key)
        if row is None:
            return None
        if op.refresh_ttl:
            self._refreshes.note([row])
        return Item(
            value=await self._value(row),
            key=op.key,
            namespace=op.namespace,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    async def _search(self, op: SearchOp) -> Result:
        vector = None
        if op.query and self._embedder is not None:
            vector = await self._embedder.query(op.query)
        rows = await self._reader.search(op.namespace_prefix, op.filter, op.limit, op.offset, vector)
        if op.refresh_ttl:
            self._refreshes.note(rows)
        return [_search_item(row, await self._value(row), scored=vector is not None) for row in rows]

    async def _value(self, row: Row) -> dict[str, Any]:
        value: dict[str, Any] = msgspec.json.decode(await self._json.open(row["value"].encode()))
        return value

    async def _namespaces(self, op: ListNamespacesOp) -> Result:
        patterns = [(match.match_type, match.path) for match in op.match_conditions or ()]
        return [tuple(x) for x in await self._reader.namespaces(patterns, op.max_depth, op.limit, op.offset)]


def _plain(op: SearchOp) -> SearchOp:
    """Return the filter as plain JSON. Raises ValueError for an invalid one."""
    encoded = storable(op.filter, "filter")
    if has_nul(encoded):
        raise ValueError("NUL characters cannot be stored")
    wanted = msgspec.json.decode(encoded)
    value_filter(wanted, Parameters())
    return op._replace(filter=wanted)


class StoreWrite(msgspec.Struct, frozen=True):
    """A checked `PutOp`, with its value encoded by the caller."""

    namespace: tuple[str, ...]
    op: StoreOp
    texts: list[Text]
    context: str = NO_CONTEXT
    """Encryption context of the value."""


def _encryption_context() -> str:
    """Return the encryption context of the run whose node is executing."""
    config = var_child_runnable_config.get() or {}
    return context_of(config.get("configurable") or {})


def _search_item(row: Row, value: dict[str, Any], *, scored: bool) -> SearchItem:
    return SearchItem(
        namespace=tuple(row["namespace"]),
        key=row["key"],
        value=value,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        score=row["score"] if scored else None,
    )
