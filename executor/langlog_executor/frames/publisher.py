"""Publishes the frames of one attempt to the thread's Redis stream and channel.

Concurrency: `FramesOut.emit` is called by the I/O loop at the start, then by the attempt's graph loop, and for the end by the I/O
loop again, perhaps beside a graph that has not stopped: hence the lock. On the I/O loop one flush at a time is under way; frames that
arrive meanwhile are sent together in the next. A frame after a pause is sent at once; one right after another
waits a moment for more, so a flood is sent in batches, and in larger ones without subscribers: a run that is waited for, or left
alone, still publishes each of its steps, for clients that may join.
When Redis dies, frames under way are lost for live readers; those of resumable runs are in the log as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import structlog
from langlog_backbone.metrics import table
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis import channels, large_messages
from langlog_backbone.redis.kept_frames import BATCH_BYTES, NOTE_BYTES, KeptFrames
from langlog_backbone.redis.large_messages import INLINE_BYTES, Reference
from langlog_backbone.time.clock import now_ms
from langlog_backbone.time.sources import monotonic
from langlog_backbone.values.compression import compressed
from langlog_backbone.values.lone_surrogates import encodable
from langlog_schemas import frames
from langlog_schemas.events import RunFrames
from langlog_schemas.frames import Frame, FrameBatch

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..runtime.io_loop import IoLoop
    from ..runtime.records import RecordSink

logger = structlog.get_logger(__name__)

NOTE_EVERY_S = 60.0
"""Maximum seconds between two extensions of the frames' expiry while frames are published."""
NOTE_AFTER_S = 1.0
"""Seconds after which a stream is noted first: a short run is noted once, at its end. It expires from its first batch on either way."""
RECORD_EVERY_S = 1.0
"""Maximum seconds after which a sent frame of a resumable run is in the log."""
LINGER_S = 0.001
"""Seconds that a frame waits for more if others were sent within `FLOOD_S`."""
FLOOD_S = 0.005
UNHEARD_S = 0.02
"""Seconds used instead of both if the last batch had no subscriber."""
PAST_CHARACTERS_MAX = 4_000
"""Maximum length of the checkpoint ids that one frame names, in characters."""
MAX_BATCH_BYTES = 256_000
"""Maximum size of a batch, in bytes; a larger frame is sent alone."""
CROWDED_BYTES = 16_000_000
"""Size of the frames that wait to be sent, in bytes, from which a graph that can be held should emit no more."""
IN_CLEAR = frozenset({"metadata"})
"""Frames that hold only ids and numbers, and are not sealed."""
ENVELOPE_BYTES = 100
"""Upper estimate of a frame's size besides its name and data, in bytes."""


