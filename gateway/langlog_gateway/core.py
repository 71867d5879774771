"""State that all endpoints of a gateway share: ports, watches, counters, and tasks that outlive a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog
from aiohttp import web
from langlog_backbone.context import Backbone
from langlog_backbone.credentials.deployment_secret import deployment_secrets, derived_key
from langlog_backbone.credentials.loopback_proof import PROOF_HEADER, loopback_proofs
from langlog_backbone.credentials.run_credentials import RunCredentials
from langlog_backbone.history.audit import Audit
from langlog_backbone.metrics import table, tenants
from langlog_backbone.metrics.exposition import EXPOSITION, Source
from langlog_backbone.metrics.families import Family, family
from langlog_backbone.operation.figures import DeploymentFigures
from langlog_backbone.probe import Probe
from langlog_backbone.process import tracing
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Configuration
from langlog_backbone.project.store_index import StoreIndex, check_pgvector, store_index
from langlog_backbone.project.ttl import StoreTtl, store_ttl, thread_ttl
from langlog_backbone.project.webhook_policy import WebhookPolicy, webhook_policy, webhook_section
from langlog_backbone.read_model.watermark import Watermark
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.replies import ReplyRouter
from langlog_backbone.store.refresh import Refreshes
from langlog_backbone.values.lone_surrogates import encodable
from langlog_schemas.commands import Ttl

from .auth.access import caller, identity_of
from .auth.own_calls import PROJECT_ACTOR, OwnCalls, is_own_call
from .custom_app.live_code import LiveCode
from .http.backends import SOURCE, Commands, Origin, Queries, Reads
from .http.errors import JSON, ApiError
from .http.metrics import Metrics
from .http.options import read_options
from .http.page_cursor import AFTER
from .http.queue_depth import QueueDepth
from .streams.backlog import Backlog
from .streams.ends_in_log import EndsInLog
from .streams.folding import Folding
from .streams.permission import Permissions
from .streams.stream_slots import StreamSlots
from .streams.watch import Watches

logger = structlog.get_logger(__name__)

KEY_MAX = 256
"""Maximum length of an Idempotency-Key, in characters."""
BACKGROUND_S = 5.0
"""Seconds for tasks that outlived their request to end when the gateway stops."""


ID_SECRET = web.AppKey("id_secret", bytes)
"""Secret from which ids of requests with an ``Idempotency-Key`` are derived."""


class Core:
    def __init__(self, backbone: Backbone, *, dev: bool = False) -> None:
        """``dev``: whether it is the gateway of ``langlog dev``."""
        self.dev = dev
        self.settings: Settings = backbone.settings
        self.options = read_options(self.settings)
        configuration = Configuration(self.options.project)
        self.langsmith = tracing.to_langsmith(configuration.environment())
        """Whether workers with the same variables trace runs to LangSmith."""
        self.webhooks: WebhookPolicy = webhook_policy(webhook_section(configuration.section("webhooks")), self.settings)
        self.default_ttl: Ttl | None = thread_ttl(configuration).default
        """Time to live of threads that are created without one."""
        self.store_ttl: StoreTtl = store_ttl(configuration)
        self.store_index: StoreIndex | None = store_index(configuration)
        self.refreshes = Refreshes(backbone.log, SOURCE)
        self.pipe: RedisPipe = backbone.pipe
        self.pool = backbone.pool
        self.bus = backbone.bus
        self.log = backbone.log
        self.probe = Probe(backbone.pool, backbone.queue, backbone.log)
        self.reads = Reads(backbone.pool, self.settings.read_timeout_s)
        self.code = LiveCode(self.options, self.reads, self.settings)
        """The project's own application, authentication and encryption contexts."""
        self.reads.handlers = lambda: self.code.json_handlers
        self.credentials = RunCredentials(backbone.pool, self.settings)
        self.replies = ReplyRouter(backbone.bus)
        self.commands = Commands(backbone.log, self.replies, self.reads, self.settings.reply_timeout_s)
        self.commands.seal = self.code.sealed
        self.queries = Queries(backbone.pipe, self.replies, self.settings.reply_timeout_s)
        self.audit = Audit(backbone.log, self.reads.rows, self.settings.audit_page_bytes)
        self.watermark = Watermark(backbone.bus, backbone.positions)
        self.watches = Watches(backbone.bus, self.settings, backbone.log.partition_of)
        self.watches.handlers = self.reads.handlers
        self.ends = EndsInLog(backbone.log)
        self.permissions = Permissions(self.settings, self.reads, self.watches)
        self.folding = Folding(backbone.log, self.watermark, self.reads)
        self.backlog = Backlog(backbone.pipe, self.reads, self.folding)
        self.queue_depth = QueueDepth(self.reads, self.settings.max_queued_runs, self.settings.max_queued_runs_per_user)
        self.metrics = Metrics()
        tenants.REQUESTS.limit = self.settings.metrics_tenants
        deployment = DeploymentFigures(backbone.pool, backbone.log, backbone.pipe, self.settings)
        self._sources: dict[str, Source] = {
            "requests": self.metrics.collect,
            "streams": self._figures,
            "deployment": deployment.collect,
        }
        """Sources of metrics, besides those that are counted where they occur."""
        self.draining = False
        self.id_secret = b""
        self.own_calls = OwnCalls([])
        """Recognises calls of the project's own code; none before the start."""
        self.on_drain: list[Callable[[], None]] = []
        """Callbacks for the shutdown of the server. They must not block."""
        self.on_stop: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Coroutines to await when the gateway stops."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._streams = StreamSlots(self.settings.max_streams, self.settings.max_streams_per_user)

    async def start(self) -> None:
        if self.store_index is not None:
            await check_pgvector(self.pool)
        secrets = await deployment_secrets(self.pool, self.settings)
        self.id_secret = derived_key(secrets[0], "ids of repeated requests")
        proofs = loopback_proofs(secrets)
        self.own_calls = OwnCalls(proofs)
        self.code.proof = {PROOF_HEADER: proofs[0]}
        await self.replies.start()
        await self.watches.start()
        for name, source in self._sources.items():
            EXPOSITION.add(name, source)

    async def _figures(self) -> list[Family]:
        return [family(table.MISSING_EVENTS, self.backlog.missing_events)]

    async def stop(self) -> None:
        for source in self._sources.values():
            EXPOSITION.remove(source)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=BACKGROUND_S)
        for task in self._tasks:
            task.cancel()
        await self.refreshes.stop()
        for stop in self.on_stop:
            await stop()
        await self.watches.stop()
        await self.replies.stop()

    def background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a task that outlives the request that started it. Its failure is logged."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("gateway.background_failed", error=repr(error))

    async def caller_of(self, request: web.Request) -> dict[str, Any]:
        """Return the caller as part of a query to a worker: factories make graphs for users. Raises ApiError."""
        user, headers = caller(request), self.options.http.configurable(request.headers)
        headers |= await self.code.encryption_contexts.of(request)
        return {"caller": {"user": user, "headers": headers}} if user is not None or headers else {}

    def enter_stream(self, request: web.Request) -> None:
        """Count one more open stream of the caller. Raises ApiError 429 over a limit."""
        self._streams.enter(identity_of(request))

    def leave_stream(self, request: web.Request) -> None:
        self._streams.leave(identity_of(request))


