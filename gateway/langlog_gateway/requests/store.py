"""Request bodies of the store (wire contract §5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from langlog_schemas.commands import TTL_MAX_MINUTES
from langlog_schemas.json_types import Object
from msgspec import UNSET, Meta, Struct, UnsetType

from .members import ENTRIES_MAX


class StorePut(Struct):
    """An item to put into the store."""

    namespace: list[str]
    """Labels of the namespace; none is empty or has a period"""
    key: str
    """Key of the item within its namespace"""
    value: Object
    """Value of the item"""
    index: list[str] | Any = None
    """Paths of the texts to embed for search; null uses those of `store.index`, false embeds nothing"""
    ttl: Annotated[float, Meta(ge=-TTL_MAX_MINUTES, le=TTL_MAX_MINUTES)] | None = None
    """Time to live in minutes; null means no expiry. The next sweep removes an item whose time is negative"""


class StoreDelete(Struct):
    """An item to delete."""

    key: str
    """Key of the item"""
    namespace: list[str] = []
    """Labels of the namespace"""


class StoreSearch(Struct):
    """Conditions and form of a search for items."""

    namespace_prefix: list[str] | None = None
    """First labels of the items' namespaces; absent or empty means all"""
    filter: Object | None = None
    """Value by key that the items must have, or operators: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`"""
    limit: int = 10
    """Maximum number of entries"""
    offset: int = 0
    """Number of entries to skip"""
    query: str | None = None
    """Text to rank the items by; needs `store.index`"""
    refresh_ttl: bool | None = None
    """Restart the time to live of the items that are returned; null uses the setting of `store.ttl`"""
    include: Annotated[list[Literal["ttl"]], Meta(max_length=ENTRIES_MAX)] = []
    """`ttl` adds the time of expiry to each item"""


class StoreNamespaces(Struct):
    """Conditions of a list of namespaces."""

    prefix: list[str] | None = None
    """First labels; `*` matches any label"""
    suffix: list[str] | None = None
    """Last labels; `*` matches any label"""
    max_depth: int | UnsetType = UNSET
    """Number of labels to cut namespaces to"""
    limit: int = 100
    """Maximum number of entries"""
    offset: int = 0
    """Number of entries to skip"""


STORE_PUT = msgspec.json.Decoder(StorePut)
STORE_DELETE = msgspec.json.Decoder(StoreDelete)
STORE_SEARCH = msgspec.json.Decoder(StoreSearch)
STORE_NAMESPACES = msgspec.json.Decoder(StoreNamespaces)
