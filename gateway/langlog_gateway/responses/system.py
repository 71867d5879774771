"""The server itself (wire contract §15)."""

from __future__ import annotations

from typing import Literal

import msgspec
from langlog_schemas.json_types import Object
from msgspec import Struct


class Health(Struct):
    """Health of the server."""

    ok: bool
    """Whether the server serves requests"""
    services: Object = msgspec.field(default_factory=dict)
    """With `check_db=1`: state of Postgres, Redis, log and read model"""


class Host(Struct):
    """Kind of deployment. Members other than `kind` are null: they are ids of a hosted platform."""

    kind: str
    """`self-hosted`"""
    project_id: None = None
    """Null"""
    host_revision_id: None = None
    """Null"""
    revision_id: None = None
    """Null"""
    tenant_id: None = None
    """Null"""


class Info(Struct):
    """Version and features of the server."""

    version: str
    """Version of langlog"""
    langgraph_py_version: str
    """Version of langgraph"""
    flags: dict[str, bool]
    """Feature -> whether the server has it"""
    host: Host
    """Kind of deployment"""


class Released(Struct):
    """Outcome of releasing a parked key."""

    key: str
    """Key of the records"""
    handled: int
    """Records that were handled"""


class HeldThread(Struct):
    """A thread on this server."""

    updated_at: str
    """Time of the last change"""
    runs: int
    """Number of its runs on this server"""
    checkpoints: list[str]
    """Ids of its checkpoints, oldest first"""


class HeldAssistant(Struct):
    """An assistant on this server."""

    versions: list[int]
    """Its versions"""
    latest: int
    """The latest of them"""


class HeldCron(Struct):
    """A cron on this server."""

    updated_at: str
    """Time of the last change"""
    enabled: bool
    """Whether it makes runs"""


class Held(Struct):
    """Requested objects that this server has."""

    graphs: list[str]
    """Graphs of this server"""
    threads: dict[str, HeldThread]
    """Threads by id"""
    assistants: dict[str, HeldAssistant]
    """Assistants by id"""
    crons: dict[str, HeldCron]
    """Crons by id"""


class ImportOutcome(Struct):
    """Outcome of importing one object."""

    outcome: Literal["imported", "unchanged", "refused"]
    """`unchanged`: all of it existed here already. `refused`: this request did not change it"""
    detail: str | None = None
    """Reason for which it was refused"""
    notes: list[str] = []
    """Parts that could not be imported, in sentences"""


class ImportOutcomes(Struct):
    """Outcome of each object, in the order of the request."""

    assistants: list[ImportOutcome]
    """Outcomes of assistants"""
    threads: list[ImportOutcome]
    """Outcomes of threads"""
    items: list[ImportOutcome]
    """Outcomes of items"""
    crons: list[ImportOutcome]
    """Outcomes of crons"""


class ServiceState(msgspec.Struct, frozen=True):
    """State of a service or a server, in sentences."""

    service: str
    """Name of the service"""
    well: bool
    """Whether it has no problem"""
    lines: list[str]
    """Problems and advice, the gravest first; then details"""
