"""Replays runs for the API: any executor handles the requests of gateways, and sends the results to the gateway that
follows.

    gateway ─LPUSH replays─► Redis ─BRPOP─► one executor ─► sandbox process ─► PUBLISH replay:<id>, part by part

Concurrency: on the event loop of its process, at most `AT_ONCE` sandboxes at a time; others wait in Redis until their deadline.
Imports no graph code. What happens when it dies: its sandboxes end with it, and the gateway sees no further part. When no client
follows any more, the sandbox is killed. Nothing is appended to the log.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.history.thread_history import HistoryReader
from langlog_backbone.log import LogUnavailable
from langlog_backbone.process.retry import Availability
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.redis import channels
from langlog_backbone.redis.list_consumer import ListConsumer
from langlog_backbone.redis.replays import REPLAYS
from langlog_backbone.time.clock import now_ms
from langlog_schemas import messages
from langlog_schemas.messages import ReplayPart, ReplayQuery

from .preparation import request_for
from .process import run_in_sandbox
from .request import Replayed, StepDiff

logger = structlog.get_logger(__name__)

AT_ONCE = 2
"""Maximum number of concurrent sandboxes of one executor: each imports the graphs anew."""
BEAT_S = 2.0
"""Seconds between two messages to the gateway that a replay continues, which also check that a gateway follows."""


class ReplayService:
    """A `Service`."""

    name = "replays"

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    async def start(self) -> None:
        """Do nothing: `serve` waits for Redis."""

    async def serve(self) -> None:
        """Receive and execute replays until cancelled."""
        pipe, available = self._backbone.pipe, Availability("executor.replays", "redis")
        consumer = ListConsumer(
            self._backbone.settings, pipe.key(REPLAYS), self._take, AT_ONCE, available, through=pipe
        )
        await consumer.run()

    async def drain(self) -> None:
        """Do not wait for replays: they have no lasting result."""

    async def stop(self) -> None:
        """Do nothing: replays under way end with `serve`."""

    async def not_ready(self) -> str | None:
        return None

    async def _take(self, data: bytes) -> None:
        try:
            query = messages.decode_replay_query(data)
        except msgspec.MsgspecError as error:
            logger.error("replay.unreadable", error=str(error))
            return
        if query.deadline_ms and query.deadline_ms < now_ms():
            return
        parts = _Parts(self._backbone, query.id)
        work = asyncio.create_task(self._carry_out(query, parts))
        try:
            while not work.done():
                if not await parts.beat():
                    return  # no client follows any more
                await asyncio.wait([work], timeout=BEAT_S)
            work.result()
        except (LogUnavailable, OSError) as error:
            await parts.send("refused", f"the log or the read model is not available: {error}".encode())
        except Exception as error:
            if not is_unavailable(error):
                await parts.send("refused", b"the replay failed inside langlog; its log has the cause")
                raise
            await parts.send("refused", f"the log or the read model is not available: {error}".encode())
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _carry_out(self, query: ReplayQuery, parts: _Parts) -> None:
        backbone = self._backbone
        history = await HistoryReader(backbone.log, backbone.pool).of_runs_thread(query.run_id, query.thread_id)
        if history is None:
            await parts.send("refused", f"the log holds nothing of run {query.run_id}".encode())
            return
        request = request_for(history, query.run_id, str(backbone.settings.project.absolute()))
        if request is None:
            cut = "was cut from the log" if history.base is not None or history.cut else "is not in the log"
            await parts.send("refused", f"the beginning of run {query.run_id} {cut}: it cannot be replayed".encode())
            return
        request = msgspec.structs.replace(request, from_checkpoint=query.checkpoint_id, strict=query.strict)
        await parts.send("began")
        outcome = await run_in_sandbox(request, backbone.settings, query.limit_s, parts.step)
        if outcome.problem is not None:
            await parts.send("refused", outcome.problem.encode())
        else:
            await parts.send("end", verdict(outcome))


def verdict(outcome: Replayed) -> bytes:
    """Return the complete comparison as JSON."""
    return msgspec.json.encode({**msgspec.to_builtins(outcome), "same": outcome.same})


class _Parts:
    """Sends the parts of one replay, in order: each once the one before is sent, so that none waits in memory while Redis is slow."""

    def __init__(self, backbone: Backbone, id: str) -> None:
        self._bus, self._channel = backbone.bus, channels.replay(id)

    async def send(self, kind: messages.ReplayKind, body: bytes = b"") -> None:
        try:
            await self._bus.publish_counted(self._channel, messages.encode(ReplayPart(kind=kind, body=body)))
        except RedisUnavailable as error:
            logger.warning("replay.part_lost", kind=kind, error=str(error))

    async def step(self, step: StepDiff) -> None:
        await self.send("step", msgspec.json.encode(step))

    async def beat(self) -> bool:
        """Return whether a gateway follows; true while Redis is unavailable."""
        try:
            return bool(await self._bus.publish_counted(self._channel, messages.encode(ReplayPart(kind="beat"))))
        except RedisUnavailable:
            return True
