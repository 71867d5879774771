"""``/store`` (wire contract §11): writes go through the log, reads come from Postgres.

With ``store.index`` a worker computes the vectors of texts that are put or searched for, before anything else: the embedding function is
the project's code, and gateways run none of it here. Refreshed TTLs are written after the read (`langlog_backbone.store.refresh`).
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from aiohttp import web
from langlog_backbone.store.conditions import ADDRESS_BYTES_MAX, BadFilter, address_fault
from langlog_backbone.store.reader import StoreReader
from langlog_schemas import commands as cmd
from langlog_schemas.rules.vectors import unpack
from msgspec import UNSET, Raw

from ..auth.access import Action, authorize
from ..core import Core, encoded_response, no_content, origin_of
from ..http.errors import ApiError, KeyedError, PlainError, unprocessable
from ..http.validation import invalid, read_body
from ..requests.store import STORE_DELETE, STORE_NAMESPACES, STORE_PUT, STORE_SEARCH
from ..responses import store

logger = structlog.get_logger(__name__)

_VECTORS = msgspec.json.Decoder(list[cmd.StoreVector])
_VECTOR = msgspec.json.Decoder(cmd.StoreVector)


class Store:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._reader = StoreReader(core.reads.rows, most=core.settings.max_page)
        self._warned = False

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/store/items", self.put),
            web.get("/store/items", self.get),
            web.delete("/store/items", self.delete),
            web.post("/store/items/search", self.search),
            web.post("/store/namespaces", self.namespaces),
        ]

    async def put(self, request: web.Request) -> web.Response:
        """Creates an item or replaces its value."""
        body = await read_body(request, STORE_PUT)
        index = body.index
        if not (index is None or index is False or _is_paths(index)):
            shown = msgspec.json.encode(index).decode()
            problem = f"{shown} is not valid under any of the schemas listed in the 'oneOf' keyword"
            raise invalid(problem, "oneOf", ["index"], index)
        check_namespace(body.namespace)
        value: dict[str, Any] = {
            "namespace": tuple(body.namespace),
            "key": body.key,
            "value": body.value,
            "index": index,
            "ttl": body.ttl,
        }
        await self._authorize(request, "put", value)
        namespace = _namespace(value)
        if fault := address_fault(namespace, value["key"]):
            raise unprocessable(fault)
        ttl, index = value["ttl"], value["index"]
        op = cmd.StoreOp(
            key=value["key"],
            value=Raw(msgspec.json.encode(value["value"])),
            index=index,
            ttl=self._core.store_ttl.default_ttl if ttl is None else ttl,
            vectors=await self._vectors(value["value"], index),
        )
        await self._core.commands.execute(cmd.WriteStore(namespace=namespace, ops=[op]), origin_of(request))
        return no_content()

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes an item. Deleting an item that does not exist succeeds too."""
        body = await read_body(request, STORE_DELETE)
        check_labels(body.namespace)
        value: dict[str, Any] = {"namespace": tuple(body.namespace), "key": body.key}
        await self._authorize(request, "delete", value)
        command = cmd.WriteStore(namespace=_namespace(value), ops=[cmd.StoreOp(key=value["key"])])
        await self._core.commands.execute(command, origin_of(request))
        return no_content()

    async def get(self, request: web.Request) -> web.Response:
        """Returns an item, or null if there is none."""
        key = request.query.get("key")
        if key is None:
            raise KeyedError(400, "Key is required")
        given = request.query.getall("namespace", [])
        namespace = (given[-1] if given else "").split(".")
        check_labels(namespace)
        value: dict[str, Any] = {
            "namespace": tuple(namespace),
            "key": key,
            "refresh_ttl": _flag(request.query.get("refresh_ttl")),
        }
        await self._authorize(request, "get", value)
        row = await self._reader.get(_namespace(value), value["key"])
        if row is None:
            return encoded_response(None)
        if self._refreshed(value):
            self._core.refreshes.note([row])
        return encoded_response(store.item(row))

    async def search(self, request: web.Request) -> web.Response:
        """Returns items below a namespace that meet the filter; with `query` ranked by similarity."""
        body = await read_body(request, STORE_SEARCH)
        prefix = body.namespace_prefix or []
        check_labels(prefix)
        if (members := members_of(body.filter)) > (limit := self._core.settings.max_filter_members):
            raise unprocessable(f"The filter has {members} members, at most {limit} are allowed")
        value: dict[str, Any] = {
            "namespace": tuple(prefix),
            "filter": body.filter,
            "query": body.query,
            "limit": body.limit,
            "offset": body.offset,
            "refresh_ttl": body.refresh_ttl,
        }
        await self._authorize(request, "search", value)
        vector = None
        if value["query"] and self._core.store_index is not None:
            embedded = await self._core.queries.query("embed_query", {"text": value["query"]})
            packed = _VECTOR.decode(embedded)
            vector = unpack(packed.embedding, packed.bits)
        try:
            rows = await self._reader.search(
                _namespace(value), value["filter"], value["limit"], value["offset"], vector
            )
        except BadFilter as error:
            raise ApiError(400, str(error)) from None
        if self._refreshed(value):
            self._core.refreshes.note(rows)
        ttl = "ttl" in body.include
        items = [store.scored_item(row, None if vector is None else row["score"], ttl=ttl) for row in rows]
        return encoded_response(store.Items(items))

    async def namespaces(self, request: web.Request) -> web.Response:
        """Returns the namespaces that hold items, sorted."""
        body = await read_body(request, STORE_NAMESPACES)
        for name, labels in (("prefix", body.prefix), ("suffix", body.suffix)):
            if len(labels or ()) > LABELS_MAX:
                raise unprocessable(f"The {name} has {len(labels or ())} labels, at most {LABELS_MAX} are allowed")
        value: dict[str, Any] = {
            "namespace": tuple(body.prefix or ()),
            "suffix": None if body.suffix is None else tuple(body.suffix),
            "max_depth": None if body.max_depth is UNSET else body.max_depth,
            "limit": body.limit,
            "offset": body.offset,
        }
        await self._authorize(request, "list_namespaces", value)
        patterns = (("prefix", _namespace(value)), ("suffix", list(value["suffix"] or ())))
        namespaces = await self._reader.namespaces(patterns, value["max_depth"], value["limit"], value["offset"])
        return encoded_response(store.Namespaces(namespaces))

    async def _authorize(self, request: web.Request, action: Action, value: dict[str, Any]) -> None:
        """Authorize an access. Handlers change ``value``, mostly its namespace, to redirect the access (wire contract §18)."""
        visible = await authorize(request, "store", action, value)
        if visible and not self._warned:
            self._warned = True
            logger.warning(
                "store.filter_without_effect",
                hint="items of the store have no metadata: a handler for them changes value['namespace']",
            )

    async def _vectors(self, value: Any, index: Any) -> list[cmd.StoreVector]:
        if self._core.store_index is None or index is False:
            return []
        return _VECTORS.decode(await self._core.queries.query("embed_item", {"value": value, "index": index}))

    def _refreshed(self, value: dict[str, Any]) -> bool:
        refresh = value["refresh_ttl"]
        return self._core.store_ttl.refresh_on_read if refresh is None else bool(refresh)


