"""Responses of the protocols beside REST: MCP and A2A (wire contract §13, §14), and the streaming protocol (§9)."""

from __future__ import annotations

from typing import Any, Literal

from langlog_schemas.json_types import Object
from msgspec import UNSET, Struct, UnsetType


class RpcFailure(Struct):
    """Error of a JSON-RPC request."""

    code: int
    """Code of the error"""
    message: str
    """Text of the error"""


class JsonRpcAnswer(Struct):
    """A JSON-RPC response: either `result` or `error`."""

    jsonrpc: Literal["2.0"]
    """Version of JSON-RPC"""
    id: int | str | float | None
    """Id of the request"""
    result: Any = UNSET
    """Result of the method"""
    error: RpcFailure | UnsetType = UNSET
    """Error of the request"""


class AgentInterface(Struct, rename="camel"):
    """An address of an agent."""

    url: str
    """Address of its A2A endpoint"""
    protocol_binding: str
    """`JSONRPC`"""
    protocol_version: str
    """Version of the protocol"""


class AgentCapabilities(Struct, rename="camel"):
    """Features that an A2A endpoint supports."""

    streaming: bool
    """Streaming methods"""
    push_notifications: bool
    """Push notifications"""
    state_transition_history: bool
    """History of the states of a task"""
    extensions: list[Object]
    """Extensions of the protocol"""


class AgentSkill(Struct, rename="camel"):
    """A skill of an assistant."""

    id: str
    """Id of the skill"""
    name: str
    """Name of the skill"""
    description: str
    """Description of the assistant"""
    tags: list[str]
    """Words for searches"""
    examples: list[str]
    """Examples of input; empty"""
    input_modes: list[str]
    """Media types of input"""
    output_modes: list[str]
    """Media types of output"""
    metadata: Object
    """`inputSchema`: members of the graph's input, and whether it accepts messages"""


class AgentCard(Struct, rename="camel"):
    """The A2A card of an assistant: its identity and how to call it."""

    name: str
    """Name of the assistant"""
    description: str
    """Description of the assistant"""
    url: str
    """Address of its A2A endpoint"""
    supported_interfaces: list[AgentInterface]
    """Protocol versions and addresses"""
    capabilities: AgentCapabilities
    """Features that the endpoint supports"""
    default_input_modes: list[str]
    """Media types of input"""
    default_output_modes: list[str]
    """Media types of output"""
    skills: list[AgentSkill]
    """Skills of the assistant"""
    version: str
    """Version of the server"""


class AppliedThrough(Struct):
    """Progress of a command."""

    applied_through_seq: int
    """Number of the last event that the command takes into account; 0 over HTTP"""


class ProtocolAnswer(Struct):
    """Response to a command of the streaming protocol: `result` and `meta`, or `error` and `message`."""

    type: Literal["success", "error"]
    """`success` or `error`"""
    id: int | None
    """Id of the command; null if it had none"""
    result: Object | UnsetType = UNSET
    """Result of a successful command"""
    meta: AppliedThrough | UnsetType = UNSET
    """Progress of the command"""
    error: str | UnsetType = UNSET
    """Code of the error"""
    message: str | UnsetType = UNSET
    """Text of the error"""
