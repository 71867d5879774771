"""Request bodies of an import: objects that `langlog import` has read elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from langlog_schemas.json_types import Object
from msgspec import Meta, Raw, Struct, field

from .members import Ids, null
from .threads import ThreadTtl

OBJECTS_MAX = 1_000
"""Maximum number of objects of one kind in one request."""
Time = Annotated[str, Meta(max_length=64)]
"""A time in ISO 8601 with an offset, as the source wrote it."""


class HeldQuery(Struct, forbid_unknown_fields=True):
    """Ids of the requested objects."""

    threads: Ids = []
    """Ids of threads"""
    assistants: Ids = []
    """Ids of assistants"""
    crons: Ids = []
    """Ids of crons"""


class ImportedVersion(Struct):
    """One version of an assistant."""

    version: int
    """Number, from 1"""
    graph_id: str
    """Graph"""
    config: Object = {}
    """Configuration of runs"""
    context: Object = {}
    """Context of runs"""
    metadata: Object = {}
    """Metadata"""
    name: str = "Untitled"
    """Name"""
    description: str | None = None
    """Description"""
    created_at: Time | None = None
    """Time of creation"""


class ImportedAssistant(Struct, forbid_unknown_fields=True):
    """An assistant with its versions, oldest first."""

    assistant_id: str
    """Id"""
    versions: Annotated[list[ImportedVersion], Meta(min_length=1, max_length=OBJECTS_MAX)]
    """Versions, oldest first, without gaps"""
    latest: int
    """The version that is the latest"""
    created_at: Time | None = None
    """Time of creation"""
    updated_at: Time | None = None
    """Time of the last change"""


class ImportedThread(Struct, forbid_unknown_fields=True):
    """A thread, or a part of it: repeat the request with further checkpoints, and `complete` with the last ones."""

    thread_id: str
    """Id here"""
    original_id: str | None = None
    """Id at the source, if it is not a UUID"""
    graph_id: str | None = None
    """Graph whose threads it is; required with checkpoints"""
    metadata: Object = {}
    """Metadata"""
    config: Object = {}
    """Configuration of its last run"""
    ttl: ThreadTtl | None = None
    """Time to live"""
    created_at: Time | None = None
    """Time of creation"""
    updated_at: Time | None = None
    """Time of the last change"""
    state_updated_at: Time | None = None
    """Time of the last change of its state"""
    status: Literal["idle", "interrupted", "error"] | None = None
    """Status; absent: it follows from its state"""
    error: Raw = field(default_factory=null)
    """Error of its last run"""
    history: Annotated[list[Raw], Meta(max_length=OBJECTS_MAX)] = []
    """Entries of its history, parents first. `known: true`: it was imported before. `leaf: true`: it is no other's parent"""
    rows: Annotated[list[Raw], Meta(max_length=OBJECTS_MAX)] = []
    """Rows of the tables of the published Postgres saver, parents first"""
    complete: bool = False
    """These are the last checkpoints: the thread gets its state"""


class ImportedItem(Struct, forbid_unknown_fields=True):
    """An item of the store."""

    namespace: Annotated[list[str], Meta(min_length=1)]
    """Namespace"""
    key: str
    """Key"""
    value: Object
    """Value"""
    ttl: float | None = None
    """Minutes to live from now on"""
    created_at: Time | None = None
    """Time of creation"""
    updated_at: Time | None = None
    """Time of the last write"""


class ImportedCron(Struct, forbid_unknown_fields=True):
    """A cron."""

    cron_id: str
    """Id"""
    assistant_id: str
    """Assistant of its runs"""
    schedule: str
    """Schedule"""
    payload: Object
    """Members of its runs"""
    thread_id: str | None = None
    """Thread of its runs; absent: each has its own"""
    user_id: str | None = None
    """Owner"""
    timezone: str | None = None
    """Time zone of the schedule"""
    end_time: str | None = None
    """End of the cron"""
    metadata: Object = {}
    """Metadata"""
    on_run_completed: Literal["delete", "keep"] | None = None
    """`delete` or `keep` the threads of its runs when they have ended"""
    enabled: bool = False
    """Whether it makes runs from now on"""
    created_at: Time | None = None
    """Time of creation"""
    updated_at: Time | None = None
    """Time of the last change"""


class Import(Struct, forbid_unknown_fields=True):
    """Objects that were read elsewhere."""

    source: Annotated[str, Meta(min_length=1, max_length=2_000)]
    """Address that they were read from, without credentials"""
    read_at: Time
    """Start time of the import"""
    assistants: Annotated[list[ImportedAssistant], Meta(max_length=OBJECTS_MAX)] = []
    """Assistants"""
    threads: Annotated[list[ImportedThread], Meta(max_length=OBJECTS_MAX)] = []
    """Threads"""
    items: Annotated[list[ImportedItem], Meta(max_length=OBJECTS_MAX)] = []
    """Items of the store"""
    crons: Annotated[list[ImportedCron], Meta(max_length=OBJECTS_MAX)] = []
    """Crons"""
