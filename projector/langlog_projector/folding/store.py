"""Items of the store, folded: the result of a batch of events, each item written once.

Items that the batch itself has put are changed in memory; a refresh or an expiry of any other item is recorded in log order
and applied by
Postgres, which has the item's present state. So a batch has the same result as its events one by one. Not safe for concurrent
use.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal, NamedTuple

import asyncpg
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.values.json_shape import without_nul
from langlog_schemas import events as ev
from langlog_schemas.commands import TTL_MAX_MINUTES, StoreOp
from langlog_schemas.rules.vectors import unpack

SQL = load_sql("langlog_projector", "store.sql")

ItemKey = tuple[tuple[str, ...], str]
"""Namespace and key."""


class Item(NamedTuple):
    """An item that was put in this batch. ``created_at`` is used if it is new."""

    value: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    ttl_minutes: float | None
    vectors: tuple[tuple[str, list[float], bytes | None], ...]


class Timed(NamedTuple):
    """A change that depends on the item's expiry in Postgres."""

    kind: Literal["refresh", "expire"]
    item_key: ItemKey
    at: datetime


class StoreChanges:
    def __init__(self) -> None:
        self.items: dict[ItemKey, Item] = {}
        self.removed: set[ItemKey] = set()
        """Removed in this batch; may have been put again since (then it is in ``items`` too)"""
        self.timed: list[Timed] = []
        """In log order; all precede the batch's puts of the same item."""

    def __bool__(self) -> bool:
        return bool(self.items or self.removed or self.timed)

    def note(self, event: ev.StoreWritten | ev.StoreRefreshed, at: datetime) -> None:
        namespace = tuple(event.namespace)
        if isinstance(event, ev.StoreRefreshed):
            read_at = datetime.fromisoformat(event.read_at)
            for key in event.keys:
                self._refresh((namespace, key), read_at)
            return
        for op in event.ops:
            item_key = namespace, op.key
            if op.value:
                self._put(item_key, op, at)
            elif op.expired_by is None:
                self._remove(item_key)
            else:
                self._expire(item_key, datetime.fromisoformat(op.expired_by))

    def _put(self, item_key: ItemKey, op: StoreOp, at: datetime) -> None:
        before = self.items.get(item_key)
        self.items[item_key] = Item(
            value=without_nul(bytes(op.value)).decode(),
            created_at=_time(op.created_at, at) if before is None else before.created_at,
            updated_at=_time(op.updated_at, at),
            expires_at=None if op.ttl is None else at + lifetime(op.ttl),
            ttl_minutes=op.ttl,
            vectors=tuple(
                (vector.path, unpack(vector.embedding, vector.bits), vector.embedding if vector.bits == 64 else None)
                for vector in op.vectors
            ),
        )

    def _remove(self, item_key: ItemKey) -> None:
        self.items.pop(item_key, None)
        self.removed.add(item_key)

    def _refresh(self, item_key: ItemKey, read_at: datetime) -> None:
        item = self.items.get(item_key)
        if item is None:
            if item_key not in self.removed:
                self.timed.append(Timed("refresh", item_key, read_at))
        elif item.expires_at is not None and item.ttl_minutes is not None and item.expires_at > read_at:
            later = max(item.expires_at, read_at + lifetime(item.ttl_minutes))
            self.items[item_key] = item._replace(expires_at=later)

    def _expire(self, item_key: ItemKey, by: datetime) -> None:
        """Remove the item if it has expired: it may have been written again since the scheduler looked."""
        item = self.items.get(item_key)
        if item is None:
            if item_key not in self.removed:
                self.timed.append(Timed("expire", item_key, by))
        elif item.expires_at is not None and item.expires_at <= by:
            self._remove(item_key)

    async def apply(self, connection: asyncpg.Connection) -> None:
        """Write the changes, with one batch of statements for each kind: arrays of arrays cannot be unnested."""
        for kind, group in groupby(self.timed, lambda timed: timed.kind):
            rows = [(list(namespace), key, at) for _, (namespace, key), at in group]
            await connection.executemany(SQL[f"{kind}_item"], rows)
        if self.removed:
            await connection.executemany(
                SQL["remove_item"], [(list(namespace), key) for namespace, key in self.removed]
            )
        if not self.items:
            return
        put: list[tuple[Any, ...]] = []
        vectors: list[tuple[Any, ...]] = []
        for (namespace, key), item in self.items.items():
            address = list(namespace), key
            put.append((*address, *item[:-1], len(item.vectors)))
            vectors += [(*address, n, *vector) for n, vector in enumerate(item.vectors)]
        await connection.executemany(SQL["put_item"], put)
        if vectors:
            await connection.executemany(SQL["put_vector"], vectors)


def _time(imported: str | None, at: datetime) -> datetime:
    """Return the time of a change: the source's if the item is imported."""
    return at if imported is None else datetime.fromisoformat(imported)


def lifetime(minutes: float) -> timedelta:
    """Return a TTL, rounded like Postgres, so that a refresh has the same result in memory and there."""
    seconds = max(0.0, min(minutes, TTL_MAX_MINUTES)) * 60
    return timedelta(microseconds=round(seconds * 1_000_000))
