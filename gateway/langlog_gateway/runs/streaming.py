"""The stream of one run: created with it, or joined (wire contract §6).

Live frames come by the watch, older ones from the backlog; a `FrameSequencer` puts them in order. The stream closes once the run's
last event is in the read model and the frames up to its last one are delivered: clients query the status after the close.
While Redis is unavailable frames are only delayed: the gap is filled from the backlog, and the end is read from Postgres.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from langlog_schemas.runs.ends import FINAL_STATUSES

from ..core import Core
from ..http.errors import ApiError, unprocessable
from ..http.validation import DIGITS_MAX, query_names
from ..streams.run_end import Ended, ended
from ..streams.sequencer import START, FrameSequencer, FrameSlice, Since
from ..streams.sse import (
    WITHOUT_METADATA,
    Batch,
    FrameId,
    FramePosition,
    Modes,
    Namespaces,
    modes_of,
    namespaces_of,
)
from ..streams.stream_out import StreamOut
from ..streams.watch import FrameFollower, ThreadUpdate, Watch
from .submission import SQL, PreparedRun

SETTLE_S = 0.25
"""Seconds that a stream whose run has ended waits for frames that are not in the backlog either."""

QUICK_RUN_S = 0.75
"""Seconds within which a run that ends is a quick one: its client had no chance to join while it was live."""
QUICK_JOIN_S = 5.0
EARLY_JOIN_S = 0.75
"""A join without ``Last-Event-ID`` gets all events from the run's start if it arrives within `EARLY_JOIN_S` of the creation of a live
run, or within `QUICK_JOIN_S` of that of a quick run: the client has created the run in order to follow it. Other joins get
later events only, and none of an ended run (wire contract §6.4; the recorded runs took a second and more)."""

NO_CHECKPOINTS = (
    "checkpoint_id: run {} was made without stream_resumable, and its events after a checkpoint are not kept. Join it without "
    "checkpoint_id, or make runs with stream_resumable."
)

_EVENT_ID = re.compile(rf"([0-9]{{1,{DIGITS_MAX}}})(?:-([0-9]{{1,{DIGITS_MAX}}}))?")

FROM_START: FrameId = (-1, 0)


class RunFollower(FrameFollower):
    """One client's stream of a run."""

    def __init__(
        self,
        core: Core,
        out: StreamOut,
        watch: Watch,
        run_id: str,
        frames: FrameSequencer,
        modes: Modes | None = None,
        namespaces: Namespaces | None = None,
    ) -> None:
        super().__init__(watch)
        self._core = core
        self._out = out
        self._run_id = run_id
        self._frames = frames
        self._modes = modes
        self._namespaces = namespaces
        self._end: FramePosition | None = None
        """Position of the run's last frame, once it has ended."""
        self._until: float | None = None
        """Time of the loop until which frames of an ended run may still arrive."""

    async def replay(self) -> None:
        """Write the frames published so far."""
        async for portion in self._frames.pages(self._end):
            await self._write(portion)

    async def follow(self, end: FramePosition | None = None) -> web.StreamResponse:
        """Write the run's frames until it ends (``end``: it has ended already)."""
        self._end = end
        await self._follow()
        return await self._out.close()

    async def _take(self, batches: list[Batch]) -> None:
        async for slices in self._frames.take(batches):
            await self._write(slices)

    async def _apply(self, update: ThreadUpdate) -> None:
        end = ended(update.event, self._run_id)
        if end is not None and self._end is None:  # a stateless run's thread is deleted right after it
            await self._over(end)

    async def _catch_up(self) -> None:
        if self._end is None:
            await self._find_end()
        await self.replay()

    async def _find_end(self) -> None:
        """Query the run's last frame: in Postgres or, if its row is gone, in the log."""
        watch = self._watch
        row = await self._core.reads.row(SQL["progress"], watch.thread_id, self._run_id)
        if row is not None:
            watch.seen = True
            if row["status"] in FINAL_STATUSES:
                self._end = (row["attempt"], row["frame_count"])
        else:
            end = await self._core.ends.find(watch.thread_id, self._run_id, watch.opened_at) if watch.seen else None
            if end is None:
                self._end = (0, 0)
            else:
                await self._over(end)

    async def _overrun(self) -> bool:
        await self._out.cut_off()
        return True

    def _shut_down(self) -> None:
        self._out.break_off()

    async def _settled(self) -> bool:
        if self._end is None:
            return False
        if not self._frames.reached(self._end) and self._until is None:
            await self.replay()
            self._until = asyncio.get_running_loop().time() + SETTLE_S
        if self._frames.reached(self._end) or not await self._out.wait(self._watch, self._until):
            await self._out.write(self._frames.missing_until(self._end))
            return True
        return False

    async def _wait(self) -> None:
        if self._end is None:
            await self._out.wait(self._watch)

    async def _over(self, end: Ended) -> None:
        """End the stream after writing the frames before the run's end."""
        await self._take(self._watch.take_batches())
        self._end = (end.attempt, end.frame_count)
        if end.error is not None:
            await self._out.fail(end.error.error, end.error.message)

    async def _write(self, slices: list[FrameSlice]) -> None:
        slices.reverse()  # each is released as it is written, with its frames
        await self._out.write_all(self._encoded(slices.pop()) for _ in range(len(slices)))

    def _encoded(self, new: FrameSlice) -> bytes:
        return new.encoded(self._modes, self._namespaces)


