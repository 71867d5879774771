"""``/ok``, ``/``, ``/info``, ``/metrics`` (wire contract §15)."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.history.run_view import HOST, LANGGRAPH_VERSION, LANGLOG_VERSION
from langlog_backbone.metrics.exposition import CONTENT_TYPE, EXPOSITION
from langlog_backbone.operation.figures import capacity
from langlog_backbone.operation.workers import queue_and_workers
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.server_errors import RedisUnavailable

from ..core import Core, encoded_response, json_response
from ..http.errors import not_ready
from ..http.validation import query_int
from ..openapi.document import DOCS
from ..responses.system import Health, Host, Info
from .readiness import services

SQL = load_sql("langlog_gateway", "runs.sql")


class System:
    def __init__(self, core: Core) -> None:
        self._core = core
        self.document = b"{}"
        """The OpenAPI document, once all routes are known."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.ok),
            web.get("/ok", self.ok),
            web.get("/info", self.info),
            web.get("/docs", self.docs),
            web.get("/openapi.json", self.openapi),
            web.get("/metrics", self.metrics),
        ]

    async def ok(self, request: web.Request) -> web.Response:
        """Reports whether the server serves requests now; 503 with the reasons otherwise. `check_db=1` adds the
        state of Postgres, Redis and the log, and the lag of the read model.
        """
        detailed = query_int(request, "check_db", 0)
        failures = await self._core.probe.failures()
        if failures:
            raise not_ready(failures.values())
        if detailed:
            states = await services(self._core.reads, self._core.pipe, self._core.log)
            return encoded_response(Health(ok=True, services=states))
        return encoded_response(Health(ok=True))

    async def docs(self, request: web.Request) -> web.Response:
        """Returns a page that shows this document."""
        return web.Response(text=DOCS, content_type="text/html", charset="utf-8")

    async def openapi(self, request: web.Request) -> web.Response:
        """Returns the OpenAPI document of this server, with the routes of the project's own application."""
        return json_response(self.document)

    async def info(self, request: web.Request) -> web.Response:
        """Returns the versions of langlog and langgraph, and the features that clients may use."""
        flags = {**FLAGS, "crons": self._core.settings.crons_enabled, "langsmith": self._core.langsmith}
        return encoded_response(Info(LANGLOG_VERSION, LANGGRAPH_VERSION, flags, Host(HOST)))

    async def metrics(self, request: web.Request) -> web.Response:
        """Returns metrics as Prometheus text, or the main figures as JSON with `format=json`."""
        if request.query.get("format") != "json":
            return web.Response(body=await EXPOSITION.text(), headers={"content-type": CONTENT_TYPE})
        workers = await self._workers()
        row = await self._core.reads.row(SQL["queue"])
        figures = {
            "queue": {
                "n_pending": row["pending"],
                "pending_runs_wait_time_max_secs": _seconds(row["longest"]),
                "pending_runs_wait_time_med_secs": _seconds(row["median"]),
                "pending_unblocked_runs_wait_time_max_secs": _seconds(row["unblocked"]),
                "n_running": row["running"],
            },
            "api": {"http_requests_total": self._core.metrics.requests()},
            "workers": workers,
        }
        return json_response(msgspec.json.encode(figures))

    async def _workers(self) -> dict[str, int]:
        """How many runs the workers that are alive can hold, and hold."""
        try:
            queue = await queue_and_workers(self._core.pipe)
        except RedisUnavailable:
            return {"max": 0, "active": 0, "available": 0}
        figures = capacity(queue.workers, self._core.settings.jobs_per_worker)
        return dict(zip(("max", "active", "available"), figures, strict=True))


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


FLAGS = {
    "assistants": True,
    "crons": True,
    "langsmith": False,
    "langsmith_tracing_replicas": False,
    "langsmith_tracing_session_on_runs": False,
    "strict_resume": True,
    "stream_namespaces": True,
}
"""Features that clients check before they use them."""
