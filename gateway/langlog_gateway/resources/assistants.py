"""``/assistants`` (wire contract §2)."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.time.sources import uuid4
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas import ids
from msgspec import UNSET

from ..auth.access import admit, authorize
from ..auth.visibility import narrowed
from ..core import Core, encoded_response, json_response, no_content, origin_of, page_headers
from ..http.errors import ApiError, not_found, unprocessable
from ..http.run_config import mirrored
from ..http.validation import check_sizes, metadata_filter, path_uuid, read_body, truthy, uuid_of, whole_number
from ..requests.assistants import (
    ASSISTANT_COUNT,
    ASSISTANT_CREATE,
    ASSISTANT_LATEST,
    ASSISTANT_PATCH,
    ASSISTANT_SEARCH,
    ASSISTANT_VERSIONS,
)
from ..requests.members import given
from ..responses import assistants, graphs

SQL = load_sql("langlog_gateway", "assistants.sql")

_schemas = msgspec.json.Decoder(graphs.GraphSchemas)
_subgraphs = msgspec.json.Decoder(dict[str, msgspec.Raw])

DEPTH_MAX = 2**31 - 1
"""Maximum depth of a drawing: the largest value in a query of the read model."""

COLUMNS = assistants.Assistant.__struct_fields__


class Assistants:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        one = "/assistants/{assistant_id}"
        return [
            web.post("/assistants", self.create),
            web.post("/assistants/search", self.search),
            web.post("/assistants/count", self.count),
            web.get(one, self.get),
            web.patch(one, self.patch),
            web.delete(one, self.delete),
            web.get(f"{one}/graph", self.graph),
            web.get(f"{one}/subgraphs", self.subgraphs),
            web.get(f"{one}/subgraphs/{{namespace:.+}}", self.subgraphs),
            web.get(f"{one}/schemas", self.schemas),
            web.post(f"{one}/versions", self.versions),
            web.post(f"{one}/latest", self.latest),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Creates an assistant: a graph with a configuration of its own. Each graph has an assistant that the
        server created at its start; runs may name it by the graph.
        """
        body = await read_body(request, ASSISTANT_CREATE)
        check_sizes(self._core.settings, metadata=body.metadata, config=body.config, context=body.context)
        origin = origin_of(request)
        if body.assistant_id is None:
            assistant_id = uuid4() if origin.key is None else origin.mint("assistant")
        else:
            assistant_id = uuid_of(body.assistant_id, "assistant")
        config, context = mirrored(body.config, body.context)
        value: dict[str, Any] = {
            "assistant_id": assistant_id,
            "graph_id": body.graph_id,
            "config": config,
            "context": context,
            "metadata": body.metadata,
            "name": body.name,
        }
        visible = await authorize(request, "assistants", "create", value)
        if not (body.if_exists == "do_nothing" and body.assistant_id and await self._exists(assistant_id)):
            await self._check_graph(body.graph_id)
        reply = await self._core.commands.execute(
            cmd.CreateAssistant(
                assistant_id=assistant_id,
                graph_id=body.graph_id,
                config=config,
                context=context,
                metadata=value["metadata"],
                name=body.name,
                description=body.description,
                if_exists=body.if_exists,
                visible=visible,
            ),
            origin,
        )
        event = ev.decode(reply.type, reply.body)
        if isinstance(event, ev.AssistantCreated) and not event.existed:
            return encoded_response(assistants.created_assistant(assistant_id, event.content))
        return encoded_response(assistants.assistant(await self._row(assistant_id)))

    async def get(self, request: web.Request) -> web.Response:
        """Returns the current version of an assistant."""
        assistant_id = path_uuid(request, "assistant")
        await admit(request, "assistants", "read", {"assistant_id": assistant_id}, not_found())
        return encoded_response(assistants.assistant(await self._row(assistant_id)))

    async def patch(self, request: web.Request) -> web.Response:
        """Changes an assistant and creates a version, also with an empty body. Members of `metadata` are merged;
        `config` and `context` are replaced.
        """
        assistant_id = path_uuid(request, "assistant")
        body = await read_body(request, ASSISTANT_PATCH)
        check_sizes(self._core.settings, metadata=body.metadata, config=body.config, context=body.context)
        config, context = body.config, body.context
        if config is not UNSET or context is not UNSET:
            config, context = mirrored({} if config is UNSET else config, {} if context is UNSET else context)
        value: dict[str, Any] = {
            "assistant_id": assistant_id,
            **{
                name: given
                for name, given in (
                    ("graph_id", body.graph_id),
                    ("config", config),
                    ("context", context),
                    ("metadata", body.metadata),
                    ("name", body.name),
                )
                if given is not UNSET
            },
        }
        visible = await authorize(request, "assistants", "update", value)
        if body.graph_id is not UNSET:
            await self._check_graph(body.graph_id)
        command = cmd.PatchAssistant(
            assistant_id=assistant_id,
            graph_id=body.graph_id,
            config=config,
            context=context,
            metadata=value.get("metadata", UNSET),
            name=body.name,
            description=body.description,
            metadata_limit=self._core.settings.max_metadata_bytes,
            visible=visible,
        )
        await self._core.commands.execute(command, origin_of(request))
        return encoded_response(assistants.assistant(await self._row(assistant_id)))

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes an assistant with all its versions. Its runs and threads stay unless `delete_threads=true`.
        Crons of the assistant no longer fire.
        """
        assistant_id = path_uuid(request, "assistant")
        gone = not_found(f"Assistant with ID {assistant_id} not found")
        visible = await admit(request, "assistants", "delete", {"assistant_id": assistant_id}, gone)
        await authorize(request, "threads", "update", {"assistant_id": assistant_id, "metadata": {}})
        threads: list[cmd.Body] = []
        if truthy(request.query.get("delete_threads")):
            own = await authorize(request, "threads", "delete", {"assistant_id": assistant_id})
            sql, values = narrowed(SQL["threads"], own, assistant_id)
            rows = await self._core.reads.rows(sql, *values)
            threads = [cmd.DeleteThread(thread_id=row["thread_id"], visible=own) for row in rows]
        command = cmd.DeleteAssistant(assistant_id=assistant_id, visible=visible)
        await self._core.commands.execute(command, origin_of(request))
        # a thread that is gone by now is rejected, which is as good
        await self._core.commands.execute_all(threads)
        return no_content()

    async def search(self, request: web.Request) -> web.Response:
        """Returns assistants that meet all conditions, the newest first by default.

        `X-Pagination-Next` is the offset of the next page; it is absent on the last page.
        """
        body = await read_body(request, ASSISTANT_SEARCH)
        graph_id, name = given(body.graph_id), given(body.name)
        value: dict[str, Any] = {
            "graph_id": graph_id,
            "metadata": body.metadata,
            "limit": body.limit,
            "offset": body.offset,
        }
        visible = await authorize(request, "assistants", "search", value)
        body.metadata = value["metadata"]
        if graph_id is not None:
            await self._check_graph(graph_id)
        order = "DESC" if body.sort_order == "desc" else "ASC"
        columns = [c for c in COLUMNS if not body.select or c in body.select]
        sql = SQL["search"].format(
            columns=", ".join(columns), visible="{visible}", order=f"{body.sort_by} {order}, assistant_id {order}"
        )
        wanted = (_filter(body.metadata), graph_id, name, body.limit + 1, body.offset)
        sql, values = narrowed(sql, visible, *wanted)
        rows = await self._core.reads.rows(sql, *values)
        page = [assistants.assistant(row, columns) for row in rows[: body.limit]]
        return encoded_response(page, headers=page_headers(body.offset, body.limit, len(rows)))

    async def count(self, request: web.Request) -> web.Response:
        """Returns the number of assistants that meet all conditions."""
        body = await read_body(request, ASSISTANT_COUNT)
        graph_id = given(body.graph_id)
        value: dict[str, Any] = {"graph_id": graph_id, "metadata": body.metadata}
        visible = await authorize(request, "assistants", "search", value)
        body.metadata = value["metadata"]
        if graph_id is not None:
            await self._check_graph(graph_id)
        sql, values = narrowed(SQL["count"], visible, _filter(body.metadata), graph_id, given(body.name))
        count = await self._core.reads.value(sql, *values)
        return encoded_response(count)

    async def versions(self, request: web.Request) -> web.Response:
        """Returns all versions of an assistant that meet the condition, newest first."""
        assistant_id = path_uuid(request, "assistant")
        body = await read_body(request, ASSISTANT_VERSIONS)
        gone = not_found(f"Assistant {assistant_id} not found")
        await admit(request, "assistants", "read", {"assistant_id": assistant_id}, gone)
        if not await self._exists(assistant_id):
            raise gone
        rows = await self._core.reads.rows(
            SQL["versions"], assistant_id, _filter(body.metadata), body.limit, body.offset
        )
        return encoded_response([assistants.assistant_version(row) for row in rows])

    async def latest(self, request: web.Request) -> web.Response:
        """Makes an earlier or later version the current one. No version is created, and none is deleted."""
        assistant_id = path_uuid(request, "assistant")
        body = await read_body(request, ASSISTANT_LATEST)
        version = given(body.version)
        value = {"assistant_id": assistant_id, "version": version}
        gone = not_found(f"Assistant {assistant_id} not found")
        visible = await admit(request, "assistants", "update", value, gone)
        if not await self._exists(assistant_id):
            raise gone
        command = cmd.SetLatestAssistant(assistant_id=assistant_id, version=version, visible=visible)
        await self._core.commands.execute(command, origin_of(request))
        return encoded_response(assistants.assistant(await self._row(assistant_id)))

    # from executors' registrations at start; where a factory makes another graph for the assistant's config, a worker is queried

    async def graph(self, request: web.Request) -> web.Response:
        """Returns the nodes and edges of the assistant's graph, for drawing. The name of a graph means its
        default assistant.
        """
        named = request.match_info["assistant_id"]
        xray = _xray(request.query.get("xray"))
        try:
            assistant_id = uuid_of(named, "assistant")
        except ApiError:
            names = [row["graph_id"] for row in await self._core.reads.rows(SQL["graph_names"])]
            if named not in names:
                raise
            assistant_id = ids.default_assistant_id(named)
        await admit(request, "assistants", "read", {"assistant_id": assistant_id}, not_found())
        row = await self._row(assistant_id)
        registered = await self._registered(request, row, -1 if xray is True else min(int(xray), DEPTH_MAX))
        if registered is None or registered["drawing"] is None:
            return json_response(await self._query_worker(request, "graph", row, xray=xray))
        return json_response(registered["drawing"])

    async def subgraphs(self, request: web.Request) -> web.Response:
        """Returns the schemas of subgraphs by the name of the node that runs them. An unknown name returns an empty
        object.
        """
        assistant_id = path_uuid(request, "assistant")
        await admit(request, "assistants", "read", {"assistant_id": assistant_id}, not_found())
        recurse, namespace = truthy(request.query.get("recurse")), request.match_info.get("namespace")
        row = await self._row(assistant_id)
        registered = await self._registered(request, row)
        if registered is None or registered["subgraphs"] is None:
            named = {} if namespace is None else {"namespace": namespace}
            return json_response(await self._query_worker(request, "subgraphs", row, recurse=recurse, **named))
        schemas = {
            name: of_one
            for name, of_one in _subgraphs.decode(registered["subgraphs"]).items()
            if (recurse or "|" not in name) and namespace in (None, name)
        }
        return encoded_response(schemas)

    async def schemas(self, request: web.Request) -> web.Response:
        """Returns the JSON Schemas of input, output, state, configuration and context of the assistant's graph."""
        assistant_id = path_uuid(request, "assistant")
        await admit(request, "assistants", "read", {"assistant_id": assistant_id}, not_found())
        row = await self._row(assistant_id)
        registered = await self._registered(request, row)
        if registered is None or registered["schemas"] is None:
            return json_response(await self._query_worker(request, "schemas", row))
        schemas = _schemas.decode(registered["schemas"])
        schemas.graph_id = row["graph_id"]
        return encoded_response(schemas)

    async def _registered(self, request: web.Request, row: Any, depth: int = 0) -> Any:
        """Return the registered graph; None: query a worker, because a factory may make another graph for this assistant or caller."""
        own = bool(msgspec.json.decode(row["config"]).get("configurable")) or bool(await self._core.caller_of(request))
        return await self._core.reads.row(SQL["registered"], row["graph_id"], own, depth)

    async def _query_worker(self, request: web.Request, kind: str, row: Any, **more: Any) -> bytes:
        body = {
            "graph_id": row["graph_id"],
            "assistant_id": row["assistant_id"],
            "config": msgspec.Raw(row["config"].encode()),
            **await self._core.caller_of(request),
            **more,
        }
        return await self._core.queries.query(kind, body)

    # shared

    async def _row(self, assistant_id: str) -> Any:
        row = await self._core.reads.row(SQL["get"], assistant_id)
        if row is None:
            raise not_found()
        return row

    async def _exists(self, assistant_id: str) -> bool:
        return bool(await self._core.reads.value(SQL["exists"], assistant_id))

    async def _check_graph(self, graph_id: str) -> None:
        names = sorted(row["graph_id"] for row in await self._core.reads.rows(SQL["graph_names"]))
        if graph_id not in names:
            raise not_found(f"Graph {graph_id!r} not found. Expected one of: {names}")


def _filter(metadata: dict[str, Any]) -> str | None:
    return metadata_filter(metadata) if metadata else None


def _xray(text: str | None) -> bool | int:
    if text is None or text.lower() in ("false",):
        return False
    if text.lower() == "true":
        return True
    if depth := whole_number(text):
        return depth
    raise unprocessable("Invalid xray value")
