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
    """What releasing a parked key did."""

    key: str
    """Key of the records"""
    handled: int
    """Records that were handled"""


class HeldThread(Struct):
    """A thread that is here."""

    updated_at: str
    """When it was last changed"""
    runs: int
    """Runs that it has here"""
    checkpoints: list[str]
    """Ids of its checkpoints, oldest first"""


class HeldAssistant(Struct):
    """An assistant that is here."""

    versions: list[int]
    """Its versions"""
    latest: int
    """The latest of them"""


class HeldCron(Struct):
    """A cron that is here."""

    updated_at: str
    """When it was last changed"""
    enabled: bool
    """Whether it makes runs"""


class Held(Struct):
    """What this server has of what was asked for."""

    graphs: list[str]
    """Graphs of this server"""
    threads: dict[str, HeldThread]
    """Threads by id"""
    assistants: dict[str, HeldAssistant]
    """Assistants by id"""
    crons: dict[str, HeldCron]
    """Crons by id"""


class ImportOutcome(Struct):
    """What became of one object."""

    outcome: Literal["imported", "unchanged", "refused"]
    """`unchanged`: all of it was here already. `refused`: nothing of this request was done to it"""
    detail: str | None = None
    """Why it was refused"""
    notes: list[str] = []
    """What could not be carried over, in sentences"""


class ImportOutcomes(Struct):
    """What became of each object, in the order of the request."""

    assistants: list[ImportOutcome]
    """Of assistants"""
    threads: list[ImportOutcome]
    """Of threads"""
    items: list[ImportOutcome]
    """Of items"""
    crons: list[ImportOutcome]
    """Of crons"""
