"""Request bodies of crons (wire contract §10). A cron's body is that of its runs, with schedule and options."""

from __future__ import annotations

from typing import Literal

import msgspec
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import RunCreate
from msgspec import UNSET, Struct, UnsetType

from .members import Limit, Offset, SortOrder

CronColumn = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "user_id",
    "end_time",
    "schedule",
    "timezone",
    "payload",
    "next_run_date",
    "metadata",
    "on_run_completed",
    "enabled",
    "created_at",
    "updated_at",
    "now",
]


class CronCreate(RunCreate, kw_only=True):
    """A new cron: the body of its runs, with their schedule."""

    schedule: str
    """Five fields (minute, hour, day of month, month, day of week), six (seconds last), or a name such as `@daily`"""
    timezone: str | None = None
    """IANA name of the time zone of the schedule; null means UTC"""
    end_time: str | None = None
    """Time in ISO 8601 after which the cron does not fire"""
    on_run_completed: Literal["delete", "keep"] = "delete"
    """For a cron without a thread: `delete` or `keep` the thread of a run that has ended"""
    enabled: bool = True
    """Whether the cron fires"""


class CronPatch(Struct):
    """Changes of a cron. Members of the run's body (`input`, `webhook`, …) change what the next runs are created with."""

    assistant_id: str | UnsetType = UNSET
    """Id of the assistant, or name of the graph"""
    schedule: str | UnsetType = UNSET
    """New schedule"""
    timezone: str | UnsetType | None = UNSET
    """IANA name of the new time zone; null means UTC"""
    end_time: str | UnsetType | None = UNSET
    """New end; null removes it"""
    metadata: Object | UnsetType = UNSET
    """Members to merge into the metadata; those of the runs are replaced"""
    on_run_completed: Literal["delete", "keep"] | UnsetType = UNSET
    """For a cron without a thread: `delete` or `keep` the thread of a run that has ended"""
    enabled: bool | UnsetType = UNSET
    """Whether the cron fires; false pauses it"""
    config: Object = {}
    """New configuration of the runs"""
    context: Object = {}
    """New static context of the runs"""


class CronSearch(Struct):
    """Conditions and form of a search for crons. All conditions must hold."""

    assistant_id: str | None = None
    """Id of the assistant"""
    thread_id: str | None = None
    """Id of the thread"""
    enabled: bool | None = None
    """Whether the crons fire"""
    metadata: Object | None = None
    """Metadata that the crons must contain"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    sort_by: Literal[
        "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"
    ] = "created_at"
    """Member to sort by"""
    sort_order: SortOrder = "desc"
    """Direction of sorting"""
    select: list[CronColumn] = []
    """Members to return; an empty list returns all"""


class CronCount(Struct):
    """Conditions of a count of crons. All conditions must hold."""

    assistant_id: str | None = None
    """Id of the assistant"""
    thread_id: str | None = None
    """Id of the thread"""
    metadata: Object | None = None
    """Metadata that the crons must contain"""


CRON_CREATE = msgspec.json.Decoder(CronCreate)
CRON_PATCH = msgspec.json.Decoder(CronPatch)
CRON_SEARCH = msgspec.json.Decoder(CronSearch)
CRON_COUNT = msgspec.json.Decoder(CronCount)
