"""All runs of a thread in one stream that never ends by itself: ``GET /threads/{id}/stream`` (API.md 8)."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import hdrs, web
from langlog_backbone.clock import now_ms
from langlog_schemas import events as ev

from . import bodies, sse
from .access import admit
from .core import Core
from .errors import ApiError, not_found, unprocessable
from .merge import Merge
from .run_end import ended
from .run_stream import SETTLE_S, End, event_id
from .sse import Batch
from .stream_out import StreamOut
from .thread_state import ThreadState
from .validation import listed, path_uuid
from .watch import Happening, Watch

MODES = ("run_modes", "lifecycle", "state_update")
KEPT_RUNS = 64
"""Runs whose position a stream remembers: the ones before are over."""


class ThreadStreams:
    def __init__(self, core: Core, state: ThreadState) -> None:
        self._core = core
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/threads/{thread_id}/stream", self.stream)]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        thread_id = path_uuid(request, "thread")
        modes = _modes(request)
        try:
            await admit(request, "threads", "read", {"thread_id": thread_id}, not_found("Thread not found"))
        except ApiError as error:
            out = StreamOut(request, self._core.settings.heartbeat_s, {})
            await out.open()
            await out.fail("HTTPException", f"{error.status}: {error.detail}")
            return await out.close()
        self._core.enter_stream()
        watch: Watch | None = None
        try:
            watch = await self._core.watches.open(thread_id, frames=True)
            out = StreamOut(request, self._core.settings.heartbeat_s, {})
            await out.open()
            if request.method == hdrs.METH_HEAD:
                return await out.close()
            out.guard(watch)
            reader = _ThreadReader(self._core, self._state, out, watch, modes)
            last_id = event_id(request.headers.get("last-event-id"))
            if last_id is not None:
                await reader.replay(last_id)
            return await reader.follow()
        finally:
            if watch is not None:
                self._core.watches.close(watch)
            self._core.leave_stream()


class _ThreadReader:
    """One client's way through the runs of a thread."""

    def __init__(self, core: Core, state: ThreadState, out: StreamOut, watch: Watch, modes: frozenset[str]) -> None:
        self._core = core
        self._state = state
        self._out = out
        self._watch = watch
        self._states = "state_update" in modes
        self._runs = bool(modes & {"run_modes", "lifecycle"})
        self._whole = "run_modes" in modes
        self._merges: dict[str, Merge] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self._ends: dict[str, tuple[End, int, float]] = {}

    async def replay(self, after: tuple[int, int]) -> None:
        """Write what resumable runs have produced since an event."""
        if not self._runs:
            return
        ends = await self._core.backlog.ended(self._watch.thread_id)
        current = ""
        for batch in await self._core.backlog.of_thread(self._watch.thread_id):
            if current and batch.run_id != current and current in ends:
                await self._done(current, after)
            current = batch.run_id
            await self._write(batch, after)
        if current and current in ends:
            await self._done(current, after)

    async def follow(self) -> web.StreamResponse:
        watch, out = self._watch, self._out
        loop = asyncio.get_running_loop()
        while True:
            for batch in watch.take_batches():
                await self._take(batch)
            while watch.happenings:
                await self._happened(watch.happenings.popleft())
            watch.missed = False
            if watch.overrun:
                await out.cut_off(self._core.settings.stream_buffer_frames)
                return await out.close()
            if watch.closing:
                return await out.close()
            for run_id, (end, _, until) in tuple(self._ends.items()):
                if self._merge(run_id).reached(*end) or loop.time() >= until:
                    del self._ends[run_id]
                    await self._done(run_id)
            await out.wait(watch, min((until for _, _, until in self._ends.values()), default=None))

    async def _take(self, batch: Batch) -> None:
        if not self._runs:
            return
        if self._merge(batch.run_id).gap_before(batch) and batch.run_id in self._last:
            for known in await self._core.backlog.recent(self._watch.thread_id, batch.run_id):
                await self._write(known)
        await self._write(batch)

    async def _write(self, batch: Batch, after: tuple[int, int] | None = None) -> None:
        piece = self._merge(batch.run_id).take(batch)
        if piece is None:
            return
        last = batch.frames[-1]
        self._last[batch.run_id] = (last.ms, last.n)
        known = piece.after
        if after is not None:
            known = max([known, *(f.sequence for f in batch.frames if (f.ms, f.n) <= after)])
        if self._whole:
            await self._out.write(batch.encoded(known, ids=True))
        else:
            started = [f for f in batch.frames if f.sequence > known and f.event == "metadata"]
            await self._out.write(sse.encode(started, ids=True))

    async def _happened(self, happening: Happening) -> None:
        event = happening.event
        if isinstance(event, ev.StateUpdated):
            if self._states and not event.checkpoints_only:
                await self._tell_state()
            return
        run_id = getattr(event, "run_id", None)
        if run_id is None or not self._runs:
            return
        end = ended(event, run_id)
        if end is not None:
            until = asyncio.get_running_loop().time() + SETTLE_S
            self._ends[run_id] = ((end.attempt, end.last_sequence), end.last_frame_ms, until)

    async def _done(self, run_id: str, after: tuple[int, int] | None = None) -> None:
        """The closing event of a run; its id follows the run's last frame."""
        last = self._last.pop(run_id, None)
        ms, n = (last[0], last[1] + 1) if last is not None else (now_ms(), 0)
        self._merges.pop(run_id, None)
        if after is not None and (ms, n) <= after:
            return
        data = msgspec.json.encode({"status": "run_done", "run_id": run_id})
        await self._out.write(sse.event("metadata", data, f"{ms}-{n}"))

    async def _tell_state(self) -> None:
        thread_id = self._watch.thread_id
        state = await self._state.read(thread_id, bodies.Checkpoint(), subgraphs=False)
        if state is not None:
            data = msgspec.json.encode({"state": msgspec.Raw(state), "thread_id": thread_id})
            await self._out.write(sse.event("state_update", data, f"{now_ms()}-0"))

    def _merge(self, run_id: str) -> Merge:
        merge = self._merges.get(run_id)
        if merge is None:
            if len(self._merges) >= KEPT_RUNS:
                del self._merges[next(iter(self._merges))]
            merge = self._merges[run_id] = Merge()
        return merge


def _modes(request: web.Request) -> frozenset[str]:
    """Of repeated parameters only the last counts; several go in one, with commas."""
    given = request.query.getall("stream_modes", []) or request.query.getall("stream_mode", [])
    found = [mode for name in listed(given[-1:]) for mode in name.split(",") if mode]
    for mode in found:
        if mode not in MODES:
            raise unprocessable(f"Invalid stream mode: {mode}")
    return frozenset(found or ("run_modes",))
