"""All runs of a thread in one stream that never ends by itself: ``GET /threads/{id}/stream`` (wire contract §8)."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
from aiohttp import hdrs, web
from langlog_backbone.time.clock import now_ms
from langlog_schemas import events as ev
from langlog_schemas.runs.ends import FINAL_STATUSES
from langlog_schemas.runs.request import Checkpoint

from ..auth.access import admit
from ..core import Core
from ..http.errors import ApiError, not_found, unprocessable
from ..http.validation import listed, path_uuid
from ..runs.streaming import QUICK_JOIN_S, SETTLE_S, event_id, is_early
from ..runs.submission import SQL
from ..streams import sse
from ..streams.run_end import ended
from ..streams.sequencer import START, FrameSequencer, FrameSlice
from ..streams.sse import Batch, FrameId, FramePosition
from ..streams.stream_out import StreamOut
from ..streams.watch import FrameFollower, ThreadUpdate, Watch
from .state import ThreadState

MODES = ("run_modes", "lifecycle", "state_update")
EARLY_RUNS = 10
"""Number of a thread's newest runs that are queried when a client joins."""
KEPT_RUNS = 64
"""Number of ended runs that a stream remembers, to drop their late frames."""


class ThreadStreams:
    def __init__(self, core: Core, state: ThreadState) -> None:
        self._core = core
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/threads/{thread_id}/stream", self.stream)]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the events of all runs of a thread, present and future, as server-sent events. The stream does
        not end by itself. Only events of resumable runs can be replayed.
        """
        thread_id = path_uuid(request, "thread")
        modes = _modes(request)
        try:
            await admit(request, "threads", "read", {"thread_id": thread_id}, not_found("Thread not found"))
        except ApiError as error:
            out = StreamOut(request, self._core.settings.heartbeat_s, {})
            await out.open()
            await out.fail("HTTPException", f"{error.status}: {error.detail}")
            return await out.close()
        self._core.enter_stream(request)
        watch: Watch | None = None
        try:
            watch = await self._core.watches.open(thread_id, frames=True)
            out = StreamOut(request, self._core.settings.heartbeat_s, {})
            await out.open()
            if request.method == hdrs.METH_HEAD:
                return await out.close()
            out.guard(watch)
            follower = ThreadFollower(self._core, self._state, out, watch, modes)
            given = request.headers.get("last-event-id")
            permissions = self._core.permissions
            check = permissions.reading(request, thread_id)
            follow = partial(follower.follow, event_id(given), early=not given)
            return await out.while_permitted(permissions, thread_id, "end", check, follow)
        finally:
            if watch is not None:
                self._core.watches.close(watch)
            self._core.leave_stream(request)


class ThreadFollower(FrameFollower):
    """One client's stream of the runs of a thread."""

    def __init__(self, core: Core, state: ThreadState, out: StreamOut, watch: Watch, modes: frozenset[str]) -> None:
        super().__init__(watch)
        self._state = state
        self._out = out
        self._pause = partial(out.outlast, watch)
        self._backlog = core.backlog.outlasting(self._pause)
        self._reads = core.reads.outlasting(self._pause)
        self._states = "state_update" in modes
        self._runs = bool(modes & {"run_modes", "lifecycle"})
        self._all_events = "run_modes" in modes
        self._written: FrameId = (now_ms(), -1)
        """Id of the last event that the client has; at first: the time of its request."""
        self._since: FrameId | None = None
        """Event to continue after; None: begin with any frame."""
        self._sequencers: dict[str, FrameSequencer] = {}
        self._ends: dict[str, tuple[FramePosition, float]] = {}
        """Ended runs -> their last frame, and the loop's time until which frames may still arrive."""
        self._over: dict[str, None] = {}
        """Runs whose end was written."""
        self._held: list[Batch] = []
        """Batches of runs that began before the end of the run before has arrived."""

    async def follow(self, last_id: FrameId | None, *, early: bool = False) -> web.StreamResponse:
        """Write the frames after ``last_id``, and later ones. ``early``: the client names no event that it has."""
        if last_id is not None:
            self._written = self._since = last_id
            await self._catch_up()
        elif early and self._runs:
            await self._begin_early()
        await self._follow()
        return await self._out.close()

    async def _begin_early(self) -> None:
        """Write the frames of runs that the client has just created in order to follow them here."""
        thread_id, backlog = self._watch.thread_id, self._backlog
        for row in await self._reads.rows(SQL["young"], thread_id, QUICK_JOIN_S, EARLY_RUNS):
            over = row["status"] in FINAL_STATUSES
            if not is_early(row, over=over):
                continue
            run_id, end = row["run_id"], (row["attempt"], row["frame_count"]) if over else None
            async for portion in backlog.pages_of_run(thread_id, run_id, recorded=bool(row["resumable"]), end=end):
                await self._take(portion.in_turn())
            if end is not None and run_id in self._sequencers:
                await self._end(run_id, end)

    async def _take(self, batches: list[Batch]) -> None:
        if self._runs:
            for batch in batches:
                await self._take_batch(batch)

    async def _apply(self, update: ThreadUpdate) -> None:
        event = update.event
        if isinstance(event, ev.StateUpdated):
            if self._states and not event.checkpoints_only:
                await self._write_state(event.checkpoint_id)
            return
        run_id = getattr(event, "run_id", None)
        if run_id is None or not self._runs or run_id in self._over:
            return
        if isinstance(event, ev.RunDeleted) and run_id not in self._sequencers:
            return  # it was over before
        end = ended(event, run_id)
        if end is not None:
            until = asyncio.get_running_loop().time() + SETTLE_S
            self._ends[run_id] = ((end.attempt, end.frame_count), until)

    async def _catch_up(self) -> None:
        """Write the frames published since the last written event, as far as available."""
        if not self._runs:
            return
        since = self._written
        thread_id, backlog = self._watch.thread_id, self._backlog
        runs = await backlog.last_ids(thread_id, await backlog.recent_runs(thread_id))
        ends = await backlog.ended(thread_id, {*runs, *self._sequencers})
        for run_id, (ms, n) in runs.items():
            if (ms, n + 1) <= since:  # its end, too, was written
                self._forget(run_id)
            if run_id in self._over:
                continue
            if run_id not in self._sequencers:
                self._sequencers[run_id] = FrameSequencer(backlog, thread_id, run_id, recorded=True, known=since)
            async for batches in self._sequencers[run_id].past(ends.get(run_id)):
                for batch in batches:
                    await self._take_batch(batch)
                if any(held.run_id == run_id for held in self._held):
                    break  # the end of the run before has not arrived: the rest is read then
            if run_id in ends:
                await self._end(run_id, ends[run_id])
        for run_id in [run_id for run_id in self._sequencers if run_id not in runs]:
            if run_id in ends:
                await self._end(run_id, ends[run_id])

    async def _overrun(self) -> bool:
        await self._out.cut_off()
        return True

    def _shut_down(self) -> None:
        self._out.break_off()

    async def _settled(self) -> bool:
        """Deliver frames and ends. The stream itself never ends."""
        now = asyncio.get_running_loop().time()
        for run_id, (end, until) in tuple(self._ends.items()):
            if self._sequencer(run_id).reached(end) or now >= until:
                await self._end(run_id, end)
        return False

    async def _wait(self) -> None:
        await self._out.wait(self._watch, min((until for _, until in self._ends.values()), default=None))

    async def _take_batch(self, batch: Batch) -> None:
        """Deliver a batch. A thread executes one run after the other, and its stream has that order: the frames of the next
        run follow the end of the one before."""
        run_id = batch.run_id
        if run_id in self._over:
            return
        before = [other for other, frames in self._sequencers.items() if other != run_id and frames.last is not None]
        if not before:
            async for slices in self._sequencer(run_id, recorded=batch.resumable).take([batch]):
                await self._write(slices)
            return
        if all(held.run_id != run_id for held in self._held):
            ends = await self._backlog.ended(self._watch.thread_id, [run_id, *before])
            if run_id in ends and not any(other in ends for other in before):
                self._forget(run_id)  # from a worker that was taken for dead
                return
            for other in before:
                if other in ends:
                    await self._end(other, ends[other])
                    await self._take_batch(batch)
                    return
        self._held.append(batch)

    async def _write(self, slices: list[FrameSlice]) -> None:
        for new in slices:
            self._written = new.batch.last_id
            if self._all_events:
                await self._out.write(new.encoded(ids=True))
            else:
                await self._out.write(sse.encode([f for f in new.frames if f.event == "metadata"], ids=True))

    async def _end(self, run_id: str, end: FramePosition) -> None:
        """Write the remaining frames of a run, and its closing event, whose id follows the run's last frame."""
        self._ends.pop(run_id, None)
        frames = self._sequencer(run_id)
        if frames.last is not None and not frames.reached(end):
            async for portion in frames.pages(end):
                await self._write(portion)
            if self._all_events:
                await self._out.write(frames.missing_until(end))
        self._forget(run_id)
        ms, n = frames.last or (max(now_ms(), self._written[0] + 1), -1)
        self._written = (ms, n + 1)
        data = msgspec.json.encode({"status": "run_done", "run_id": run_id})
        await self._out.write(sse.event("metadata", data, f"{ms}-{n + 1}"))
        held, self._held = self._held, []
        for batch in held:
            await self._take_batch(batch)

    def _forget(self, run_id: str) -> None:
        self._sequencers.pop(run_id, None)
        self._over[run_id] = None
        if len(self._over) > KEPT_RUNS:
            del self._over[next(iter(self._over))]

    async def _write_state(self, checkpoint_id: str | None) -> None:
        """Write the state of an update, which may no longer be the latest."""
        thread_id = self._watch.thread_id
        at = Checkpoint(checkpoint_id=checkpoint_id)
        while True:
            try:
                state = await self._state.read(self._out.request, thread_id, at, subgraphs=False)
                break
            except ApiError as error:
                if error.status != 503 or not await self._pause():
                    raise
        if state is not None:
            data = msgspec.json.encode({"state": msgspec.Raw(state), "thread_id": thread_id})
            await self._out.write(sse.event("state_update", data, f"{now_ms()}-0"))

    def _sequencer(self, run_id: str, *, recorded: bool = False) -> FrameSequencer:
        """Return the sequencer of the run: from its first frame, or from the first one that arrives."""
        frames = self._sequencers.get(run_id)
        if frames is None:
            since, backlog = self._since, self._backlog
            after = START if recorded and since is not None else None
            thread_id = self._watch.thread_id
            frames = FrameSequencer(backlog, thread_id, run_id, recorded=recorded, after=after, known=since)
            self._sequencers[run_id] = frames
        return frames


def _modes(request: web.Request) -> frozenset[str]:
    """Return the requested modes, several separated by commas. Of repeated ``stream_modes`` the last one counts, as recorded; clients
    repeat ``stream_mode`` for each mode of a list."""
    given = request.query.getall("stream_modes", [])[-1:] or request.query.getall("stream_mode", [])
    modes = [mode for name in listed(given) for mode in name.split(",") if mode]
    for mode in modes:
        if mode not in MODES:
            raise unprocessable(f"Invalid stream mode: {mode}")
    return frozenset(modes or ("run_modes",))