LABELS_MAX = ADDRESS_BYTES_MAX // 9
"""Maximum number of labels of a namespace: a longer address cannot be stored, since each label takes 8 bytes besides its text."""


def check_labels(namespace: list[str]) -> None:
    """Raise PlainError 422 for a label that is empty or holds a period, and for more labels than a namespace can have."""
    if len(namespace) > LABELS_MAX:
        raise PlainError(422, f"A namespace has at most {LABELS_MAX} labels, not {len(namespace)}")
    for label in namespace:
        if not label or "." in label:
            raise PlainError(422, f"Namespace label {label!r} must be a non-empty string without periods")


def check_namespace(namespace: list[str]) -> None:
    """Check the rules for writing. Raises ApiError 400, PlainError 422."""
    check_labels(namespace)
    if not namespace:
        raise ApiError(400, "Namespace cannot be empty.")
    if namespace[0] == "langgraph":
        raise ApiError(400, f'Root label for namespace cannot be "langgraph". Got: {tuple(namespace)}')


def members_of(conditions: object) -> int:
    """Return the number of conditions in a filter: its members, and those nested in them."""
    count, waiting = 0, [conditions]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            count += len(inner)
            waiting += inner.values()
    return count


def _namespace(value: dict[str, Any]) -> list[str]:
    """Return the namespace as a handler has left it; a text counts as a single label. Raises TypeError for other types."""
    namespace = value["namespace"]
    labels = [namespace] if isinstance(namespace, str) else list(namespace or ())
    if not all(isinstance(label, str) for label in labels):
        raise TypeError("an authorization handler must leave a namespace of strings")
    return labels


def _flag(text: str | None) -> bool | None:
    return None if text is None else text.lower() not in ("false", "0", "no", "off", "")


def _is_paths(index: Any) -> bool:
    return isinstance(index, list) and all(isinstance(path, str) for path in index)
