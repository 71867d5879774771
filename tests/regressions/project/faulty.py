"""Faults of a project's own code, and values that are not for everybody's eyes."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime
from pydantic import SecretBytes, SecretStr
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    how: str
    out: Any
    key: SecretStr
    raw: SecretBytes


class OwnError(Exception):
    """An exception of a file that is imported by its path."""


def node(state: State) -> State:
    if state["how"] == "own":
        raise OwnError("the text of my own error")
    return {"out": "ok"}


def put(state: State) -> State:
    return {"key": SecretStr("hush-1"), "raw": SecretBytes(b"hush-2"), "out": {"k": SecretStr("hush-3")}}


def pause(state: State) -> State:
    interrupt({"key": SecretStr("hush-4")})
    return {}


def use(state: State) -> State:
    return {"out": [type(state["key"]).__name__, type(state["raw"]).__name__, type(state["out"]["k"]).__name__]}


def fileless(runtime: ServerRuntime) -> Any:
    """A factory that opens a file which is not there, except for runs."""
    if runtime.execution_runtime is None:
        open("prompts/system.txt").close()
    return faulty


faulty = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
_secret = StateGraph(State).add_node("put", put).add_node("pause", pause).add_node("use", use)
secretive = _secret.add_edge(START, "put").add_edge("put", "pause").add_edge("pause", "use").compile()
