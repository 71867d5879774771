"""Responses of the protocols beside REST: MCP and A2A (wire contract §13, §14), and the streaming protocol (§9)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

Object = dict[str, Any]


class JsonRpcAnswer(Struct):
    """A JSON-RPC response: either `result` or `error`."""

    jsonrpc: Literal["2.0"]
    """Version of JSON-RPC"""
    id: int | str | None
    """Id of the request"""
    result: Any = UNSET
    """Result of the method"""
    error: Object | UnsetType = UNSET
    """`code` and `message`"""


class AgentCard(Struct):
    """The A2A card of an assistant: who it is and how to call it."""

    name: str
    """Name of the assistant"""
    description: str
    """Description of the assistant"""
    url: str
    """Address of its A2A endpoint"""
    capabilities: Object
    """What the endpoint supports"""
    skills: list[Object]
    """What the assistant can do, with the fields of its input"""
    version: str
    """Version of the server"""
    supportedInterfaces: list[Object]
    """Protocol versions and addresses"""
    defaultInputModes: list[str]
    """Media types of input"""
    defaultOutputModes: list[str]
    """Media types of output"""


class ProtocolAnswer(Struct):
    """Response to a command of the streaming protocol."""

    type: Literal["success", "error"]
    """`success` or `error`"""
    id: int | None
    """Id of the command"""
    result: Object | UnsetType = UNSET
    """Result of a successful command"""
    meta: Object | UnsetType = UNSET
    """`applied_through_seq`: number of the last event that the command takes into account"""
    error: str | UnsetType = UNSET
    """Code of the error"""
    message: str | UnsetType = UNSET
    """Text of the error"""
