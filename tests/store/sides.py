"""The two sides from which the store is used, without differences: each test on a `Side` runs from a node and over HTTP."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import asyncpg
import msgspec
from langgraph.store.base import get_text_at_path
from langlog_backbone.context import Backbone
from langlog_executor.store.log_store import LogStore
from langlog_schemas.commands import StoreVector
from langlog_schemas.messages import Answer
from langlog_schemas.rules.vectors import pack

from tests.gateway.conftest import Stack

from .vectors import embed


class Found(NamedTuple):
    key: str
    score: float | None


class Side(Protocol):
    backbone: Backbone

    async def put(self, namespace: list[str], key: str, value: dict[str, Any], **options: Any) -> None: ...

    async def delete(self, namespace: list[str], key: str) -> None: ...

    async def get(self, namespace: list[str], key: str, **options: Any) -> dict[str, Any] | None:
        """The value."""
        ...

    async def search(self, prefix: list[str], **options: Any) -> list[Found]: ...

    async def namespaces(self, **options: Any) -> list[list[str]]: ...


class Nodes:
    def __init__(self, backbone: Backbone, store: LogStore) -> None:
        self.backbone = backbone
        self._store = store

    async def put(self, namespace: list[str], key: str, value: dict[str, Any], **options: Any) -> None:
        await self._store.aput(tuple(namespace), key, value, **options)

    async def delete(self, namespace: list[str], key: str) -> None:
        await self._store.adelete(tuple(namespace), key)

    async def get(self, namespace: list[str], key: str, **options: Any) -> dict[str, Any] | None:
        item = await self._store.aget(tuple(namespace), key, **options)
        return None if item is None else item.value

    async def search(self, prefix: list[str], **options: Any) -> list[Found]:
        return [Found(item.key, item.score) for item in await self._store.asearch(tuple(prefix), **options)]

    async def namespaces(self, **options: Any) -> list[list[str]]:
        return [list(entry) for entry in await self._store.alist_namespaces(**options)]


class Http:
    """A gateway; its worker is played by `answers`."""

    def __init__(self, stack: Stack) -> None:
        self.backbone = stack.backbone
        self.stack = stack

    async def put(self, namespace: list[str], key: str, value: dict[str, Any], **options: Any) -> None:
        body = {"namespace": namespace, "key": key, "value": value, **options}
        assert await self.stack.call("PUT", "/store/items", body) == (204, "")

    async def delete(self, namespace: list[str], key: str) -> None:
        assert (await self.stack.call("DELETE", "/store/items", {"namespace": namespace, "key": key}))[0] == 204

    async def get(self, namespace: list[str], key: str, **options: Any) -> dict[str, Any] | None:
        query = {"namespace": ".".join(namespace), "key": key} | {k: str(v).lower() for k, v in options.items()}
        status, body = await self.stack.call("GET", "/store/items", params=query)
        assert status == 200, body
        return None if body is None else body["value"]  # type: ignore[no-any-return]

    async def search(self, prefix: list[str], **options: Any) -> list[Found]:
        status, body = await self.stack.call("POST", "/store/items/search", {"namespace_prefix": prefix, **options})
        assert status == 200, body
        return [Found(item["key"], item["score"]) for item in body["items"]]

    async def namespaces(self, **options: Any) -> list[list[str]]:
        status, body = await self.stack.call("POST", "/store/namespaces", options)
        assert status == 200, body
        return body["namespaces"]  # type: ignore[no-any-return]


def embed_item(asked: dict[str, Any]) -> Answer:
    """Return the answer of a worker of `conftest.INDEX`."""
    vectors = []
    for path in asked["index"] if asked["index"] is not None else ["text", "tags[*]"]:
        for n, text in enumerate(get_text_at_path(asked["value"], path)):
            vectors.append(StoreVector(f"{path}.{n}", *pack(embed([text])[0])))
    return Answer(id="", body=msgspec.json.encode(vectors))


def embed_query(asked: dict[str, Any]) -> Answer:
    return Answer(id="", body=msgspec.json.encode(StoreVector("$", *pack(embed([asked["text"]])[0]))))


async def expiry(pool: asyncpg.Pool, key: str) -> Any:
    """Return the time of an item's expiry."""
    return await pool.fetchval("SELECT expires_at FROM store_items WHERE key = $1", key)
