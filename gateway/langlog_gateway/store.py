"""``/store`` (API.md 11): writes go through the log, reads come from Postgres."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.postgres import load_sql
from langlog_schemas import commands as cmd
from msgspec import UNSET, Raw

from . import bodies, present
from .access import authorize
from .core import Core, json_response, no_content, origin_of
from .errors import ApiError, KeyedError, PlainError, unprocessable
from .store_search import pattern_filter, prefix_filter, value_filter
from .validation import read_body, violation
from .visibility import Parameters

SQL = load_sql("langlog_gateway", "store.sql")
SEARCH_LIMIT = 10
DEPTH_MAX = 1_000
ADDRESS_BYTES_MAX = 1_200
"""Of a key, and of a namespace with 8 for each label: Postgres holds both in one index entry of at most 2,704 bytes."""


class Store:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/store/items", self.put),
            web.get("/store/items", self.get),
            web.delete("/store/items", self.delete),
            web.post("/store/items/search", self.search),
            web.post("/store/namespaces", self.namespaces),
        ]

    async def put(self, request: web.Request) -> web.Response:
        body = await read_body(request, bodies.STORE_PUT)
        index = body.index
        if not (index is None or index is False or _is_paths(index)):
            shown = msgspec.json.encode(index).decode()
            told = f"{shown} is not valid under any of the schemas listed in the 'oneOf' keyword"
            raise unprocessable(violation(told, "oneOf", ["index"], index))
        value: dict[str, Any] = {
            "namespace": tuple(body.namespace),
            "key": body.key,
            "value": body.value,
            "index": index,
            "ttl": body.ttl,
        }
        check_namespace(body.namespace)
        check_size(body.namespace, body.key)
        await authorize(request, "store", "put", value)
        op = cmd.StoreOp(key=body.key, value=Raw(msgspec.json.encode(value["value"])), index=index, ttl=body.ttl)
        await self._write(request, value, op)
        return no_content()

    async def delete(self, request: web.Request) -> web.Response:
        body = await read_body(request, bodies.STORE_DELETE)
        check_labels(body.namespace)
        value: dict[str, Any] = {"namespace": tuple(body.namespace), "key": body.key}
        await authorize(request, "store", "delete", value)
        await self._write(request, value, cmd.StoreOp(key=body.key))
        return no_content()

    async def get(self, request: web.Request) -> web.Response:
        key = request.query.get("key")
        if key is None:
            raise KeyedError(400, "Key is required")
        given = request.query.getall("namespace", [])
        namespace = (given[-1] if given else "").split(".")
        check_labels(namespace)
        value: dict[str, Any] = {"namespace": tuple(namespace), "key": key}
        await authorize(request, "store", "get", value)
        row = await self._core.reads.row(SQL["get"], list(value["namespace"]), key)
        return json_response(b"null" if row is None else present.item(row))

    async def search(self, request: web.Request) -> web.Response:
        body = await read_body(request, bodies.STORE_SEARCH)
        prefix = body.namespace_prefix or []
        check_labels(prefix)
        limit = SEARCH_LIMIT if body.limit is None else body.limit
        value: dict[str, Any] = {
            "namespace": tuple(prefix),
            "filter": body.filter,
            "query": body.query,
            "limit": limit,
            "offset": body.offset or 0,
        }
        await authorize(request, "store", "search", value)
        parameters = Parameters()
        found = prefix_filter(list(value["namespace"]), parameters) + value_filter(value["filter"] or {}, parameters)
        sql = SQL["search"].format(
            filters=" AND ".join(found) or "TRUE",
            limit=parameters.add(max(0, min(limit, self._core.settings.max_page)), "::bigint"),
            offset=parameters.add(_offset(body.offset or 0), "::bigint"),
        )
        rows = await self._core.reads.rows(sql, *parameters.values)
        return json_response('{"items":[' + ",".join(present.item(row, score=True) for row in rows) + "]}")

    async def namespaces(self, request: web.Request) -> web.Response:
        body = await read_body(request, bodies.STORE_NAMESPACES)
        value: dict[str, Any] = {
            "namespace": tuple(body.prefix or ()),
            "suffix": None if body.suffix is None else tuple(body.suffix),
            "max_depth": None if body.max_depth is UNSET else body.max_depth,
            "limit": body.limit,
            "offset": body.offset,
        }
        await authorize(request, "store", "list_namespaces", value)
        parameters = Parameters()
        found = pattern_filter(list(value["namespace"]), parameters, suffix=False)
        found += pattern_filter(body.suffix or [], parameters, suffix=True)
        depth = (
            "namespace"
            if body.max_depth is UNSET
            else f"namespace[1:{parameters.add(min(max(body.max_depth, 0), DEPTH_MAX), '::int')}]"
        )
        sql = SQL["namespaces"].format(
            depth=depth,
            filters=" AND ".join(found) or "TRUE",
            limit=parameters.add(max(0, min(body.limit, self._core.settings.max_page)), "::bigint"),
            offset=parameters.add(_offset(body.offset), "::bigint"),
        )
        rows = await self._core.reads.rows(sql, *parameters.values)
        return json_response(msgspec.json.encode({"namespaces": [row["namespace"] for row in rows]}))

    async def _write(self, request: web.Request, value: dict[str, Any], op: cmd.StoreOp) -> None:
        command = cmd.WriteStore(namespace=list(value["namespace"]), ops=[op])
        await self._core.commands.execute(command, origin_of(request))


def check_labels(namespace: list[str]) -> None:
    """Raises PlainError 422 for a label that is empty or holds a period."""
    for label in namespace:
        if not label or "." in label:
            raise PlainError(422, f"Namespace label {label!r} must be a non-empty string without periods")


def check_namespace(namespace: list[str]) -> None:
    """The rules for writing. Raises ApiError 400, PlainError 422."""
    check_labels(namespace)
    if not namespace:
        raise ApiError(400, "Namespace cannot be empty.")
    if namespace[0] == "langgraph":
        raise ApiError(400, f'Root label for namespace cannot be "langgraph". Got: {tuple(namespace)}')


def check_size(namespace: list[str], key: str) -> None:
    """Raises ApiError 422 for an address that no index can hold."""
    for what, size in (("key", len(key.encode())), ("namespace", sum(len(x.encode()) + 8 for x in namespace))):
        if size > ADDRESS_BYTES_MAX:
            raise unprocessable(f"The {what} is too long: {size} bytes, at most {ADDRESS_BYTES_MAX} are allowed")


def _offset(value: int) -> int:
    return min(max(0, value), 2**62)


def _is_paths(index: Any) -> bool:
    return isinstance(index, list) and all(isinstance(path, str) for path in index)
