"""The server itself (wire contract §15)."""

from __future__ import annotations

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
