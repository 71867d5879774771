"""Effects of events once they are in the log: tasks into the hot queue, controls to workers, and removals with a thread.

Concurrency: belongs to its decider; effects are carried out one after the other, in the order of their events.
Death: the scheduler detects missing effects, or they concern only Redis, which may be wiped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.history.last_states import OrphanedRun
from langlog_backbone.log import NewRecord, Position
from langlog_backbone.log.records import command_record, event_record
from langlog_backbone.process.retry import READ_LIMIT_S, Availability
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.unavailable import may_pass
from langlog_backbone.redis import channels
from langlog_backbone.redis.kept_frames import KeptFrames
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas import frames, messages
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import Cause, CommandMeta
from langlog_schemas.messages import Control, Task

from .aggregates import Aggregates, CachedAggregate
from .decisions.thread_events import fold_thread
from .orphaned_runs import OrphanedRuns, end_record

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/decider"

SETTLING = (*ev.FINAL_RUN_EVENTS, ev.StateUpdated, ev.RunDeleted, ev.CheckpointsDeleted, ev.ThreadDeleted)
"""Events after which Postgres shows the thread's checkpoints once it has passed them."""


class StopRequest(NamedTuple):
    """A run to be stopped. ``orphaned_run``: queried if no worker has it; None: the run has left nothing that would stay."""

    control: Control
    orphaned_run: OrphanedRun | None = None
    orphaned: bool = False


class Decided(NamedTuple):
    meta: CommandMeta
    events: list[ev.AnyEvent]
    """One for each record (`events.joined`)."""
    before: ThreadState | None
    cached: CachedAggregate | None

    @property
    def held(self) -> int:
        """Number of events in these records."""
        return sum(map(ev.count, self.events))


class Effects:
    """``append``: appends reports and removals, which are commands again; returns when they are in the log."""

    def __init__(
        self, backbone: Backbone, aggregates: Aggregates, append: Callable[[Sequence[NewRecord]], Awaitable[object]]
    ) -> None:
        self._backbone = backbone
        self._aggregates = aggregates
        self._append = append
        self._frames = KeptFrames(backbone.pipe, backbone.settings)
        self._ends = OrphanedRuns(backbone, append)
        self._redis = Availability("decider.effects", "redis")
        self._postgres = Availability("decider.effects")
        self.availabilities = (self._redis, self._postgres)
        self._queue: asyncio.Queue[tuple[list[Task], list[StopRequest], list[str]]] = asyncio.Queue()
        """tasks for workers, runs to stop, deleted threads"""

    async def start(self) -> None:
        await self._ends.start()

    async def stop(self) -> None:
        await self._ends.stop()

    async def join(self) -> None:
        """Wait until all effects so far are carried out."""
        await self._queue.join()

    def follow(self, decided: Sequence[Decided], positions: Sequence[Position]) -> None:
        """Record the positions of events, and start their effects."""
        tasks: list[Task] = []
        controls: list[StopRequest] = []
        gone: list[str] = []
        at = iter(positions)
        for d in decided:
            placed = list(_placed(d.events, at))
            if d.cached is None:
                continue
            state = d.before
            for n, (event, position) in enumerate(placed, 1):
                d.cached.partition, d.cached.last = (event.topic, position.partition), position.offset
                if isinstance(event, SETTLING):
                    d.cached.checkpoints_stable_at = position.offset
                if state is None:
                    continue
                if isinstance(event, ev.RunDispatched):
                    tasks.append(_task(state, event, d, position))
                else:
                    controls += _controls(state, event, d.meta)
                    if isinstance(event, ev.ThreadDeleted) and not _temporary(d.before):
                        gone.append(event.thread_id)
                if n < len(placed):
                    state = fold_thread(state, [event], d.meta.time)
        if tasks or controls or gone:
            self._queue.put_nowait((tasks, controls, gone))

    async def serve(self) -> None:
        """Carry out effects in the order of their events: a run is in the queue before it can be withdrawn from it."""
        while True:
            tasks, controls, gone = await self._queue.get()
            try:
                if tasks:
                    with self._redis.attempt():
                        await self._backbone.queue.push(tasks)
                await self._stop_runs(controls)
                await self._remove_crons(gone)
                for thread_id in gone:
                    self._frames.remove(thread_id)
            except RedisUnavailable:
                # the scheduler finds these runs missing in Redis, and has them dispatched again
                logger.debug("decider.effects_lost", tasks=len(tasks), controls=len(controls))
            finally:
                self._queue.task_done()

    async def _stop_runs(self, controls: Sequence[StopRequest]) -> None:
        """Remove runs that no worker has claimed from the queue, and notify the workers of the others."""
        for control, orphaned_run, orphaned in controls:
            with self._redis.attempt():
                alone = await self._backbone.queue.withdraw(f"{control.run_id}:{control.attempt}")
            if not alone or control.action == "drop":
                self._backbone.bus.publish(channels.CONTROL, messages.encode(control))
            if orphaned_run is not None and (alone or orphaned):
                self._ends.find(orphaned_run)
            elif alone and control.action != "drop":
                await self._append([_withdrawn_report(control)])

    async def _remove_crons(self, threads: Sequence[str]) -> None:
        """Remove the crons of deleted threads. One that remains after a crash only requests runs that are refused."""
        if not threads:
            return
        try:
            with self._postgres.attempt():
                async with asyncio.timeout(READ_LIMIT_S):  # no run is dispatched meanwhile
                    crons = await self._aggregates.crons_of(threads)
        except Exception as error:
            if not may_pass(error):
                raise
            logger.warning("decider.crons_left", threads=len(threads))
            return
        await self._append([_cron_removal(id) for id in crons])


