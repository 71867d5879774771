"""The assistants that requests of runs name, as far as their callers may read them (wire contract §5.1 and §18).

`AssistantLookup` gathers lookups while a query is under way; they go out together in the next one. Each lookup is answered by a
query that began after the request came in, so that a run always gets the assistant as it was then: a cache could not promise that
across gateways. All on one event loop. A failed query fails the lookups that it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.ids import default_assistant_id
from langlog_schemas.rules.filters import Filter, admits
from langlog_schemas.runs.request import Assistant

from ..auth.access import authorize, guarded
from ..http.backends import Reads
from ..http.errors import ApiError, HintedError, not_found
from ..http.validation import canonical_uuid

SQL = load_sql("langlog_gateway", "runs.sql")
TARGET_MISSING = "Thread or assistant not found."
DEFAULTS_METADATA = {"created_by": "system"}
"""Metadata of the assistant that an executor creates for each graph at start."""


class RunAssistants:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._lookup = AssistantLookup(reads)

    async def named(self, request: web.Request, names: Sequence[str]) -> list[Assistant]:
        """Return the assistants with these ids or graph names. Raises ApiError 422 for a name of no graph, 404 for one that is not there.

        An assistant that the caller may not read is as if it were not there. The one that the server makes of each graph is
        everybody's: every caller that may create runs may run the project's graphs.
        """
        ids = []
        graph_names = {}
        for name in names:
            assistant_id = canonical_uuid(name)
            if assistant_id is None:
                assistant_id = default_assistant_id(name)
                graph_names[assistant_id] = name
            ids.append(assistant_id)
        assistants = await self._lookup.find(ids)
        if guarded(request):
            assistants = await self._readable(request, ids, graph_names, assistants)
        known = []
        for assistant_id, assistant in zip(ids, assistants, strict=True):
            if assistant is None:
                raise await self._missing(graph_names.get(assistant_id))
            known.append(assistant)
        return known

    async def filter(self, request: web.Request, assistant: Assistant) -> Filter | None:
        """Return the filter that the assistant must match for later runs, when no handler can be called. Raises ApiError."""
        if is_default(assistant):
            return DEFAULTS_METADATA
        return await authorize(request, "assistants", "read", {"assistant_id": assistant.assistant_id})

    async def context_members(self, graph_id: str) -> list[str] | None:
        """Return the members of the graph's context schema; None: it has none, or accepts any."""
        members: list[str] | None = await self._reads.value(SQL["context_members"], graph_id)
        return members

    async def _missing(self, graph_name: str | None) -> ApiError:
        if graph_name is not None:
            graphs = [row["graph_id"] for row in await self._reads.rows(SQL["graph_names"])]
            if graph_name not in graphs:
                # clients match either text: the Python and the JavaScript reference server differ
                return HintedError(
                    422,
                    f"Invalid assistant: {graph_name!r}. Must be either:\n- A valid assistant UUID, or\n"
                    f"- One of the registered graphs: {', '.join(graphs)}",
                    f'No assistant found for "{graph_name[:200]}".',
                )
        return not_found(TARGET_MISSING)

    async def _readable(
        self,
        request: web.Request,
        ids: Sequence[str],
        graph_names: Mapping[str, str],
        assistants: Sequence[Assistant | None],
    ) -> list[Assistant | None]:
        """Return those that the caller may read, and None in place of the others. Raises ApiError if a handler refuses."""
        filters: dict[str, Filter | None] = {}
        readable: list[Assistant | None] = []
        for assistant_id, assistant in zip(ids, assistants, strict=True):
            if assistant is None and assistant_id in graph_names:
                readable.append(None)
                continue
            if assistant is None or not is_default(assistant):
                if (
                    assistant_id not in filters
                ):  # also for one that is not there: a refusal must not tell the difference
                    value: dict[str, Any] = {"assistant_id": assistant_id}
                    filters[assistant_id] = await authorize(request, "assistants", "read", value)
                if assistant is not None and not admits(filters[assistant_id], assistant.metadata):
                    assistant = None
            readable.append(assistant)
        return readable


def is_default(assistant: Assistant) -> bool:
    """Return whether it is the one that the server created for its graph."""
    return assistant.assistant_id == default_assistant_id(assistant.graph_id) and admits(
        DEFAULTS_METADATA, assistant.metadata
    )


class AssistantLookup:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._wanted: dict[str, asyncio.Future[Assistant | None]] = {}
        self._querying: asyncio.Task[None] | None = None

    async def find(self, ids: Sequence[str]) -> list[Assistant | None]:
        """Return the assistants in the order of the ids; None where there is none. Lookups share the objects: callers must
        not change them. Raises ApiError 503."""
        loop = asyncio.get_running_loop()
        futures = []
        for id in ids:
            future = self._wanted.get(id)
            if future is None:
                future = self._wanted[id] = loop.create_future()
                future.add_done_callback(_consume_exception)
            futures.append(future)
        if self._querying is None or self._querying.done():
            self._querying = loop.create_task(self._query())
        return [await asyncio.shield(future) for future in futures]

    async def _query(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            try:
                rows = await self._reads.rows(SQL["assistants"], list(wanted))
                assistants = {row["assistant_id"]: _assistant(row) for row in rows}
            except Exception as error:
                for future in wanted.values():
                    future.set_exception(error)
            else:
                for id, future in wanted.items():
                    future.set_result(assistants.get(id))


def _consume_exception(future: asyncio.Future[Any]) -> None:
    """Retrieve the error: the requests may have ended, so that no caller does."""
    if not future.cancelled():
        future.exception()


def _assistant(row: Any) -> Assistant:
    decode = msgspec.json.decode
    return Assistant(
        row["assistant_id"],
        row["graph_id"],
        decode(row["config"]),
        decode(row["context"]),
        decode(row["metadata"]),
    )
