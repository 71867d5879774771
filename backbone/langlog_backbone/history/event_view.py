"""Events as JSON for people and programs: one object per record, for the audit API and the command line. Pure.

Bodies that are bytes (checkpoints, writes, parts, frames) are shown as summaries: what they are about and how big they are. Turning
values back into objects is for workers alone; frames are JSON and may be shown.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from langlog_schemas import checkpoints as cp
from langlog_schemas import envelope, frames
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause
from msgspec import Raw

from ..log import Record

NULL = Raw(b"null")


class CommandView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The command that an event results from, and the event's place among those of that command."""

    partition: int
    """Partition of the command"""
    offset: int
    """Offset of the command"""
    index: int
    """Place of the event, from 0"""
    count: int
    """Number of events of the command"""
    id: str | None = None
    """Id of the command; absent if its record is no longer in the log"""
    type: str | None = None
    """Type of the command; absent if its record is no longer in the log"""


class PositionView(msgspec.Struct, frozen=True):
    """Place of a record in the log."""

    topic: str
    """Topic"""
    partition: int
    """Number of the partition"""
    offset: int
    """Offset within the partition"""


class EventView(msgspec.Struct, frozen=True):
    """One event of the log."""

    id: str | None
    """Id of the event; null if it was cut from the log"""
    type: str
    """Type with prefix and version, such as `langlog.run.created.v1`"""
    time: str | None
    """Time of the event; null if it was cut from the log"""
    subject: str
    """Id of the aggregate"""
    run_id: str | None
    """Id of the run, if the event is about one"""
    source: str | None
    """Service that appended the event"""
    actor: str | None
    """Authenticated user whose request led to the event"""
    cause: CommandView | None
    """Command that the event results from; null for records of workers"""
    position: PositionView
    """Place in the log"""
    data: Raw
    """Body of the event, or a summary of one that is bytes; null if it is sealed or no longer in the log"""


def causes(records: list[Record]) -> dict[int, Cause]:
    """Return offset of an event -> its cause, for decided events."""
    return {r.offset: Cause.parse(r.headers["ce_cause"]) for r in records if "ce_cause" in r.headers}


def event_view(
    record: Record, run_id: str | None, cause: Cause | None, command: Record | None, *, with_frames: bool = False
) -> EventView:
    """Return the view of an event's record. ``command``: the record of the command that caused it, if available."""
    headers = record.headers
    request = None
    if cause is not None:
        command_headers = {} if command is None else command.headers
        id = command_headers.get("ce_id") or headers.get("ce_command")
        request = CommandView(
            cause.partition, cause.offset, cause.index, cause.count, id, command_headers.get("ce_type")
        )
    return EventView(
        headers.get("ce_id"),
        headers.get("ce_type", ""),
        headers.get("ce_time"),
        headers.get("ce_subject", record.key),
        run_id,
        headers.get("ce_source"),
        headers.get("ce_actor"),
        request,
        PositionView(record.topic, record.partition, record.offset),
        data_of(record, with_frames=with_frames),
    )


def gone_view(type_name: str, thread_id: str, run_id: str | None, position: PositionView) -> EventView:
    """Return the view of an event that the index names and the log no longer holds."""
    return EventView(None, envelope.PREFIX + type_name, None, thread_id, run_id, None, None, None, position, NULL)


def data_of(record: Record, *, with_frames: bool = False) -> Raw:
    """Return the body as JSON; null if it cannot be read."""
    if envelope.SEALED in record.headers:
        return NULL
    type_name = envelope.type_of(record.headers)
    try:
        if type_name in SUMMARIZED:
            return Raw(msgspec.json.encode(summary(ev.decode(type_name, record.value), with_frames=with_frames)))
        if record.headers.get("content-type") == envelope.MSGPACK_CONTENT:
            return Raw(msgspec.json.encode(msgspec.msgpack.decode(record.value)))
        msgspec.json.decode(record.value)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError):
        return NULL
    return Raw(record.value)


