"""Messages of the streaming protocol, MCP and A2A (wire contract §9, §11)."""

from __future__ import annotations

from typing import Annotated, Literal

from langlog_schemas.json_types import Object
from msgspec import UNSET, Meta, Struct, UnsetType


class ProtocolCommand(Struct):
    """A command of the streaming protocol (wire contract §9.1). The server reads it leniently."""

    id: int
    """Number that the response repeats"""
    method: str
    """Name of the command, such as `run.start` or `input.respond`"""
    params: Object = {}
    """Parameters of the command"""


class EventStream(Struct):
    """Selection of a thread's events in the streaming protocol (wire contract §9.2)."""

    channels: Annotated[list[str], Meta(min_length=1)]
    """Channels: `values`, `updates`, `messages`, `tools`, `custom`, `lifecycle`, `input`, `tasks`, `checkpoints`, or `custom:<name>`"""
    namespaces: list[list[str]] | UnsetType = UNSET
    """Prefixes of namespaces; `child` matches `child:<task id>`. Absent means all"""
    depth: int | UnsetType = UNSET
    """Number of labels below a prefix that still match"""
    since: int | UnsetType = UNSET
    """Number of the event to continue after; absent replays from the start"""


class JsonRpc(Struct):
    """A JSON-RPC message of MCP or A2A. The server reads it leniently."""

    jsonrpc: Literal["2.0"]
    """Version of JSON-RPC"""
    method: str
    """Name of the method"""
    id: int | str | None = None
    """Id that the response repeats; a message without one gets no response"""
    params: Object = {}
    """Parameters of the method"""
