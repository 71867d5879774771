"""Request bodies of crons (API.md 10). A cron's body is that of the run it asks for, with when and how on top."""

from __future__ import annotations

from typing import Literal

import msgspec
from langlog_schemas.run_request import RunCreate
from msgspec import UNSET, Struct, UnsetType

from .requests import Limit, Object, Offset, SortOrder

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
    schedule: str
    timezone: str | None = None
    end_time: str | None = None
    on_run_completed: Literal["delete", "keep"] = "delete"
    enabled: bool = True


class CronPatch(Struct):
    """What the cron itself takes from a patch. The rest is a part of the run's body and is checked as such."""

    assistant_id: str | UnsetType = UNSET
    schedule: str | UnsetType = UNSET
    timezone: str | UnsetType | None = UNSET
    end_time: str | UnsetType | None = UNSET
    metadata: Object | UnsetType = UNSET
    on_run_completed: Literal["delete", "keep"] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    config: Object = {}
    context: Object = {}


class CronSearch(Struct):
    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: Object | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal[
        "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"
    ] = "created_at"
    sort_order: SortOrder = "desc"
    select: list[CronColumn] = []


class CronCount(Struct):
    assistant_id: str | None = None
    thread_id: str | None = None
    metadata: Object | None = None


CRON_CREATE = msgspec.json.Decoder(CronCreate)
CRON_PATCH = msgspec.json.Decoder(CronPatch)
CRON_SEARCH = msgspec.json.Decoder(CronSearch)
CRON_COUNT = msgspec.json.Decoder(CronCount)
