"""Items of the store, folded: what a batch of events leaves of them, written once each.

Items that the batch itself has put are judged in memory; a refresh or an expiry of any other item is written down in log order
and left to
Postgres, which has the item's present state. So a batch comes to the same as its events one by one. Not safe for concurrent
use.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal, NamedTuple

import asyncpg
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import events as ev
from langlog_schemas.commands import TTL_MAX_MINUTES, StoreOp
from langlog_schemas.rules.vectors import unpack

from .json_text import jsonb

SQL = load_sql("langlog_projector", "store.sql")

ItemKey = tuple[tuple[str, ...], str]
"""Namespace and key."""


class Item(NamedTuple):
    """An item that was put in this batch. ``created_at`` counts if it is new."""

    value: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    ttl_minutes: float | None
    vectors: tuple[tuple[str, list[float], bytes | None], ...]


class Timed(NamedTuple):
    """Something that depends on when the item expires, as Postgres has it."""

    kind: Literal["refresh", "expire"]
    item_key: ItemKey
    at: datetime


class StoreChanges:
    def __init__(self) -> None:
        self.items: dict[ItemKey, Item] = {}
        self.removed: set[ItemKey] = set()
        """gone in this batch; may have been put again since (then it is in ``items`` too)"""
        self.timed: list[Timed] = []
        """in log order; all before what the batch puts at the same place"""

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
            value=jsonb(bytes(op.value)) or "null",
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
        """Removes the item if its present expiry is over: it may have been written again since the scheduler looked."""
        item = self.items.get(item_key)
        if item is None:
            if item_key not in self.removed:
                self.timed.append(Timed("expire", item_key, by))
        elif item.expires_at is not None and item.expires_at <= by:
            self._remove(item_key)

    async def apply(self, connection: asyncpg.Connection) -> None:
        """One batch of statements for each kind: arrays of arrays don't unnest."""
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
    """When something was done to an item: where it comes from, if it is imported."""
    return at if imported is None else datetime.fromisoformat(imported)


def lifetime(minutes: float) -> timedelta:
    """A TTL; rounded as Postgres rounds it, so that a refresh comes to the same in memory and there."""
    seconds = max(0.0, min(minutes, TTL_MAX_MINUTES)) * 60
    return timedelta(microseconds=round(seconds * 1_000_000))
