"""Threads (wire contract §3)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any

from langlog_schemas import events as ev
from langlog_schemas.events import ThreadStatus
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .failures import stored_error
from .members import NULL, JsonObject, OptionalJsonObject, Row, Time, Uuid, raw, raw_of, stamp

Interrupts = Annotated[
    Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {"type": "array", "items": {}}})
]


class TimeToLive(Struct):
    """Time to live of a thread."""

    strategy: str
    """Effect of the expiry: `delete` removes the thread, `keep_latest` its checkpoints except the latest"""
    ttl_minutes: int | float
    """Minutes since the last change of the thread"""
    expires_at: Time
    """Time of expiry"""


class Thread(Struct):
    """A conversation: the state that runs of a graph build on. Present members depend on `select`."""

    thread_id: Uuid | UnsetType = UNSET
    """Id of the thread"""
    created_at: Time | UnsetType = UNSET
    """Time of creation"""
    updated_at: Time | UnsetType = UNSET
    """Time of the last change"""
    state_updated_at: Time | UnsetType = UNSET
    """Time of the last change of the state"""
    metadata: JsonObject | UnsetType = UNSET
    """Metadata, any JSON object; `graph_id` and `assistant_id` of the last run are added"""
    status: ThreadStatus | UnsetType = UNSET
    """`idle`, `busy` while a run is pending or running, `interrupted` if a node waits for input, `error` if the last run failed"""
    config: JsonObject | UnsetType = UNSET
    """Configuration of the last run"""
    context: JsonObject | UnsetType = UNSET
    """Static context of the last run"""
    values: Raw | UnsetType = UNSET
    """Values of the latest state; null before the first run"""
    error: OptionalJsonObject | UnsetType = UNSET
    """Error of the last run, if it failed; absent before the first run"""
    interrupts: Interrupts | UnsetType = UNSET
    """Id of a task -> its open interrupts; absent before the first run"""
    ttl: TimeToLive | UnsetType = UNSET
    """Time to live; present with `include=ttl`"""
    extracted: dict[str, Raw] | UnsetType = UNSET
    """Values of the paths in `extract`"""


class Pruned(Struct):
    """Outcome of pruning."""

    pruned_count: int
    """Number of threads that were pruned"""


class Amount(Struct):
    """Number and size of values."""

    count: int
    """Number"""
    bytes: int
    """Total size, in bytes"""


class ChannelSize(Struct):
    """Values of one channel."""

    versions: int
    """Number of versions"""
    bytes: int
    """Total size, in bytes"""


class ChannelSizes(Struct):
    """Values of channels."""

    count: int
    """Number of versions of all channels"""
    bytes: int
    """Total size, in bytes"""
    by_channel: dict[str, ChannelSize]
    """Channel -> its values"""


class Storage(Struct):
    """Bytes that a thread uses in the database."""

    thread_id: Uuid
    """Id of the thread"""
    total_bytes: int
    """Bytes of everything together"""
    checkpoints: Amount
    """Checkpoints"""
    channel_values: ChannelSizes
    """Values of channels, in total and by channel"""
    pending_writes: Amount
    """Writes of tasks"""


THREAD_COLUMNS = {
    "thread_id": "thread_id",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "state_updated_at": "state_updated_at",
    "metadata": "metadata",
    "status": "status",
    "config": "config",
    "context": "config -> 'configurable'",
    "values": "state_values",
    "interrupts": "interrupts",
    "error": "error",
}
"""Member of a thread -> its column, or the expression for it. ``context`` and the configurable are one thing (wire contract §2)."""


def thread(row: Row, *, ttl: bool = False) -> Thread:
    """Return the thread of a complete row of ``threads``. ``interrupts`` and ``error`` are absent until the first run (wire
    contract §3)."""
    values, interrupts, error = row["state_values"], row["interrupts"], row["error"]
    copied = values is None and row["has_checkpoints"] and row["config"] == "{}"  # and never ran
    return Thread(
        thread_id=row["thread_id"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
        state_updated_at=stamp(row["state_updated_at"]),
        metadata=raw(row["metadata"]),
        status=row["status"],
        config=raw(row["config"]),
        values=UNSET if copied else raw(values),
        error=UNSET if interrupts is None and error is None else stored_error(error),
        interrupts=UNSET if interrupts is None else raw(interrupts),
        ttl=_time_to_live(row) if ttl and row["ttl_minutes"] is not None else UNSET,
    )


def selected_thread(row: Row, select: Collection[str]) -> Thread:
    """Return a thread with the selected members; only their columns need to be in the row."""
    return Thread(**{name: _SELECTED[name](row) for name in _SELECTED if name in select})


_SELECTED: dict[str, Callable[[Row], Any]] = {
    "thread_id": lambda row: row["thread_id"],
    "created_at": lambda row: stamp(row["created_at"]),
    "updated_at": lambda row: stamp(row["updated_at"]),
    "state_updated_at": lambda row: stamp(row["state_updated_at"]),
    "metadata": lambda row: raw(row["metadata"]),
    "status": lambda row: row["status"],
    "config": lambda row: raw(row["config"]),
    "context": lambda row: raw(row["context"] or "{}"),
    "values": lambda row: raw(row["state_values"]),
    "interrupts": lambda row: raw(row["interrupts"] or "{}"),
    "error": lambda row: stored_error(row["error"]),
}


def created_thread(event: ev.ThreadCreated, time: str) -> Thread:
    """Return the thread that an event has just created."""
    return Thread(
        thread_id=event.thread_id,
        created_at=time,
        updated_at=time,
        state_updated_at=time,
        metadata=raw_of(event.metadata),
        status="idle",
        config=raw_of(event.config),
        values=NULL,
    )


def _time_to_live(row: Row) -> TimeToLive:
    minutes = row["ttl_minutes"]
    whole = int(minutes) if minutes == int(minutes) else minutes
    return TimeToLive(row["ttl_strategy"] or "delete", whole, stamp(row["expires_at"]))