class RunStreams:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def follow_new(
        self, request: web.Request, watch: Watch, run: PreparedRun, *, recorded: bool
    ) -> web.StreamResponse:
        """Stream a run that was just created. ``recorded``: it is resumable."""
        path = f"/runs/{run.run_id}" if run.stateless else run.path
        out = self._out(request, path)
        await out.open()
        out.guard(watch)
        frames = self._frames(out, watch, run.run_id, recorded=recorded)
        follower = RunFollower(self._core, out, watch, run.run_id, frames, namespaces=_namespaces(request))
        if run.origin.key is not None:  # the run of a repetition may be over already
            watch.missed = True
        permissions = self._core.permissions
        check = permissions.running(request, run.command)
        return await out.while_permitted(permissions, run.thread_id, "leave", check, follower.follow)

    async def refuse(self, request: web.Request, thread_id: str, run_id: str, error: ApiError) -> web.StreamResponse:
        """Send a stream whose one event is the error. A caller without permission gets status 200 too (wire contract §18)."""
        out = self._out(request, f"/threads/{thread_id}/runs/{run_id}")
        await out.open()
        await out.fail("HTTPException", f"{error.status}: {error.detail}")
        return await out.close()

    async def join(self, request: web.Request, watch: Watch, run_id: str) -> web.StreamResponse:
        """Stream an existing run. The watch must be `ready`. Raises ApiError 422 for a checkpoint that tells nothing."""
        row = await self._core.reads.row(SQL["progress"], watch.thread_id, run_id)
        out = self._out(request, f"/threads/{watch.thread_id}/runs/{run_id}")
        if row is None:
            await out.open()
            await out.fail("HTTPException", "404: Run not found")
            return await out.close()
        if request.query.get("checkpoint_id") and not row["resumable"]:
            raise unprocessable(NO_CHECKPOINTS.format(run_id))
        if request.method == hdrs.METH_HEAD:
            await out.open()
            return await out.close()
        out.guard(watch)
        permissions = self._core.permissions
        check = permissions.reading(request, watch.thread_id)
        follow = partial(self._joined, request, out, watch, run_id, row)
        return await out.while_permitted(permissions, watch.thread_id, "leave", check, follow)

    async def _joined(
        self, request: web.Request, out: StreamOut, watch: Watch, run_id: str, row: Any
    ) -> web.StreamResponse:
        chosen = modes_of(query_names(request, "stream_mode", "stream_modes")), _namespaces(request)
        over = row["status"] in FINAL_STATUSES
        end = (row["attempt"], row["frame_count"]) if over else None
        given = request.headers.get("last-event-id")
        resumable = bool(row["resumable"])
        last_id = event_id(given) if resumable else None
        since = None
        if resumable and last_id in (None, FROM_START) and (checkpoint := request.query.get("checkpoint_id")):
            last_id, since = FROM_START, await self._since(watch.thread_id, run_id, checkpoint, end)
        early = not given and is_early(row, over=over)
        if early and not over and chosen[0] is not None:
            chosen = (
                chosen[0] | {WITHOUT_METADATA},
                chosen[1],
            )  # who chooses modes of a live run gets none that is past
        if last_id is not None or early:
            await out.open()
            frames = self._frames(
                out, watch, run_id, recorded=resumable, known=last_id, attempts=row["attempt"], since=since
            )
            follower = RunFollower(self._core, out, watch, run_id, frames, *chosen)
            await follower.replay()
            return await follower.follow(end)
        if over:
            await out.open()
            return await out.close()
        # from now on: what is published already does not count
        tip = await self._core.backlog.tip(watch.thread_id, run_id)
        await out.open()
        frames = self._frames(out, watch, run_id, recorded=resumable, after=None if tip == START else tip)
        return await RunFollower(self._core, out, watch, run_id, frames, *chosen).follow()

    async def _since(self, thread_id: str, run_id: str, checkpoint_id: str, end: FramePosition | None) -> Since | None:
        """Return the start of the stream for a client that shows a checkpoint; None: the run's start, the checkpoint is not the run's."""
        written = await self._core.reads.row(SQL["written_by"], thread_id, checkpoint_id)
        if written is None or written["run_id"] != run_id:
            return None
        since = Since(checkpoint_id, written["attempt"] or 0)
        # frames without positions of checkpoints (runs of the protocol, older workers) must all be sent
        async for portion in self._core.backlog.pages_of_run(thread_id, run_id, recorded=True, end=end):
            frames = [frame for batch in portion.in_turn() for frame in batch.frames]
            if any(since.passed_by(frame) for frame in frames) or (end is None and any(frame.past for frame in frames)):
                return since
        return None

    def _frames(
        self,
        out: StreamOut,
        watch: Watch,
        run_id: str,
        *,
        recorded: bool,
        after: FramePosition | None = START,
        known: FrameId | None = None,
        attempts: int = 0,
        since: Since | None = None,
    ) -> FrameSequencer:
        backlog = self._core.backlog.outlasting(partial(out.outlast, watch))
        return FrameSequencer(
            backlog,
            watch.thread_id,
            run_id,
            recorded=recorded,
            after=after,
            known=known,
            attempts=attempts,
            since=since,
        )

    def _out(self, request: web.Request, path: str) -> StreamOut:
        headers = {"content-location": path, "location": f"{path}/stream"}
        return StreamOut(request, self._core.settings.heartbeat_s, headers)


def _namespaces(request: web.Request) -> Namespaces | None:
    return namespaces_of(query_names(request, "namespace"))


def is_early(row: Any, *, over: bool) -> bool:
    """Return whether a join, by its row in `progress`, is so soon after the run's creation that it gets the whole run."""
    if not over:
        return bool(row["age_s"] < EARLY_JOIN_S)
    return row["took_s"] is not None and row["took_s"] < QUICK_RUN_S and row["age_s"] < QUICK_JOIN_S


def event_id(text: str | None) -> FrameId | None:
    """Return the last event that the client knows; (-1, 0): none. None: it does not ask to go on from one."""
    if text is None:
        return None
    if text in ("-1", "0", "-"):
        return FROM_START
    match = _EVENT_ID.fullmatch(text)
    return None if match is None else (int(match.group(1)), int(match.group(2) or 0))
