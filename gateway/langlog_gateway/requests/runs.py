"""Request bodies of runs (wire contract §4); the body of a new run is `langlog_schemas.runs.request`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from langlog_schemas.events import RunStatus
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import RunCreate
from msgspec import UNSET, Meta, Struct, UnsetType

from .members import BULK_MAX, ENTRIES_MAX, Ids, Limit, Moment, Offset, SortOrder

RunColumn = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
    "langsmith_session_name",
    "cancel_reason",
]


class RunsCount(Struct):
    """Conditions of a count of runs. All conditions must hold."""

    status: RunStatus | Annotated[list[RunStatus], Meta(max_length=10)] | None = None
    """Status of the runs, one or several"""
    thread_id: str | None = None
    """Id of the thread of the runs"""
    assistant_id: str | None = None
    """Id of the assistant of the runs"""
    graph_id: str | None = None
    """Graph that the runs execute"""
    cron_id: str | None = None
    """Id of the cron that created the runs"""
    metadata: Object = {}
    """Metadata that the runs must contain; nested objects are compared member by member"""
    created_after: Moment | None = None
    """Time that the runs were created at or after"""
    created_before: Moment | None = None
    """Time that the runs were created before"""


class RunsSearch(RunsCount):
    """Conditions and form of a search for runs. All conditions must hold."""

    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    after: str | None = None
    """Response header `x-pagination-after` of the page before: the page begins there. Pages stay as fast as the first one"""
    sort_order: SortOrder = "desc"
    """`desc` returns the newest first"""
    select: Annotated[list[RunColumn], Meta(max_length=ENTRIES_MAX)] = []
    """Members to return; an empty list returns all"""


class RunsRetry(Struct):
    """Runs to run again."""

    run_ids: Annotated[list[str], Meta(min_length=1, max_length=BULK_MAX)]
    """Ids of runs that have failed, at most 1,000"""


class CancelMany(Struct):
    """Runs to cancel: either by `status`, or by `thread_id` and `run_ids`."""

    status: Literal["pending", "running", "all"] | UnsetType = UNSET
    """Cancel all runs with this status"""
    thread_id: str | UnsetType = UNSET
    """Id of the runs' thread"""
    run_ids: Ids | UnsetType = UNSET
    """Ids of the runs"""


RUN_CREATE = msgspec.json.Decoder(RunCreate)
RUN_BATCH = msgspec.json.Decoder(Annotated[list[RunCreate], Meta(min_length=1, max_length=ENTRIES_MAX)])
RUNS_COUNT = msgspec.json.Decoder(RunsCount)
RUNS_SEARCH = msgspec.json.Decoder(RunsSearch)
RUNS_RETRY = msgspec.json.Decoder(RunsRetry)
CANCEL_MANY = msgspec.json.Decoder(CancelMany)