def _placed(events: Iterable[ev.AnyEvent], positions: Iterator[Position]) -> Iterator[tuple[ev.AnyEvent, Position]]:
    """The events that records hold, each with the position of its record. Takes as many positions as there are records."""
    for event in events:
        position = next(positions)
        for part in ev.parts(event):
            yield part, position


def topic_of(command: cmd.Command) -> str:
    """Return the topic of the command's events."""
    if isinstance(command, cmd.AssistantCommand):
        return ev.ASSISTANT_EVENTS
    if isinstance(command, cmd.CronCommand):
        return ev.CRON_EVENTS
    return ev.STORE_EVENTS if isinstance(command, cmd.StoreCommand) else ev.RUN_EVENTS


def event_records(decided: Decided, first: Cause | None = None) -> Iterable[NewRecord]:
    """Return the events of one command as records; the first one names the channel to reply to. ``first``: its cause, if it is not
    the command's."""
    meta = decided.meta
    first = first or Cause(meta.partition, meta.offset, 0, decided.held)
    place = first.index - 1
    for index, event in enumerate(decided.events):
        place += ev.count(event)
        cause = Cause(first.partition, first.offset, place, first.count)
        record = event_record(
            event,
            id=cause.event_id,
            source=SOURCE,
            time=meta.time,
            cause=cause,
            reply_to=meta.reply_to if index == 0 else None,
            actor=meta.actor,
            retry=meta.retry and index == 0,
            traceparent=meta.traceparent,
        )
        if index == 0:
            record.headers["ce_command"] = meta.id
        yield record


def _task(state: ThreadState, event: ev.RunDispatched, decided: Decided, position: Position) -> Task:
    """Return the task of a dispatched run. A new attempt starts from the read model as of its own dispatch record."""
    assert decided.cached is not None
    run = state.runs[event.run_id]
    return Task(
        run_id=run.run_id,
        thread_id=state.thread_id,
        attempt=event.attempt,
        assistant_id=run.assistant_id,
        graph_id=run.graph_id,
        kwargs=bytes(run.kwargs),
        metadata=msgspec.json.encode(run.metadata),
        created_at=run.created_at,
        temporary=run.temporary,
        fresh=not state.has_checkpoints and event.attempt == 1,
        partition=position.partition,
        read_after=position.offset if event.attempt > 1 else decided.cached.checkpoints_stable_at,
        frame_floor_ms=state.frame_ms,
        seq_floor=state.seq + (event.attempt - 1) * frames.ATTEMPT_SPAN,
        actor=decided.meta.actor,
        dispatched_at=decided.meta.time,
    )


def _controls(state: ThreadState, event: ev.AnyEvent, meta: CommandMeta) -> list[StopRequest]:
    """Return the runs that an event stops. The worker must be notified of an end that it did not report itself."""
    match event:
        case ev.RunCancelRequested():
            stopping = _control(state, event.run_id, event.attempt, event.action)
            return [stopping._replace(orphaned_run=_orphaned_run(state, event), orphaned=event.orphaned)]
        case ev.ThreadDeleted():
            return [_control(state, run_id, attempt, "drop") for run_id, attempt in event.active]
        case ev.RunDeleted() if event.active_attempt is not None:
            return [_control(state, event.run_id, event.active_attempt, "drop")]
        case ev.RunTimedOut() | ev.RunFailed() | ev.RunCancelled() | ev.RunRolledBack():
            run = state.runs.get(event.run_id)
            if run is not None and run.attempt and not meta.id.endswith("-finish"):
                return [_control(state, event.run_id, run.attempt, "drop")]
            return []
        case _:
            return []


def _control(state: ThreadState, run_id: str, attempt: int, action: str) -> StopRequest:
    return StopRequest(Control(thread_id=state.thread_id, run_id=run_id, attempt=attempt, action=action))


def _orphaned_run(state: ThreadState, event: ev.RunCancelRequested) -> OrphanedRun | None:
    """Return the cancelled run if an attempt may have written something that must be kept, else None."""
    run = state.runs[event.run_id]
    if event.action == "rollback" or run.temporary or not (event.orphaned or run.attempt > 1):
        return None
    config = msgspec.json.encode(state.config)
    return OrphanedRun(state.thread_id, run.run_id, event.attempt, run.graph_id, config, temporary=False)


def _temporary(state: ThreadState | None) -> bool:
    """Return whether the thread was created for a run: such a thread has no crons."""
    return state is not None and any(run.temporary for run in state.runs.values())


def _cron_removal(cron_id: str) -> NewRecord:
    command = cmd.DeleteCron(cron_id=cron_id)
    return command_record(command, id=f"{cron_id}-thread-gone", source=SOURCE)


def _withdrawn_report(control: Control) -> NewRecord:
    """Return the end of a cancelled run that no worker had claimed, as a worker would have reported it."""
    report = cmd.FinishRun(
        thread_id=control.thread_id,
        run_id=control.run_id,
        attempt=control.attempt,
        outcome="rolled_back" if control.action == "rollback" else "interrupted",
        state_known=False,
    )
    return end_record(report)