def origin_of(request: web.Request) -> Origin:
    """Return the caller, and the request's ``Idempotency-Key``. Raises ApiError 422 for a key that is too long.

    A key belongs to the method and path that it came with: the same key elsewhere is another one.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and len(key) > KEY_MAX:
        raise ApiError(422, f"Idempotency-Key is longer than {KEY_MAX} characters")
    user_id = identity_of(request)
    actor = user_id if caller(request) is not None else PROJECT_ACTOR if is_own_call(request) else None
    if not key:
        return Origin(actor, user_id=user_id)
    return Origin(actor, encodable(f"{request.method} {request.path} {key}"), request.app[ID_SECRET], user_id)


def json_response(body: bytes | str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a response of encoded JSON."""
    return web.Response(
        body=body.encode() if isinstance(body, str) else body, status=status, content_type=JSON, headers=headers
    )


def encoded_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a response of Structs (see `responses`), encoded as JSON."""
    return json_response(msgspec.json.encode(value), status, headers)


def no_content(status: int = 204) -> web.Response:
    return web.Response(status=status)


def page_headers(offset: int, limit: int, count: int, after: str | None = None) -> dict[str, str]:
    """Return the pagination headers (wire contract §1.4). ``count``: rows read with a limit of ``limit`` + 1; ``after``: see `pages`."""
    if count > limit:
        cursor = {} if after is None else {AFTER: after}
        return {"x-pagination-total": str(offset + limit + 1), "x-pagination-next": str(offset + limit), **cursor}
    return {"x-pagination-total": str(offset + count)}
