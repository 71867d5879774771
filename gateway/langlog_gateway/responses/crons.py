"""Crons (wire contract §10)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Literal

from langlog_backbone.project.json_handlers import CONTEXT_KEY
from langlog_schemas import events as ev
from msgspec import UNSET, Struct, UnsetType
from msgspec.json import decode

from .members import JsonObject, Row, Time, Uuid, raw, raw_of, stamp


class Cron(Struct):
    """A schedule that creates runs. Present members depend on `select`."""

    cron_id: Uuid | UnsetType = UNSET
    """Id of the cron"""
    assistant_id: Uuid | UnsetType = UNSET
    """Id of the assistant"""
    thread_id: Uuid | UnsetType | None = UNSET
    """Id of the thread that the runs are created on; null means a new thread for each run"""
    user_id: str | UnsetType | None = UNSET
    """Identity of the cron's owner"""
    end_time: str | UnsetType | None = UNSET
    """Time after which the cron does not fire"""
    schedule: str | UnsetType = UNSET
    """Schedule, in cron syntax"""
    timezone: str | UnsetType | None = UNSET
    """IANA name of the time zone; null means UTC"""
    payload: JsonObject | UnsetType = UNSET
    """Body of the runs"""
    next_run_date: Time | UnsetType | None = UNSET
    """Time of the next run, in UTC; null if there is none"""
    metadata: JsonObject | UnsetType = UNSET
    """Metadata, any JSON object"""
    on_run_completed: Literal["delete", "keep"] | UnsetType | None = UNSET
    """`delete` or `keep`: the server deletes or keeps the thread of a run that has ended; null for a cron on a thread"""
    enabled: bool | UnsetType = UNSET
    """Whether the cron fires"""
    created_at: Time | UnsetType = UNSET
    """Time of creation"""
    updated_at: Time | UnsetType = UNSET
    """Time of the last change"""
    now: Time | UnsetType = UNSET
    """Time of the response"""


def cron(row: Row, columns: Collection[str] = ()) -> Cron:
    """Return the cron of a row of ``crons``, or of some of its columns. ``now`` is present only if it is one of them."""
    names = columns or COLUMNS
    return Cron(**{name: _SHOWN[name](row[name]) if name in _SHOWN else row[name] for name in names})


def created_cron(cron_id: str, content: ev.CronContent) -> Cron:
    """Return the cron that an event has just created."""
    return Cron(
        cron_id=cron_id,
        assistant_id=content.assistant_id,
        thread_id=content.thread_id,
        user_id=content.user_id,
        end_time=content.end_time,
        schedule=content.schedule,
        timezone=content.timezone,
        payload=raw_of(_shown_payload(content.payload)),
        next_run_date=_to_the_second(datetime.fromisoformat(content.next_run_date)),
        metadata=raw_of(content.metadata),
        on_run_completed=content.on_run_completed,
        enabled=content.enabled,
        created_at=content.created_at,
        updated_at=content.updated_at,
    )


def _shown_payload(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload without the encryption context, which is internal to services."""
    return {name: value for name, value in payload.items() if name != CONTEXT_KEY}


def _to_the_second(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


_SHOWN: dict[str, Callable[[Any], Any]] = {
    "payload": lambda text: raw_of(_shown_payload(decode(text))) if CONTEXT_KEY in text else raw(text),
    "metadata": raw,
    "next_run_date": _to_the_second,
    "created_at": stamp,
    "updated_at": stamp,
    "now": stamp,
}
COLUMNS = tuple(name for name in Cron.__struct_fields__ if name != "now")
"""Columns of a cron, in the order of its members."""