def summary(event: ev.AnyEvent, *, with_frames: bool = False) -> dict[str, Any]:
    """Return a summary, as JSON, of an event that contains bytes."""
    match event:
        case ev.CheckpointWritten():
            return {**_of(event), **checkpoint_summary(cp.decode_checkpoint(event.body)), "bytes": len(event.body)}
        case ev.CheckpointWrites():
            return {**_of(event), **writes_summary(cp.decode_writes(event.body)), "bytes": len(event.body)}
        case ev.CheckpointSteps():
            return {**_of(event), "steps": [step_summary(step) for step in event.steps]}
        case ev.CheckpointPart():
            part = {"whole": envelope.PREFIX + event.whole, "blob_id": event.blob_id}
            return {**_of(event), **part, "index": event.index, "count": event.count, "bytes": len(event.body)}
        case ev.RunResultPart():
            counted = {"index": event.index, "count": event.count, "bytes": len(event.body)}
            return {**_of(event), "blob_id": event.blob_id, **counted}
        case ev.RunFrames():
            return {**_of(event), **frames_summary(event, with_frames=with_frames)}
        case ev.StateUpdated():
            bundles = [cp.decode_bundle(body) for body in event.checkpoints]
            return {
                "thread_id": event.thread_id,
                "status": event.status,
                "values": event.values,
                "interrupts": event.interrupts,
                "checkpoint_id": event.checkpoint_id,
                "checkpoints": [checkpoint_summary(b.checkpoint) for b in bundles if b.checkpoint is not None],
                "writes": [writes_summary(w) for b in bundles for w in b.writes],
                "bytes": sum(map(len, event.checkpoints)),
            }
        case _:
            members: dict[str, Any] = msgspec.to_builtins(event)
            return members


SUMMARIZED = ev.MSGPACK_EVENTS | {ev.StateUpdated.TYPE}


def step_summary(step: ev.Step) -> dict[str, Any]:
    """Return a summary of a step. ``type``: that of the step as a record of its own."""
    of = ev.CheckpointWrites if step.writes else ev.CheckpointWritten
    content = (
        writes_summary(cp.decode_writes(step.body))
        if step.writes
        else checkpoint_summary(cp.decode_checkpoint(step.body))
    )
    return {"type": envelope.PREFIX + of.TYPE, "after_us": step.after_us, **content, "bytes": len(step.body)}


def checkpoint_summary(body: cp.CheckpointBody) -> dict[str, Any]:
    """Return a summary of a checkpoint. ``changed``: channels with a new value, and the size of each, in bytes."""
    return {
        "namespace": body.namespace,
        "checkpoint_id": body.checkpoint_id,
        "parent_id": body.parent_id,
        "metadata": Raw(body.metadata or b"{}"),
        "channels": sorted(body.versions),
        "changed": {blob.channel: len(blob.data) for blob in body.blobs},
    }


def writes_summary(body: cp.WritesBody) -> dict[str, Any]:
    return {
        "namespace": body.namespace,
        "checkpoint_id": body.checkpoint_id,
        "task_id": body.task_id,
        "node": node_of(body.task_path),
        "writes": [{"channel": w.channel, "bytes": len(w.data)} for w in body.writes],
    }


def frames_summary(event: ev.RunFrames, *, with_frames: bool) -> dict[str, Any]:
    batch = frames.decode(event.frames)
    members: dict[str, Any] = {
        "first_sequence": event.first_sequence,
        "count": len(batch.frames),
        "events": dict(Counter(frame.event for frame in batch.frames)),
        "bytes": len(event.frames),
    }
    if with_frames:
        members["frames"] = [{"id": f.id, "event": f.event, "data": Raw(f.data)} for f in batch.frames]
    return members


def node_of(task_path: str) -> str | None:
    """Return the node's name in a task's path (``~__pregel_pull, agent``), or None for a task that was written from outside the graph."""
    if not task_path.startswith("~__pregel_"):
        return None
    name = task_path.rpartition(", ")[2]
    return None if name.isdigit() else name


def _of(event: Any) -> dict[str, Any]:
    return {"thread_id": event.thread_id, "run_id": event.run_id, "attempt": event.attempt}
