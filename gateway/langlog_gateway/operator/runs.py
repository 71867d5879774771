"""Explanations of waiting runs, and replays of past runs in a sandbox: ``GET …/runs/{run_id}/why`` and ``POST …/runs/{run_id}/replay``.

A replay runs the graph's code, so it passes the gate as a new run of the thread does; nothing of it is appended.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec
from aiohttp import web
from langlog_backbone.log import LogUnavailable
from langlog_backbone.operation.explain_run import explain, gather
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.redis import channels
from langlog_backbone.redis.replays import TooManyReplays, push_replay
from langlog_backbone.time.clock import new_id, now_ms
from langlog_schemas import messages
from langlog_schemas.messages import ReplayQuery

from ..auth.access import admit
from ..core import Core, json_response
from ..http.errors import missing_thread, not_found, unavailable
from ..http.validation import decode_body, path_uuid
from ..requests.operator import Replay
from ..responses.runs import Explanation
from ..streams import slow_readers, sse
from ..streams.stream_out import StreamOut
from ..streams.watch import Limits
from .live import LiveStreams
from .replay_parts import ReplayParts

SQL = load_sql("langlog_gateway", "runs.sql")
BEGIN_S = 30.0
"""Seconds within which an executor begins a replay, or never."""
SILENT_S = 15.0
"""Seconds without a message after which a replay counts as lost with its executor."""
NO_EXECUTOR = f"no executor has begun the replay within {BEGIN_S:.0f} s: is one running, and free?"
TOO_SLOW = "the client reads too slowly: too many steps wait for it"
LOST = "the executor of the replay is gone: start it again"

_replay = msgspec.json.Decoder(Replay)


class RunInsights:
    def __init__(self, core: Core, streams: LiveStreams) -> None:
        self._core, self._streams = core, streams

    def routes(self) -> list[web.RouteDef]:
        one = "/threads/{thread_id}/runs/{run_id}"
        return [web.get(f"{one}/why", self.why), web.post(f"{one}/replay", self.replay)]

    async def why(self, request: web.Request) -> web.Response:
        """Why a run is not moving: what it waits for, which worker holds it, what is missing, in sentences."""
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        await self._exists(thread_id, run_id)
        core = self._core
        try:
            facts = await gather(core.settings, core.pool, core.log, core.pipe, run_id)
        except LogUnavailable:
            raise unavailable("The log") from None
        except Exception as error:
            if is_unavailable(error):
                raise unavailable("Postgres") from None
            raise
        ahead = None if facts.run is None else facts.run.ahead
        lines = [line.strip() for line in explain(run_id, facts, core.settings)]
        return json_response(msgspec.json.encode(Explanation(run_id, lines, ahead)))

    async def replay(self, request: web.Request) -> web.StreamResponse:
        """Run a past run again in a sandbox, against today's code, and stream where it diverges.

        Events: `began`, `step` for each step as it is done (verdict of the step and of each node), `end` with the whole comparison, or
        `refused` with the reason. Nothing is appended and no write to the store is applied; what the graph does to the world outside
        (models, tools), it does again.
        """
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        body = await request.read()
        wanted = decode_body(body, _replay) if body.strip() else Replay()
        await self._admit(request, thread_id, run_id)
        query = ReplayQuery(
            id=new_id(),
            thread_id=thread_id,
            run_id=run_id,
            checkpoint_id=wanted.checkpoint_id,
            strict=wanted.strict,
            limit_s=wanted.timeout,
            deadline_ms=now_ms() + int(BEGIN_S * 1000),
        )
        core = self._core
        check = core.permissions.reading(request, thread_id)
        out = StreamOut(request, core.settings.heartbeat_s, {})

        arrived = ReplayParts(Limits(core.settings.stream_buffer_frames, core.settings.stream_buffer_bytes))
        out.guard(arrived)

        async def follow() -> web.StreamResponse:
            return await self._streams.written(out, self._parts(query, arrived, request.path))

        return await out.while_permitted(core.permissions, thread_id, "leave", check, follow)

    async def _admit(self, request: web.Request, thread_id: str, run_id: str) -> None:
        """Check that the caller may read the run, and create the same one again. Raises ApiError."""
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        run = await self._core.reads.row(SQL["replayed"], thread_id, run_id)
        if run is None:
            raise not_found("Run not found")
        value = {
            "thread_id": thread_id,
            "assistant_id": run["assistant_id"],
            "run_id": run_id,
            "status": "pending",
            "metadata": msgspec.json.decode(run["metadata"]),
            "kwargs": msgspec.json.decode(run["kwargs"]),
            "multitask_strategy": "enqueue",
            "if_not_exists": "reject",
            "after_seconds": 0,
            "prevent_insert_if_inflight": False,
        }
        await admit(request, "threads", "create_run", value, missing_thread(thread_id))

    async def _exists(self, thread_id: str, run_id: str) -> None:
        """Raise ApiError 404 if the run does not exist."""
        if await self._core.reads.row(SQL["progress"], thread_id, run_id) is None:
            raise not_found("Run not found")

    async def _parts(self, query: ReplayQuery, arrived: ReplayParts, path: str) -> AsyncGenerator[bytes, None]:
        """Yield the parts of the replay as events, until its end."""
        core, channel = self._core, channels.replay(query.id)

        def on_part(data: bytes) -> None:
            arrived.put(messages.decode_replay_part(data))

        await core.bus.subscribe(channel, on_part)
        try:
            try:
                await push_replay(core.pipe, query)
            except TooManyReplays as error:
                yield refused(str(error))
                return
            except RedisUnavailable:
                yield refused("Redis is unavailable, try again shortly")
                return
            taken = False
            while True:
                try:
                    part = await arrived.next(SILENT_S if taken else BEGIN_S)
                except TimeoutError:
                    yield refused(LOST if taken else NO_EXECUTOR)
                    return
                if part is None:
                    slow_readers.SLOW.cut_off(path)
                    yield refused(TOO_SLOW)
                    return
                taken = True
                match part.kind:
                    case "beat":
                        continue
                    case "began":
                        yield sse.event("began", msgspec.json.encode({"run_id": query.run_id}))
                    case "step":
                        yield sse.event("step", part.body)
                    case "refused":
                        yield refused(part.body.decode())
                        return
                    case "end":
                        yield sse.event("end", part.body)
                        return
        finally:
            await core.bus.unsubscribe(channel, on_part)


def refused(reason: str) -> bytes:
    return sse.event("refused", msgspec.json.encode({"detail": reason}))
