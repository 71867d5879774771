"""Items of the store (wire contract §11)."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .members import JsonObject, Row, Time, raw, stamp


class Item(Struct):
    """An item of the store."""

    namespace: list[str]
    """Labels of the namespace"""
    key: str
    """Key of the item within its namespace"""
    value: JsonObject
    """Value of the item"""
    created_at: Time
    """Time of creation"""
    updated_at: Time
    """Time of the last change"""
    score: float | UnsetType | None = UNSET
    """Similarity to the query; null without one"""
    expires_at: Time | UnsetType | None = UNSET
    """Time of expiry, null for an item that stays; present with `include: ["ttl"]`"""


class Items(Struct):
    """Items of the store."""

    items: list[Item]
    """Items, best or newest first"""


class Namespaces(Struct):
    """Namespaces of the store."""

    namespaces: list[list[str]]
    """Labels of each namespace, sorted"""


def item(row: Row) -> Item:
    """Return the item of a row of ``store_items``."""
    return Item(row["namespace"], row["key"], raw(row["value"]), stamp(row["created_at"]), stamp(row["updated_at"]))


def scored_item(row: Row, score: float | None, *, ttl: bool) -> Item:
    """Return an item of a search. ``score``: similarity to the query, if the search had one. ``ttl``: with the time of its expiry."""
    scored = item(row)
    scored.score = score
    if ttl:
        scored.expires_at = None if row["expires_at"] is None else stamp(row["expires_at"])
    return scored
