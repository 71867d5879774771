"""What a caller sees of a list, as the project's handlers of its search say it: the filter, and what they put into the metadata.

Long-lived readers keep it, compare it with a later answer, and share what they read with others who see the same.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_schemas.rules.filters import Filter

from .access import Resource, authorize
from .visibility import Parameters, conditions


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions on the metadata of what is listed; all must hold."""

    visible: Filter = {}
    metadata: dict[str, Any] = {}
    """Members that handlers added to the search's own."""
    on_threads: Filter = {}
    """Of crons: one on a thread that this filter matches is seen whatever its own metadata says."""

    @property
    def everything(self) -> bool:
        return not self.visible and not self.metadata

    @property
    def key(self) -> bytes:
        """The same for those who see the same."""
        return msgspec.json.encode(self, order="sorted")

    def conditions(self, parameters: Parameters, column: str = "metadata") -> list[str]:
        """To be ANDed to what is asked, for ``crons`` as the table's own name. Raises FilterError."""
        filters = conditions(self.visible, parameters, column)
        if self.metadata:
            filters.append(f"{column} @> {parameters.add(msgspec.json.encode(self.metadata).decode(), '::jsonb')}")
        if not filters or not self.on_threads:
            return filters
        threads = " AND ".join(conditions(self.on_threads, parameters, "t.metadata"))
        theirs = f"EXISTS (SELECT FROM threads t WHERE t.thread_id = crons.thread_id AND {threads})"
        return [f"(({' AND '.join(filters)}) OR {theirs})"]


async def sight_of(request: web.Request, resource: Resource, value: dict[str, Any] | None = None) -> Sight:
    """What the caller sees of ``threads`` or ``assistants``, searched without conditions. Raises ApiError to refuse."""
    shown: dict[str, Any] = {**(value or {}), "metadata": {}}
    visible = await authorize(request, resource, "search", shown)
    return Sight(visible=visible or {}, metadata=shown["metadata"] or {})
