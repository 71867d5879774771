"""Worker records: the records that one attempt of a run appends to the log (checkpoints, writes, frames, its start), in order.

Concurrency: `RunRecords.emit` may be called from any thread and never waits; queued records go to the log in one append,
made on the I/O loop, one at a time per attempt, so that the partition keeps the order of emitting. While the log is unavailable the
records wait here, and the run with them once there are `MAX_BACKLOG_BYTES`. When it dies, records that were
not appended are lost with the process; the next attempt starts from those that were.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog
from langlog_backbone.log import PART_BYTES, LogUnavailable, NewRecord
from langlog_backbone.log.records import event_record
from langlog_backbone.time.clock import iso, new_id, now, now_iso
from langlog_schemas import events
from langlog_schemas.runs import results as run_results
from langlog_schemas.runs.results import RunResult
from msgspec.structs import astuple

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from .io_loop import IoLoop

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/executor"
RETRY_PAUSE_S = 0.1
MAX_RETRY_PAUSE_S = 2.0
LINGER_S = 0.004
"""Seconds for which records are collected unless a caller waits for them: those of a short run share one commit and one fold."""
FIRST_LINGER_S = 0.02
"""Seconds used instead for the first records of an attempt: its start, and the checkpoints of a run that ends within that time."""
FLOOD_RECORDS = 4
FLOOD_LINGER_S = 0.012
"""Seconds used instead after an append of at least `FLOOD_RECORDS`: a graph of many quick steps."""
ENVELOPE_BYTES = 4_000
"""Bytes of a record for headers, key and the rest of the event, besides a checkpoint body."""
STEP_BYTES = 20
"""Maximum overhead of a body in such a record, in bytes."""
MICROSECOND = timedelta(microseconds=1)
MAX_BACKLOG_BYTES = 32_000_000
"""Bytes of waiting records from which `RecordSink.crowded` is true: emitters should wait for `flush`."""

STEPS_BYTES = 256_000
"""Maximum bytes of the bodies in one record: sharing a record does not help larger ones."""

_Checkpoint = events.CheckpointWritten | events.CheckpointWrites


class _Gathered(NamedTuple):
    """A checkpoint or writes that wait to be appended. ``number``: the one that its record gets in the attempt."""

    event: _Checkpoint
    time: datetime
    number: int

    @property
    def of(self) -> tuple[str, str | None, int]:
        return self.event.thread_id, self.event.run_id, self.event.attempt


class RecordsClosed(Exception):
    """The attempt was given up; its waiting records are dropped."""


class RecordSink(Protocol):
    """Receiver of a checkpointer's events."""

    @property
    def crowded(self) -> bool:
        """Whether too many records wait: flush before emitting more."""
        ...

    def emit(self, event: events.Event) -> None: ...

    async def flush(self) -> None: ...

    def flush_blocking(self) -> None:
        """Like `flush`, for threads other than that of the I/O loop."""
        ...

    def last_offset(self, partition: int) -> int:
        """Return the offset in ``run-events`` of the last record appended to the partition; -1 if none."""
        ...


