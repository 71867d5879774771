"""The part of a list that a caller sees, as the project's search handlers determine it: their filter, and members they add
to the metadata.

Long-lived readers keep it, compare it with a later one, and share what they read with readers of an equal one.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_schemas.rules.filters import Filter

from .access import Resource, authorize
from .visibility import Parameters, conditions


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions on the metadata of listed objects; all must hold."""

    visible: Filter = {}
    metadata: dict[str, Any] = {}
    """Members that handlers added to the search's own."""
    on_threads: Filter = {}
    """For crons: a cron on a thread that matches this filter is visible whatever its own metadata."""

    @property
    def everything(self) -> bool:
        return not self.visible and not self.metadata

    @property
    def key(self) -> bytes:
        """Key that is equal for equal sights."""
        return msgspec.json.encode(self, order="sorted")

    def conditions(self, parameters: Parameters, column: str = "metadata") -> list[str]:
        """Return conditions to AND to a query; for ``crons``, they use the table's own name. Raises FilterError."""
        filters = conditions(self.visible, parameters, column)
        if self.metadata:
            filters.append(f"{column} @> {parameters.add(msgspec.json.encode(self.metadata).decode(), '::jsonb')}")
        if not filters or not self.on_threads:
            return filters
        threads = " AND ".join(conditions(self.on_threads, parameters, "t.metadata"))
        theirs = f"EXISTS (SELECT FROM threads t WHERE t.thread_id = crons.thread_id AND {threads})"
        return [f"(({' AND '.join(filters)}) OR {theirs})"]


async def sight_of(request: web.Request, resource: Resource, value: dict[str, Any] | None = None) -> Sight:
    """Return what the caller sees of ``threads`` or ``assistants`` in a search without conditions. Raises ApiError to refuse."""
    shown: dict[str, Any] = {**(value or {}), "metadata": {}}
    visible = await authorize(request, resource, "search", shown)
    return Sight(visible=visible or {}, metadata=shown["metadata"] or {})
