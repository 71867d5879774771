"""Folding: events into `Changes`, in log order, without queries.

What is kept between batches is `Fences`: which attempt of each run in flight counts (worker records of any other are
dropped, by their place in the partition), the last cause folded of each partition (an event that is not past it is a duplicate),
and the chunks of bodies that are not complete yet.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, assert_never

from langlog_schemas import checkpoints as cp
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import status_when_idle
from langlog_schemas.commands import ABSENT
from langlog_schemas.envelope import Cause
from langlog_schemas.runs import results as run_results
from langlog_schemas.runs.ends import end_of
from msgspec import Raw
from msgspec.structs import replace

from .changes import ORIGIN, WRITE_RUN, Changes, WebhookDue, json_text, jsonb

_Lifecycle = (
    ev.ThreadCreated
    | ev.ThreadUpdated
    | ev.ThreadDeleted
    | ev.StateUpdated
    | ev.CheckpointsDeleted
    | ev.RunCreated
    | ev.RunDispatched
    | ev.RunCancelRequested
    | ev.RunDeleted
)


class ReceivedParts(NamedTuple):
    """Parts of a body that is not complete yet; they are removed with their run."""

    run_id: str | None
    chunks: dict[int, bytes]


class Fences:
    """State that outlives a batch. Belongs to the owner of the partitions; rebuilt from Postgres when they are assigned."""

    def __init__(self) -> None:
        self.attempts: dict[str, int] = {}
        """Run in flight -> its current attempt."""
        self.causes: dict[tuple[str, int], Cause] = {}
        self.parts: dict[str, ReceivedParts] = {}
        """Blob id -> the received parts of a body over the record limit."""

    def duplicate(self, topic: str, cause: Cause) -> bool:
        """Return whether this event, or a later one, has been folded already."""
        return not cause.follows(self.causes.get((topic, cause.partition)))


class Fold:
    """Folds one batch. ``fences`` is changed too; on a failed commit it must be rebuilt."""

    def __init__(self, fences: Fences) -> None:
        self.changes = Changes()
        self.fences = fences
        self.whole_ends: dict[str, ev.FinalRunEvent] = {}
        """Run id -> its final event together with the result that was too large for one record."""

    def must_wait(self, event: ev.AnyEvent) -> bool:
        """Return whether the collected changes must be written before this event is folded.

        A removal of some of a thread's checkpoints depends on the existing ones, and is written first in a batch: earlier
        events must be in Postgres, and later ones have to wait. Otherwise rows would depend on
        the ends of batches.
        """
        changes = self.changes
        match event:
            case ev.RunRolledBack() | ev.RunDeleted() | ev.CheckpointsDeleted():
                if event.thread_id in changes.checkpoints or event.thread_id in changes.writes:
                    return True
            case (
                ev.CheckpointWritten()
                | ev.CheckpointWrites()
                | ev.CheckpointSteps()
                | ev.CheckpointPart()
                | ev.StateUpdated()
            ):
                return changes.thins(event.thread_id)
            case _:
                pass
        if isinstance(event, ev.RunEnded) and event.webhook is not None:
            return any(step.run_id == event.run_id for step in changes.webhook_steps)
        return False

    def event(  # noqa: C901 - one case an event
        self, event: ev.AnyEvent, time: str, offset: int, partition: int
    ) -> bool:
        """Fold one event that is no duplicate. Return False if it was dropped: a worker's record of an attempt that is past."""
        at = datetime.fromisoformat(time)
        match event:
            case (
                ev.RunStarted()
                | ev.RunFrames()
                | ev.CheckpointWritten()
                | ev.CheckpointWrites()
                | ev.CheckpointSteps()
                | ev.CheckpointPart()
                | ev.RunResultPart()
            ):
                if event.run_id is not None and self.fences.attempts.get(event.run_id) != event.attempt:
                    return False
                self._worker_record(event, at, offset)
            case ev.RunSucceeded() | ev.RunFailed() | ev.RunCancelled() | ev.RunTimedOut() | ev.RunRolledBack():
                self._run_ended(event, at, offset, partition)
                if event.deletes_thread:
                    self.changes.remove_thread(event.thread_id)
                    return True
            case ev.WebhookAttempted():
                self.changes.add_webhook_attempt(event, partition)
            case ev.WebhookDueAgain():
                self.changes.webhook_steps.append(
                    WebhookDue(event.run_id, event.attempts, datetime.fromisoformat(event.due_at))
                )
            case ev.AssistantCreated() | ev.AssistantVersioned() | ev.AssistantLatestSet() | ev.AssistantDeleted():
                self._assistant(event, at)
            case ev.CronCreated() | ev.CronChanged() | ev.CronAdvanced() | ev.CronDeleted():
                self.changes.crons.note(event)
            case ev.StoreWritten() | ev.StoreRefreshed():
                self.changes.store.note(event, at)
            case ev.GraphRegistered():
                self.changes.graphs[event.graph_id] = (
                    event.position,
                    event.description,
                    json_text(event.schemas),
                    event.static,
                    json_text(event.drawings),
                    None if event.subgraphs is None else json_text(event.subgraphs),
                )
            case ev.ParkedReleased():
                self.changes.dead_letters.settle(event.key, event.decided, "decided", at)
                self.changes.dead_letters.settle(event.key, event.dropped, "dropped", at)
                self.changes.dead_letters.settle(event.key, event.removed, "removed", at)
            case ev.CommandRejected():
                if event.blob_id in self.fences.parts:
                    self._discard_parts(event.blob_id)
            case ev.CommandRepeated() | ev.AssistantRejected() | ev.CronRejected():
                pass
            case ev.ParkedEventsReleased():
                raise TypeError("`Projection` releases parked events before it folds")
            case _:
                self._lifecycle(event, at, offset)
        self.changes.index.note(event, offset, at)
        return True

    def _lifecycle(self, event: _Lifecycle, at: datetime, offset: int) -> None:  # noqa: C901 - one case an event
        changes = self.changes
        match event:
            case ev.ThreadCreated():
                if event.existed:
                    return
                thread = changes.make_thread(event.thread_id, at)
                if (origin := event.provenance) is not None:
                    thread.created_at = thread.state_updated_at = _moment(origin.created_at, at)
                    thread.updated_at = _moment(origin.updated_at, at)
                thread.metadata, thread.config = json_text(event.metadata), json_text(event.config)
                thread.status = thread.status_when_idle = "idle"
                if event.ttl is not None:
                    thread.ttl_minutes, thread.ttl_strategy = event.ttl.ttl, event.ttl.strategy
            case ev.ThreadUpdated():
                thread = changes.thread(event.thread_id, at)
                thread.metadata = json_text(event.metadata)
                if event.ttl is not None:
                    thread.ttl_minutes, thread.ttl_strategy = event.ttl.ttl, event.ttl.strategy
            case ev.ThreadDeleted():
                for run_id, _ in event.active:
                    self._release(run_id)
                changes.remove_thread(event.thread_id)
            case ev.StateUpdated():
                for index, body in enumerate(event.checkpoints):
                    bundle = cp.decode_bundle(body)
                    if bundle.checkpoint is not None:
                        self._checkpoint(event.thread_id, bundle.checkpoint, cp.log_position(offset, index))
                    for writes in bundle.writes:
                        self._writes(event.thread_id, writes, None)
                thread = changes.thread(event.thread_id, at)
                thread.has_checkpoints, thread.settled = True, offset
                if not event.checkpoints_only:
                    thread.status, thread.status_when_idle, thread.state_updated_at = event.status, event.status, at
                    thread.state_values, thread.interrupts = _raw(event.values), _raw(event.interrupts)
                    thread.error = _raw(event.error) or "null"
                    if (origin := event.provenance) is not None:
                        thread.updated_at = _moment(origin.updated_at, at)
                        thread.state_updated_at = _moment(origin.state_updated_at or origin.updated_at, at)
            case ev.CheckpointsDeleted():
                if event.run_ids is not None:
                    for run_id in event.run_ids:
                        changes.remove_run_checkpoints(event.thread_id, run_id)
                elif event.keep_latest:
                    changes.kept_latest[event.thread_id] = at
                else:
                    changes.remove_checkpoints(event.thread_id)
            case ev.RunCreated():
                self._run_created(event, at)
            case ev.RunDispatched():
                self._run_dispatched(event.thread_id, event.run_id, event.attempt, event.crashes, at)
            case ev.RunCancelRequested():
                run = changes.run(event.run_id, event.thread_id, at)
                run.cancel, run.superseded_by = event.action, event.superseded_by or run.superseded_by
                run.cancel_reason = event.reason or run.cancel_reason
            case ev.RunDeleted():
                self._release(event.run_id)
                changes.remove_run(event.thread_id, event.run_id)
                thread = changes.thread(event.thread_id, at)
                thread.settled = offset
                thread.seq = event.last_event_number or thread.seq
                if event.status is not None:
                    thread.status, thread.status_when_idle = (
                        event.status,
                        status_when_idle(event) or thread.status_when_idle,
                    )
                if event.values:
                    thread.state_values, thread.state_updated_at = _raw(event.values), at
                    thread.interrupts, thread.error = _raw(event.interrupts), "null"
            case _:
                assert_never(event)

    def _run_created(self, event: ev.RunCreated, at: datetime) -> None:
        if event.creates_thread:
            thread = self.changes.make_thread(event.thread_id, at)
            if event.thread_ttl is not None:
                thread.ttl_minutes, thread.ttl_strategy = event.thread_ttl.ttl, event.thread_ttl.strategy
        else:
            thread = self.changes.thread(event.thread_id, at)
        thread.metadata, thread.config = json_text(event.thread_metadata), json_text(event.thread_config)
        thread.status = "busy"
        run = self.changes.run(event.run_id, event.thread_id, at)
        run.status = "pending"
        run.new = {
            "ordinal": event.ordinal,
            "assistant_id": event.assistant_id,
            "graph_id": event.graph_id,
            "created_at": at,
            "metadata": json_text(event.metadata),
            "kwargs": bytes(event.kwargs).decode(),
            "multitask_strategy": event.multitask_strategy,
            "not_before": datetime.fromisoformat(event.not_before) if event.not_before else None,
            "temporary": event.temporary,
            "user_id": event.user_id,
        }
        if event.dispatched is not None:
            self._run_dispatched(event.thread_id, event.run_id, 1, 0, at)

    def _run_dispatched(self, thread_id: str, run_id: str, attempt: int, crashes: int, at: datetime) -> None:
        self._release(run_id)
        self.fences.attempts[run_id] = attempt
        run = self.changes.run(run_id, thread_id, at)
        run.attempt, run.crashes, run.dispatched_at = attempt, crashes, at
        if attempt == 1:
            run.status = "pending"
        self.changes.thread(thread_id, at).has_checkpoints = True

    def _run_ended(
        self,
        event: ev.FinalRunEvent,
        at: datetime,
        offset: int,
        partition: int,
    ) -> None:
        event = self._whole_end(event)
        self._release(event.run_id)
        thread = self.changes.thread(event.thread_id, at)
        thread.status, thread.status_when_idle = event.status, status_when_idle(event) or thread.status_when_idle
        thread.settled = offset
        if event.last_frame_ms:
            thread.frame_ms = max(event.last_frame_ms, thread.frame_ms or 0)
        if event.last_event_number:
            thread.seq = event.last_event_number
        if event.values:
            thread.state_values, thread.state_updated_at = _raw(event.values), at
        if event.interrupts:
            thread.interrupts = _raw(event.interrupts)
        if event.webhook is not None:
            self.changes.add_webhook(event, event.webhook, thread, at, partition)
        if isinstance(event, ev.RunRolledBack):
            thread.error = thread.error if event.error is None else json_text(event.error)
            self.changes.remove_run(event.thread_id, event.run_id)
            return
        if event.error is None or event.error.refusal is None:  # a refused run leaves the thread as it was
            thread.error = "null" if event.error is None else json_text(event.error)
        run = self.changes.run(event.run_id, event.thread_id, at)
        run.status, run.ended_at = end_of(event).status, at
        run.error = None if event.error is None else json_text(event.error)
        run.output = bytes(event.output).decode() if event.output else None
        run.frame_count = event.frame_count
        run.first_event_number, run.last_event_number = event.first_event_number, event.last_event_number
        run.superseded_by = event.superseded_by or run.superseded_by
        if isinstance(event, ev.RunCancelled):
            run.cancel_reason = event.reason or run.cancel_reason
        if event.started_at is not None:
            run.started_at = datetime.fromisoformat(event.started_at)

    # --- worker records ----------------------------------------------------------------------

    def _worker_record(
        self,
        event: ev.RunStarted
        | ev.RunFrames
        | ev.CheckpointWritten
        | ev.CheckpointWrites
        | ev.CheckpointSteps
        | ev.CheckpointPart
        | ev.RunResultPart,
        at: datetime,
        offset: int,
    ) -> None:
        match event:
            case ev.RunStarted():
                run = self.changes.run(event.run_id, event.thread_id, at)
                run.status, run.started_at = "running", at
            case ev.RunFrames():
                frames = self.changes.frames.setdefault(event.thread_id, {})
                frames.setdefault((event.run_id, event.attempt, event.first_sequence), event.frames)
            case ev.CheckpointWritten():
                self._checkpoint(
                    event.thread_id, cp.decode_checkpoint(event.body), cp.log_position(offset), event.run_id
                )
            case ev.CheckpointWrites():
                self._writes(event.thread_id, cp.decode_writes(event.body), event.run_id)
            case ev.CheckpointSteps():
                for index, step in enumerate(event.steps):
                    if step.writes:
                        self._writes(event.thread_id, cp.decode_writes(step.body), event.run_id)
                    else:
                        body = cp.decode_checkpoint(step.body)
                        self._checkpoint(event.thread_id, body, cp.log_position(offset, index), event.run_id)
            case ev.CheckpointPart():
                self._checkpoint_part(event, offset)
            case ev.RunResultPart():
                self._receive(event)  # put together by the run's end

    def _checkpoint_part(self, event: ev.CheckpointPart, offset: int) -> None:
        received = self._receive(event)
        if len(received.chunks) < event.count:
            if event.run_id is None and event.index == event.count - 1:  # pieces come in order: one was refused
                self._discard_parts(event.blob_id)
            return
        whole = b"".join(received.chunks[n] for n in range(event.count))
        self._discard_parts(event.blob_id)
        if event.whole == ev.CheckpointWritten.TYPE:
            body = cp.decode_checkpoint(whole)
            self._checkpoint(event.thread_id, body, cp.log_position(offset), event.run_id)
        else:
            self._writes(event.thread_id, cp.decode_writes(whole), event.run_id)

    def _receive(self, event: ev.CheckpointPart | ev.RunResultPart) -> ReceivedParts:
        received = self.fences.parts.setdefault(event.blob_id, ReceivedParts(event.run_id, {}))
        received.chunks[event.index] = event.body
        self.changes.parts[event.blob_id, event.index] = (event.run_id, event.body)
        return received

    def _whole_end(self, event: ev.FinalRunEvent) -> ev.FinalRunEvent:
        """Return the event with the result that its worker sent separately. Raises KeyError when a piece is missing."""
        if event.result is None:
            return event
        chunks = self.fences.parts[event.result].chunks
        result = run_results.decode(b"".join(chunks[n] for n in range(len(chunks))))
        whole = replace(event, values=_present(result.values), output=_present(result.output), result=None)
        self.whole_ends[event.run_id] = whole
        return whole

    def _release(self, run_id: str) -> None:
        """Drop the run's attempt and its incomplete parts."""
        self.fences.attempts.pop(run_id, None)
        for blob_id in [id for id, received in self.fences.parts.items() if received.run_id == run_id]:
            self._discard_parts(blob_id)

    def _discard_parts(self, blob_id: str) -> None:
        for index in self.fences.parts.pop(blob_id).chunks:
            self.changes.parts.pop((blob_id, index), None)
        self.changes.parts_done.add(blob_id)

    def _checkpoint(
        self, thread_id: str, body: cp.CheckpointBody, log_position: int, run_id: str | None = None
    ) -> None:
        gathered = self.changes.checkpoints.setdefault(thread_id, {})
        key = body.namespace, body.checkpoint_id
        # a checkpoint that is written again keeps its parent, its run and its position in the order
        origin = gathered[key][:ORIGIN] if key in gathered else (body.parent_id, body.run_id or run_id, log_position)
        gathered[key] = (
            *origin,
            body.type,
            body.data,
            jsonb(body.metadata),
            json_text(body.versions),
        )
        blobs = self.changes.blobs.setdefault(thread_id, {})
        for blob in body.blobs:
            blobs[body.namespace, blob.channel, blob.version] = (blob.type, blob.data)

    def _writes(self, thread_id: str, body: cp.WritesBody, run_id: str | None) -> None:
        gathered = self.changes.writes.setdefault(thread_id, {})
        for write in body.writes:
            key = (body.namespace, body.checkpoint_id, body.task_id, write.index)
            earlier = gathered.get(key)
            if earlier is not None:
                if write.index >= 0:
                    continue  # like savers: a task's ordinary writes stay, special ones are replaced
                if earlier[WRITE_RUN] != run_id:
                    replaced = self.changes.replaced_writes.setdefault(thread_id, {})
                    replaced.setdefault(key, {})[earlier[WRITE_RUN]] = earlier
            gathered[key] = (body.task_path, write.channel, write.type, write.data, run_id)

    # --- assistants ----------------------------------------------------------------

    def _assistant(
        self,
        event: ev.AssistantCreated | ev.AssistantVersioned | ev.AssistantLatestSet | ev.AssistantDeleted,
        at: datetime,
    ) -> None:
        changes, id = self.changes, event.assistant_id
        if isinstance(event, ev.AssistantDeleted):
            changes.assistants.pop(id, None)
            changes.versions = {k: v for k, v in changes.versions.items() if k[0] != id}
            changes.removed_assistants.add(id)
            return
        if isinstance(event, ev.AssistantCreated) and event.existed:
            return
        content = event.content
        made = isinstance(event, ev.AssistantCreated)
        fields = (
            content.graph_id,
            json_text(content.config),
            json_text(content.context),
            json_text(content.metadata),
            content.name,
            content.description,
        )
        earlier = changes.assistants.get(id)
        origin = event.provenance
        updated_at = at if origin is None else _moment(origin.updated_at, at)
        if made:
            created_at: datetime | None = at if origin is None else datetime.fromisoformat(content.created_at)
        else:
            created_at = earlier[7] if earlier is not None else None
        changes.assistants[id] = (*fields, content.version, created_at, updated_at)
        if not isinstance(event, ev.AssistantLatestSet):
            changes.versions[id, content.version] = (*fields, datetime.fromisoformat(content.created_at))


def _moment(imported: str | None, at: datetime) -> datetime:
    """Return the time at the source of an imported object; the time of the event if unknown."""
    return at if imported is None else datetime.fromisoformat(imported)


def _present(json: bytes) -> Raw:
    """`ABSENT` itself, and no other empty value, is left out when the event is encoded."""
    return Raw(json) if json else ABSENT


def _raw(value: Raw) -> str | None:
    return jsonb(bytes(value)) if value else None
