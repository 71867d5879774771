"""``/ok``, ``/``, ``/info``, ``/metrics`` (wire contract §15)."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.history.run_view import HOST, LANGGRAPH_VERSION, LANGLOG_VERSION
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import exposition
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis.kept_frames import KeptFrames
from langlog_backbone.redis.memory import redis_memory
from redis.exceptions import ResponseError

from ..core import Core, encoded_response, json_response
from ..http.errors import ApiError, not_ready
from ..http.validation import query_int
from ..openapi.document import DOCS
from ..responses.system import Health, Host, Info
from .readiness import services

SQL = load_sql("langlog_gateway", "runs.sql")


MISSING_EVENTS = (
    "langlog_stream_events_missing_total",
    "counter",
    "Events that streams passed over because neither Redis nor the log has them",
)


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
        workers = await self._workers()
        if request.query.get("format") != "json":
            headers = {"content-type": "text/plain; version=1.0.0; charset=utf-8"}
            parked, more = (
                await self._parked(),
                [*await self._redis(), (*MISSING_EVENTS, self._core.backlog.missing_events)],
            )
            text = self._core.metrics.prometheus(workers, parked, more) + exposition()
            return web.Response(body=text.encode(), headers=headers)
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

    async def _parked(self) -> tuple[int, int] | None:
        """Keys and records that wait behind ones that cannot be handled; unknown while Postgres is away."""
        try:
            row = await self._core.reads.row(SQL["parked"])
        except ApiError:
            return None
        return row["keys"], row["records"]

    async def _redis(self) -> list[tuple[str, str, str, float]]:
        """What Redis holds, as families of metrics; none while it is away."""
        try:
            memory = await redis_memory(self._core.pipe)
            frames = await KeptFrames(self._core.pipe, self._core.settings).counts()
        except (RedisUnavailable, ResponseError):
            return []
        return [
            ("langlog_redis_used_bytes", "gauge", "Memory that Redis uses", memory.used),
            ("langlog_redis_max_bytes", "gauge", "Memory that Redis may use; 0: no limit", memory.maximum),
            ("langlog_redis_frames_bytes", "gauge", "Stream events of runs that Redis keeps", frames.bytes),
            ("langlog_redis_frames_streams", "gauge", "Threads whose stream events Redis keeps", frames.streams),
            (
                "langlog_redis_frames_dropped_total",
                "counter",
                "Streams removed or halved for the bound",
                frames.dropped,
            ),
        ]

    async def _workers(self) -> dict[str, int]:
        """How many runs the workers that are alive can hold, and hold."""
        pipe = self._core.pipe
        active = slots = 0
        try:
            for worker in await pipe.call("ZRANGE", pipe.key("leases"), 0, -1):
                slots += self._core.settings.jobs_per_worker
                active += int(await pipe.call("LLEN", pipe.key("held", worker.decode())))
        except RedisUnavailable:
            return {"max": 0, "active": 0, "available": 0}
        return {"max": slots, "active": active, "available": max(0, slots - active)}


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
"""Features that clients ask for before they use them."""
