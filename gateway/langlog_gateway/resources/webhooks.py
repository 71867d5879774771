"""Deliveries of a run's webhook: ``GET /threads/{thread_id}/runs/{run_id}/webhooks`` (langlog's own, docs/how-to/webhooks.md).

The deliveries outlive run and thread: a stateless run is deleted before its webhook is delivered.
"""

from __future__ import annotations

from aiohttp import web
from langlog_backbone.postgres.database import load_sql

from ..auth.access import authorize
from ..auth.visibility import narrowed
from ..core import Core, encoded_response
from ..http.errors import not_found
from ..http.validation import path_uuid
from ..responses.webhooks import delivery

SQL = load_sql("langlog_gateway", "webhooks.sql")


class WebhookLog:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/threads/{thread_id}/runs/{run_id}/webhooks", self.list)]

    async def list(self, request: web.Request) -> web.Response:
        """Returns the deliveries of a run's webhooks with each attempt. They remain after the run is deleted."""
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        visible = await authorize(request, "threads", "read", {"thread_id": thread_id})
        # the owner of a deleted thread is unknown; its run's metadata is not
        sql, values = narrowed(SQL["of_run"], visible, thread_id, run_id, column="COALESCE(t.metadata, w.metadata)")
        rows = await self._core.reads.rows(sql, *values)
        if not rows:
            sql, values = narrowed(SQL["run_exists"], visible, thread_id, run_id, column="t.metadata")
            if not await self._core.reads.value(sql, *values):
                raise not_found("Run not found")
        return encoded_response([delivery(row) for row in rows])
