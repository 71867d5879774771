"""`LogStore`: the store that graph nodes get. Writes are commands in the log, reads come from the read model.

A write returns once the read model holds it, so whoever reads afterwards, in a node or over HTTP, finds it. Within one batch
reads see the state before its writes, and of several writes to one item the last one counts, as in langgraph's own stores.

Concurrency: usable from any loop or thread; the I/O is done on the I/O loop. It holds nothing that must survive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
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
    validate_op_namespace,
)
from langlog_backbone.postgres import load_sql
from langlog_schemas.commands import ABSENT, StoreOp, WriteStore

from . import encoding
from .command_sender import CommandSender

if TYPE_CHECKING:
    from .io_loop import IoLoop

T = TypeVar("T")
Condition = tuple[str, str, str]
"""(path into the value as JSON array, operator, wanted value as JSON)"""

OPERATORS = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})
AFTER_ALL = "\U0010ffff" * 4
"""A label that sorts after every other."""

_SQL = load_sql("langlog_executor", "store.sql")
_GET, _SEARCH, _NAMESPACES = _SQL["get"], _SQL["search"], _SQL["namespaces"]


class LogStore(BaseStore):
    """One for a process. ``ttl`` is the ``store.ttl`` section of langgraph.json."""

    supports_ttl = True

    def __init__(self, io: IoLoop, *, sender: CommandSender | None = None, ttl: TTLConfig | None = None) -> None:
        self._io = io
        self._pool = io.backbone.pool
        self._sender = sender or CommandSender(io)
        self.ttl_config = ttl

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Raises ValueError for an operation that cannot be, CommandRefused, OutcomeUnknown and LogUnavailable."""
        return await self._io.call(self._perform(_checked(ops)))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """As `abatch`; holds the calling thread, which must not be that of the I/O loop."""
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._io.loop:
            raise RuntimeError("a synchronous store call would block the I/O loop")
        return asyncio.run_coroutine_threadsafe(self._perform(_checked(ops)), self._io.loop).result()

    # on the I/O loop

    async def _perform(self, ops: list[Op | StoreWrite]) -> list[Result]:
        results: list[Result] = [None] * len(ops)
        reads = [(n, self._read(op)) for n, op in enumerate(ops) if not isinstance(op, StoreWrite)]
        if len(reads) == 1:
            results[reads[0][0]] = await reads[0][1]
        elif reads:
            found = await asyncio.gather(*(read for _, read in reads))
            for (n, _), result in zip(reads, found, strict=True):
                results[n] = result
        writes: dict[tuple[str, ...], dict[str, StoreOp]] = {}
        for op in ops:
            if isinstance(op, StoreWrite):
                items = writes.setdefault(op.namespace, {})
                items.pop(op.op.key, None)
                items[op.op.key] = op.op
        if writes:
            await self._sender.send(
                [WriteStore(namespace=list(namespace), ops=list(items.values())) for namespace, items in writes.items()]
            )
        return results

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
        row = await self._pool.fetchrow(_GET, list(op.namespace), op.key)
        if row is None:
            return None
        return Item(
            value=msgspec.json.decode(row["value"]),
            key=op.key,
            namespace=op.namespace,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    async def _search(self, op: SearchOp) -> Result:
        prefix = list(op.namespace_prefix)
        # a label that continues with \x01 sorts after every namespace that goes on below the label itself
        beyond = [*prefix[:-1], prefix[-1] + "\x01"] if prefix else [AFTER_ALL]
        paths, operators, wanted = zip(*conditions(op.filter or {}), strict=True) if op.filter else ((), (), ())
        rows = await self._pool.fetch(
            _SEARCH, prefix, beyond, list(paths), list(operators), list(wanted), max(op.limit, 0), max(op.offset, 0)
        )
        return [
            SearchItem(
                namespace=tuple(row["namespace"]),
                key=row["key"],
                value=msgspec.json.decode(row["value"]),
                created_at=row["created_at"],
                updated_at=row["updated_at"],
            )
            for row in rows
        ]

    async def _namespaces(self, op: ListNamespacesOp) -> Result:
        matches = op.match_conditions or ()
        rows = await self._pool.fetch(
            _NAMESPACES,
            [match.match_type for match in matches],
            [encoding.encode_text(list(match.path)) for match in matches],
            op.max_depth,
            max(op.limit, 0),
            max(op.offset, 0),
        )
        return [tuple(row["shown"]) for row in rows]


class StoreWrite(msgspec.Struct, frozen=True):
    """A checked `PutOp`, its value encoded by whoever called."""

    namespace: tuple[str, ...]
    op: StoreOp


def conditions(filter: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Condition]:
    """A filter taken apart: nested objects mean their members, ``$`` operators compare.

    Raises ValueError for an unknown operator.
    """
    found: list[Condition] = []
    for name, wanted in filter.items():
        here = (*path, name)
        if not isinstance(wanted, Mapping):
            found.append((encoding.encode_text(here), "$eq", encoding.encode_text(wanted)))
        elif any(key.startswith("$") for key in wanted):
            for operator, value in wanted.items():
                if operator not in OPERATORS:
                    raise ValueError(f"Unsupported operator: {operator}")
                found.append((encoding.encode_text(here), operator, encoding.encode_text(value)))
        elif wanted:
            found += conditions(wanted, here)
        else:
            found.append((encoding.encode_text(here), "$eq", "{}"))
    return found


def _checked(ops: Iterable[Op]) -> list[Op | StoreWrite]:
    checked: list[Op | StoreWrite] = []
    for op in ops:
        validate_op_namespace(op)
        if isinstance(op, PutOp):
            if not op.namespace:
                raise ValueError("Namespace cannot be empty.")
            value = None if op.value is None else encoding.encode(op.value)
            if "\0" in op.key or (value is not None and b"\\u0000" in value):
                raise ValueError("NUL characters cannot be stored")
            checked.append(
                StoreWrite(
                    tuple(op.namespace),
                    StoreOp(
                        key=op.key,
                        value=ABSENT if value is None else msgspec.Raw(value),
                        index=op.index,
                        ttl=op.ttl,
                    ),
                )
            )
        else:
            if isinstance(op, SearchOp) and op.filter:
                conditions(op.filter)
            checked.append(op)
    return checked
