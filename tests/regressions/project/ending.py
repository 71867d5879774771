"""A graph that ends in the way that its input names: with exceptions and values that no encoder accepts unchanged."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated, Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from langgraph_sdk.runtime import ServerRuntime
from typing_extensions import TypedDict

SURROGATE = os.fsdecode(b"caf\xe9.txt")


def last(_: Any, new: Any) -> Any:
    return new


class State(TypedDict, total=False):
    how: str
    value: Annotated[Any, last]
    messages: Annotated[list[Any], add_messages]


class Unsayable(Exception):
    def __str__(self) -> str:
        raise SystemExit(4)

    __repr__ = __str__


class Numeric(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Own(BaseException):
    pass


class Opaque:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class Group(ExceptionGroup):
    @property
    def exceptions(self) -> Any:  # type: ignore[override]
        raise ValueError("not to be seen")


def nested_groups(depth: int) -> BaseException:
    result: BaseException = ValueError("innermost")
    for _ in range(depth):
        result = BaseExceptionGroup("outer", [result])
    return result


def recursing() -> None:
    recursing()


def cycle() -> list[Any]:
    collected: list[Any] = []
    collected += [collected, collected, {"again": collected}]
    return collected


def nested(depth: int) -> Any:
    result: Any = "x"
    for _ in range(depth):
        result = [result]
    return result


def doubled(times: int) -> Any:
    result: Any = "x"
    for _ in range(times):
        result = [result, result]
    return result


RAISED: dict[str, Any] = {
    "surrogate": lambda: RuntimeError(f"cannot parse {SURROGATE}"),
    "surrogate group": lambda: ExceptionGroup(SURROGATE, [ValueError(SURROGATE), TypeError()]),
    "surrogate class": lambda: type("Bad\ud800", (Exception,), {"__module__": 7})("text"),
    "surrogate argument": lambda: KeyError(SURROGATE),
    "note": lambda: _noted(ValueError("noted")),
    "nul": lambda: ValueError("a\x00b"),
    "unsayable": Unsayable,
    "numeric": Numeric,
    "huge": lambda: ValueError("x" * 30_000_000),
    "own": lambda: Own("own"),
    "keyboard": KeyboardInterrupt,
    "exit": lambda: SystemExit(SURROGATE),
    "generator": GeneratorExit,
    "iteration": lambda: StopIteration(SURROGATE),
    "async iteration": StopAsyncIteration,
    "cancelled": asyncio.CancelledError,
    "timeout": lambda: TimeoutError(SURROGATE),
    "groups": lambda: nested_groups(2000),
    "odd group": lambda: Group("odd", [ValueError()]),
    "opaque argument": lambda: ValueError(Opaque()),
}
VALUES: dict[str, Any] = {
    "surrogate": lambda: SURROGATE,
    "surrogate key": lambda: {SURROGATE: 1},
    "nul": lambda: {"a\x00": "b\x00"},
    "nan": lambda: [float("nan"), float("inf"), -float("inf")],
    "cycle": cycle,
    "nested": lambda: nested(400),
    "deep": lambda: nested(50_000),
    "doubled": lambda: doubled(40),
    "huge integer": lambda: 10**5000,
    "long integer": lambda: 2**70,
    "bytes": lambda: b"\xff\x00",
    "set": lambda: {1, 2},
    "object": object,
    "opaque": Opaque,
    "odd keys": lambda: {(1, 2): 1, None: 2, 1.5: 3},
    "exception": lambda: ValueError(SURROGATE),
}


def _noted(error: ValueError) -> ValueError:
    error.add_note(SURROGATE)
    error.__cause__ = error
    return error


def sync(state: State) -> Any:
    kind, _, what = state["how"].partition(":")
    match kind:
        case "raise":
            raise RAISED[what]()
        case "recurse":
            recursing()
        case "mute":
            sys.stdout.close()
            sys.stderr.close()
            raise ValueError("muted")
        case "value":
            return {"value": VALUES[what]()}
        case "stream":
            get_stream_writer()(VALUES[what]())
            get_stream_writer()({"name": VALUES[what]()})
        case "ask":
            interrupt(VALUES[what]())
        case "throw":
            raise ValueError(VALUES[what]())
        case "update":
            return Command(update={"value": VALUES[what]()})
        case "send":
            return Command(goto=Send("node", {"how": "return", "value": VALUES[what]()}))
        case "message":
            message = AIMessage([{"type": "part", "part": VALUES[what]()}], additional_kwargs={"more": VALUES[what]()})
            return {"messages": [message]}
        case "tool":
            return {"messages": [ToolMessage("done", tool_call_id="1", artifact=VALUES[what]())]}
        case "metadata":
            RunnableLambda(str).with_config(metadata={"value": VALUES[what]()}).invoke(1)
        case "put":
            get_store().put(("values",), "key", {"value": VALUES[what]()})
    return {"value": "done"}


async def asynchronous(state: State, config: RunnableConfig) -> Any:
    if state["how"] == "elsewhere":
        saver = config["configurable"]["__pregel_checkpointer"]
        elsewhere = {"configurable": {"thread_id": SURROGATE, "checkpoint_id": "1"}}
        await saver.aput_writes(elsewhere, [("value", 1)], "task")
    return sync(state)


def compiled(node: Any, name: str = "node") -> Any:
    builder = StateGraph(State)
    builder.add_node(name, node)
    builder.add_edge(START, name)
    builder.add_edge(name, END)
    return builder.compile()


threaded = compiled(sync)
looped = compiled(asynchronous)
misnamed = compiled(asynchronous, SURROGATE)


def misroute(state: State) -> str:
    sync(state)
    raise RuntimeError(SURROGATE)


builder = StateGraph(State)
builder.add_node("node", lambda state: {"value": 1})
builder.add_edge(START, "node")
builder.add_conditional_edges("node", misroute, ["node", END])
misrouted = builder.compile()


def misbuilt(runtime: ServerRuntime[Any]) -> Any:
    if runtime.execution_runtime is not None:
        raise Own(SURROGATE)
    return looped