class FramesOut:
    """The frames of one attempt, numbered from 1 without gaps."""

    def __init__(
        self,
        io: IoLoop,
        task: Task,
        *,
        resumable: bool = False,
        records: RecordSink | None = None,
        seal: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        """``seal``: encrypts a frame's data with the project's handlers, for storing."""
        self._io = io
        self._seal = seal
        self._task = task
        self._resumable = resumable
        self._records = records
        self._key = io.backbone.pipe.key(channels.frames(task.thread_id))
        self._channel = channels.frames(task.thread_id)
        self._gathered: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._posted = False
        """Whether the I/O loop will flush without being woken again."""
        self._closed = False
        self._sealed = False
        self._ms = task.frame_floor_ms
        self._n = -1
        self._first_n = (task.attempt - 1) * frames.ATTEMPT_SPAN
        self.first_ms = 0
        """When the graph's first event was emitted, in milliseconds of the epoch; 0: none was."""
        self.frame_count = 0
        """Sequence number of the last emitted frame."""
        self._numbering = threading.Lock()
        self._past = ""
        self._seq_floor = task.seq_floor
        self._seq = task.seq_floor
        self._floor = task.seq_floor - (task.attempt - 1) * frames.ATTEMPT_SPAN
        # from here on only touched on the I/O loop
        self._flusher: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._left = 0.0
        self._recorder: asyncio.TimerHandle | None = None
        self._unrecorded: list[Frame] = []
        self._kept = KeptFrames(io.backbone.pipe, io.backbone.settings)
        self._note_at = 0.0
        self._unnoted = 0
        self._followed = False
        """Whether a batch has had a subscriber."""
        self._lost = False
        self._has_subscribers = True
        """Whether the last batch had subscribers. A newer subscriber counts from the next batch on."""

    @property
    def last_ms(self) -> int:
        """Millisecond part of the last frame id; the thread's next run starts above it."""
        return self._ms

    @property
    def last_event_number(self) -> int:
        """The last protocol number used (wire contract §9); 0: none."""
        return self._seq if self._seq > self._seq_floor else 0

    def emit(self, event: str, data: bytes) -> None:
        """Number a frame and send it soon. Any thread. Lone surrogates in its name, which has names of nodes in it, are escaped."""
        event = encodable(event)
        with self._numbering:
            if self._sealed or self._closed:
                return
            now = now_ms()
            if now > self._ms:
                self._ms, self._n = now, self._first_n
            elif self._n < 0:  # the floor is in the future: another machine's clock is ahead of ours
                self._ms, self._n = self._ms + 1, self._first_n
            else:
                self._n += 1
            self.frame_count += 1
            if not self.first_ms and event[:1] != "@" and event not in IN_CLEAR:
                self.first_ms = now
            seq = 0
            if frames.numbered(event):
                seq = self._seq = self._seq + 1
            past, self._past = self._past, ""
            self._gathered.append(Frame(self.frame_count, self._ms, self._n, event, data, seq, past))
            self._waiting_bytes += len(data) + ENVELOPE_BYTES
        if not self._posted:
            self._posted = True
            self._io.post(self._wake)

    def room(self) -> Awaitable[None] | None:
        """Return None while more frames can be taken, or else what to wait for. On the I/O loop."""
        if self._waiting_bytes <= CROWDED_BYTES or self._closed:
            return None
        if self._room is None:
            self._room = self._io.loop.create_future()
        return self._room

    def _left_for_redis(self, frames: int, size: int) -> None:
        with self._numbering:
            self._waiting_bytes -= size + frames * ENVELOPE_BYTES
        if self._room is not None and self._waiting_bytes <= CROWDED_BYTES // 2:
            self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def mark(self, checkpoint_id: str) -> None:
        """Mark later frames as following the checkpoint. Any thread. Of many marks without a frame between them, the last
        ones are kept."""
        with self._numbering:
            self._past = f"{self._past} {checkpoint_id}".strip()[-PAST_CHARACTERS_MAX:]

    def seal(self) -> None:
        """Ignore later frames: the end is emitted, and a graph that did not stop may still emit some."""
        with self._numbering:
            self._sealed = True

    def close(self) -> None:
        """Send nothing from now on: the attempt was given up."""
        if self._unnoted:
            self._note(running=False)
        self._closed = True
        self._gathered.clear()
        self._make_room()
        for timer in (self._lingering, self._recorder):
            if timer is not None:
                timer.cancel()

    async def finish(self) -> None:
        """On the I/O loop: wait until everything is sent (or lost), and emit the rest of the recording to the log."""
        self._begin()
        while self._flusher is not None and not self._flusher.done():
            await asyncio.wait([self._flusher])
            self._begin()
        self._note(running=False)
        self._record()

    def _wake(self) -> None:
        if self._lingering is not None:
            return
        if self._io.loop.time() - self._left > (FLOOD_S if self._has_subscribers else UNHEARD_S):
            self._begin()
        else:
            self._linger()

    def _linger(self) -> None:
        self._lingering = self._io.loop.call_later(LINGER_S if self._has_subscribers else UNHEARD_S, self._begin)

    def _begin(self) -> None:
        self._posted = False  # before looking: what is emitted from here on wakes the loop again
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._gathered and (self._flusher is None or self._flusher.done()):
            self._left = self._io.loop.time()
            self._flusher = self._io.loop.create_task(self._flush())

    async def _flush(self) -> None:
        while self._gathered:
            self._posted = False
            batch: list[Frame] = []
            size = 0
            while self._gathered and (not batch or size + len(self._gathered[0].data) <= MAX_BATCH_BYTES):
                frame = self._gathered.popleft()
                size += len(frame.data)
                batch.append(frame)
            self._left_for_redis(len(batch), size)
            if self._seal is not None:
                batch = [sealed for frame in batch if (sealed := await self._in_envelopes(frame)) is not None]
                if not batch:
                    continue
            if self._resumable:
                self._unrecorded += batch
                if self._recorder is None:
                    self._recorder = self._io.loop.call_later(RECORD_EVERY_S, self._record)
            full = bool(self._gathered)
            await self._send(batch)
            self._left = self._io.loop.time()
            if not self._has_subscribers and not full and not self._sealed:
                self._posted = True  # also with nothing gathered: a graph of quick steps need not wake this loop for its next frame
                if self._lingering is None:
                    self._linger()
                return

    async def _in_envelopes(self, frame: Frame) -> Frame | None:
        """Return the frame as it may be stored; None, with a log line, if the project's handler raises."""
        if self._seal is None or frame.event in IN_CLEAR:
            return frame
        try:
            return msgspec.structs.replace(frame, data=await self._seal(frame.data))
        except Exception as error:
            logger.warning("frames.not_sealed", run_id=self._task.run_id, event_name=frame.event, error=repr(error))
            return None

    async def _send(self, batch: list[Frame]) -> None:
        backbone = self._io.backbone
        made = FrameBatch(self._task.run_id, self._task.attempt, batch, self._resumable, self._floor)
        body = compressed(frames.encode(made))
        large = len(body) > INLINE_BYTES
        if not large:
            self._kept.add(self._task.thread_id, body)
        if not self._note_at:
            # without effect where the first batch is a large one, which is noted at once
            self._kept.expire(self._task.thread_id)
            self._note_at = monotonic() + NOTE_AFTER_S
        self._unnoted += len(body) + BATCH_BYTES
        try:
            message = body
            if large:
                entry = await self._kept.entry(self._task.thread_id, body)
                message = large_messages.encode(Reference(self._key, len(body), entry=entry))
            self._has_subscribers = await backbone.pipe.call("PUBLISH", backbone.pipe.key(self._channel), message) > 0
            self._followed = self._followed or self._has_subscribers
            self._lost = False
            table.FRAMES.inc(len(batch))
        except RedisUnavailable as error:
            table.FRAMES_LOST.inc(len(batch))
            if not self._lost:
                logger.warning("frames.lost", run_id=self._task.run_id, frames=len(batch), error=str(error))
                self._lost = True
        now = monotonic()
        if now > self._note_at or self._unnoted > NOTE_BYTES:
            self._note_at = now + NOTE_EVERY_S
            self._note(running=True)

    def _note(self, *, running: bool) -> None:
        added, self._unnoted = self._unnoted, 0
        self._kept.note(self._task.thread_id, added, running=running, followed=self._followed)

    def _record(self) -> None:
        if self._recorder is not None:
            self._recorder.cancel()
            self._recorder = None
        if not self._unrecorded or self._records is None or self._closed:
            return
        gathered, self._unrecorded = self._unrecorded, []
        backbone = self._io.backbone
        limit = min(backbone.settings.max_record_bytes, backbone.log.max_record_bytes) - ENVELOPE_BYTES
        batch: list[Frame] = []
        size = 0
        for frame in gathered:
            weight = len(frame.data) + len(frame.event) + ENVELOPE_BYTES
            if weight > limit:
                logger.warning("frames.too_large_to_record", run_id=self._task.run_id, bytes=weight)
                continue
            if size + weight > limit:
                self._append(batch)
                batch, size = [], 0
            batch.append(frame)
            size += weight
        if batch:
            self._append(batch)

    def _append(self, batch: list[Frame]) -> None:
        assert self._records is not None
        body = frames.encode(
            FrameBatch(self._task.run_id, self._task.attempt, batch, resumable=True, floor=self._floor)
        )
        with contextlib.suppress(Exception):  # the flush of the records reports their error
            self._records.emit(
                RunFrames(
                    thread_id=self._task.thread_id,
                    run_id=self._task.run_id,
                    attempt=self._task.attempt,
                    first_sequence=batch[0].sequence,
                    frames=body,
                )
            )
