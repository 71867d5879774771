"""The calls by which a graph on the host uses the store: one batch of operations each, as `langgraph.store.base` has them.

Concurrency: on the I/O loop, or where a project's own store lives. It holds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, Op, PutOp, SearchItem, SearchOp

from ..values import encoding

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.store.base import BaseStore


class NoStore(RuntimeError):
    """This process has no store."""

    for_clients = True


class StoreCalls:
    """The store calls of one job. ``config``: the run's, with the encryption context of values."""

    def __init__(self, store: BaseStore | None, config: RunnableConfig | None = None) -> None:
        self._store = store
        self._config = config

    async def call(self, operations: list[list[Any]]) -> list[Any]:
        """Execute a call. Raises ValueError for an invalid operation, and the store's errors."""
        if self._store is None:
            raise NoStore("there is no store here")
        var_child_runnable_config.set(self._config)  # of this task alone: each call is one
        ttl = self._store.ttl_config or {}
        defaults = ttl.get("default_ttl"), ttl.get("refresh_on_read", True)
        results = await self._store.abatch([_operation(defaults, *operation) for operation in operations])
        return [_shown(result) for result in results]


def _operation(defaults: tuple[float | None, bool], kind: str, *args: Any) -> Op:
    ttl, refresh = defaults
    match [kind, *args]:
        case ["get", namespace, key]:
            return GetOp(tuple(namespace), key, refresh)
        case ["put", namespace, key, value, index]:
            return PutOp(tuple(namespace), key, None if value is None else msgspec.json.decode(value), index, ttl)
        case ["search", prefix, condition, limit, offset, query]:
            wanted = None if condition is None else msgspec.json.decode(condition)
            return SearchOp(tuple(prefix), wanted, limit, offset, query, refresh)
        case ["namespaces", conditions, max_depth, limit, offset]:
            matches = tuple(MatchCondition(how, tuple(path)) for how, path in conditions)
            return ListNamespacesOp(matches or None, max_depth, limit, offset)
        case _:
            raise ValueError(f"no operation of a store: {kind}")


def _shown(result: Any) -> Any:
    if isinstance(result, Item):
        score = result.score if isinstance(result, SearchItem) else None
        created, updated = result.created_at.isoformat(), result.updated_at.isoformat()
        return [result.key, list(result.namespace), encoding.encode(result.value), created, updated, score]
    if isinstance(result, list):
        return [_shown(one) if isinstance(one, Item) else list(one) for one in result]
    return None