class RunRecords:
    """Appender of one attempt's records (``task`` None: records outside of a run)."""

    def __init__(self, io: IoLoop, task: Task | None, thread_id: str, *, suffix: str = "") -> None:
        """``suffix``: distinguishes the ids of these records from those of other `RunRecords` of the same attempt."""
        self.thread_id = thread_id
        self.traceparent: str | None = None
        """Trace that the records belong to. Set before the first one."""
        self._io = io
        self._prefix = f"{task.run_id}-{task.attempt}-{suffix}" if task is not None else f"{new_id()}-0-"
        limit = min(io.backbone.settings.max_record_bytes, PART_BYTES)
        self._part_bytes = max(limit - ENVELOPE_BYTES, limit // 2)
        self._lock = threading.Lock()
        self._waiting: list[NewRecord | _Gathered] = []
        self._backlog = 0
        self._emitted = 0
        self._scheduled = False
        # from here on only touched on the I/O loop
        self._durable = 0
        self._appender: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._linger_s = LINGER_S if task is None else FIRST_LINGER_S
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._offsets: dict[int, int] = {}
        self._error: BaseException | None = None

    @property
    def crowded(self) -> bool:
        return self._backlog > MAX_BACKLOG_BYTES

    def emit(self, event: events.Event) -> None:
        """Append soon, in the order of emitting. Raises the error of an earlier append."""
        if self._error is not None:
            raise self._error
        if not isinstance(event, _Checkpoint):
            self._enqueue(event, events.encode(event))
        elif len(event.body) > self._part_bytes:
            for part in self._split(event):
                self._enqueue(part, events.encode(part))
        else:
            self._gather(event)

    def emit_result(self, run_id: str, attempt: int, result: RunResult) -> str:
        """Append the run's result in as many records as needed; return the id by which its end refers to it."""
        body, blob_id = run_results.encode(result), f"{self._prefix}{new_id()}"
        chunks = self._chunks(body)
        for index, chunk in enumerate(chunks):
            self.emit(
                events.RunResultPart(
                    thread_id=self.thread_id,
                    run_id=run_id,
                    attempt=attempt,
                    blob_id=blob_id,
                    index=index,
                    count=len(chunks),
                    body=chunk,
                )
            )
        return blob_id

    async def flush(self) -> None:
        """Wait until everything emitted so far is durable.

        Waits as long as the log is unavailable. Raises RecordTooLarge or LogFault, and RecordsClosed after `close`.
        """
        if self._error is not None or self._durable < self._emitted:
            await self._io.call(self._settled(self._emitted))

    def flush_blocking(self) -> None:
        if self._error is not None or self._durable < self._emitted:
            asyncio.run_coroutine_threadsafe(self._settled(self._emitted), self._io.loop).result()

    async def flush_with(self, last: NewRecord) -> None:
        """Make everything emitted so far durable, and ``last`` (of any topic) after it.

        Where the log appends all or nothing they share a commit; elsewhere ``last`` waits, because partitions fail one by one.
        """
        if self._io.backbone.log.appends_atomically:
            self._add(last, len(last.value))
            await self.flush()
        else:
            await self.flush()
            self._add(last, len(last.value))
            await self.flush()

    def last_offset(self, partition: int) -> int:
        return self._offsets.get(partition, -1)

    def close(self) -> None:
        """Give up: append nothing more, and raise RecordsClosed in waiting callers. To be called on the I/O loop."""
        self._error = RecordsClosed()
        if self._lingering is not None:
            self._lingering.cancel()
        if self._appender is not None:
            self._appender.cancel()
        with self._lock:
            self._waiting = []
        self._release()

    def _split(self, event: _Checkpoint) -> list[events.CheckpointPart]:
        chunks = self._chunks(event.body)
        blob_id = f"{self._prefix}{new_id()}"
        return [
            events.CheckpointPart(
                thread_id=event.thread_id,
                run_id=event.run_id,
                attempt=event.attempt,
                blob_id=blob_id,
                index=index,
                count=len(chunks),
                whole="checkpoint.written.v1"
                if isinstance(event, events.CheckpointWritten)
                else "checkpoint.writes.v1",
                body=chunk,
            )
            for index, chunk in enumerate(chunks)
        ]

    def _chunks(self, body: bytes) -> list[bytes]:
        return [body[start : start + self._part_bytes] for start in range(0, len(body), self._part_bytes)]

    def _enqueue(self, event: events.Event, value: bytes) -> None:
        time = now_iso()
        with self._lock:
            self._emitted += 1
            record = event_record(
                event,
                id=f"{self._prefix}{self._emitted}",
                source=SOURCE,
                time=time,
                body=value,
                traceparent=self.traceparent,
            )
            self._waiting.append(record)
            self._backlog += len(value)
            wake, self._scheduled = not self._scheduled, True
        if wake:
            self._io.post(self._start)

    def _gather(self, event: _Checkpoint) -> None:
        for member in astuple(event):
            if isinstance(member, str):
                member.encode()  # raised here, in the node that chose the id, and not at the append of all that was gathered
        time = now()
        with self._lock:
            self._emitted += 1
            self._waiting.append(_Gathered(event, time, self._emitted))
            self._backlog += len(event.body)
            wake, self._scheduled = not self._scheduled, True
        if wake:
            self._io.post(self._start)

    def _add(self, record: NewRecord, size: int) -> None:
        if self._error is not None:
            raise self._error
        with self._lock:
            self._emitted += 1
            self._waiting.append(record)
            self._backlog += size
            wake, self._scheduled = not self._scheduled, True
        if wake:
            self._io.post(self._start)

    # on the I/O loop

    def _start(self) -> None:
        if self._appender is None and self._lingering is None:
            self._lingering = self._io.loop.call_later(self._linger_s, self._append_now)

    def _append_now(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._appender is None and self._error is None:
            self._appender = self._io.loop.create_task(self._append_all())

    async def _append_all(self) -> None:
        try:
            while True:
                with self._lock:
                    batch, self._waiting = self._waiting, []
                    if not batch:
                        self._scheduled = False
                        return
                await self._append(self._records_of(batch))
                with self._lock:
                    self._backlog -= sum(
                        len(one.event.body if isinstance(one, _Gathered) else one.value) for one in batch
                    )
                self._durable += len(batch)
                self._release()
                if not self._waiters:  # records that arrived meanwhile are collected again
                    self._linger_s = LINGER_S if len(batch) < FLOOD_RECORDS else FLOOD_LINGER_S
                    with self._lock:
                        self._scheduled = bool(self._waiting)
                    if self._scheduled:
                        self._lingering = self._io.loop.call_later(self._linger_s, self._append_now)
                    return
        except asyncio.CancelledError:
            self._error = self._error or RecordsClosed()
            self._release()
            raise
        except Exception as error:
            self._error = error
            logger.exception("worker_log.append_failed", thread_id=self.thread_id)
            self._release()
        finally:
            self._appender = None

    def _records_of(self, batch: Sequence[NewRecord | _Gathered]) -> list[NewRecord]:
        """Return records; consecutive checkpoints and writes share one."""
        records: list[NewRecord] = []
        gathered: list[_Gathered] = []
        size, limit = 0, min(STEPS_BYTES, self._part_bytes)
        for one in batch:
            step = one if isinstance(one, _Gathered) else None
            if gathered and (step is None or step.of != gathered[0].of or size + len(step.event.body) > limit):
                records.append(self._steps(gathered))
                gathered, size = [], 0
            if isinstance(one, _Gathered):
                gathered.append(one)
                size += len(one.event.body) + STEP_BYTES
            else:
                records.append(one)
        if gathered:
            records.append(self._steps(gathered))
        return records

    def _steps(self, gathered: Sequence[_Gathered]) -> NewRecord:
        """Return one record of them, with the number of the last."""
        first, last = gathered[0], gathered[-1]
        event: events.Event = first.event
        if len(gathered) > 1:
            thread_id, run_id, attempt = first.of
            steps = [
                events.Step(
                    isinstance(one.event, events.CheckpointWrites),
                    max(0, (one.time - first.time) // MICROSECOND),
                    one.event.body,
                )
                for one in gathered
            ]
            event = events.CheckpointSteps(thread_id=thread_id, run_id=run_id, attempt=attempt, steps=steps)
        return event_record(
            event,
            id=f"{self._prefix}{last.number}",
            source=SOURCE,
            time=iso(first.time),
            traceparent=self.traceparent,
        )

    async def _append(self, batch: Sequence[NewRecord]) -> None:
        pause = RETRY_PAUSE_S
        while True:
            try:
                positions = await self._io.backbone.log.append(batch)
            except LogUnavailable as error:
                # also when it may have landed: the records' ids make a second copy harmless
                if pause == RETRY_PAUSE_S:
                    logger.warning("worker_log.waiting_for_log", thread_id=self.thread_id, error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_RETRY_PAUSE_S)
                continue
            for record, position in zip(batch, positions, strict=True):
                if record.topic == events.RUN_EVENTS:
                    self._offsets[position.partition] = position.offset
            return

    async def _settled(self, sequence: int) -> None:
        if self._error is None and self._durable < sequence:
            future: asyncio.Future[None] = self._io.loop.create_future()
            self._waiters.append((sequence, future))
            self._append_now()
            await future
        if self._error is not None and self._durable < sequence:
            raise self._error

    def _release(self) -> None:
        kept: list[tuple[int, asyncio.Future[None]]] = []
        for sequence, future in self._waiters:
            if self._error is None and sequence > self._durable:
                kept.append((sequence, future))
            elif not future.done():
                future.set_result(None)
        self._waiters = kept


class CapturedRecords:
    """A sink that captures events instead of appending them: for state updates, which become one command."""

    crowded = False

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def emit(self, event: events.Event) -> None:
        self.events.append(event)

    async def flush(self) -> None:
        return None

    def flush_blocking(self) -> None:
        return None

    def last_offset(self, partition: int) -> int:
        return -1
