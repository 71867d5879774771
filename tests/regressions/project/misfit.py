"""Graphs with typed states whose first node writes its input, whether or not it fits."""

from dataclasses import dataclass, field
from typing import Any

from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class Inner(BaseModel):
    name: str = ""


class Counted(BaseModel):
    count: int = 0
    inner: Inner = Inner()
    write: dict[str, Any] = {}
    done: bool = False


@dataclass
class Shaped:
    count: int = 0
    write: dict[str, Any] = field(default_factory=dict)
    done: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.count, int):
            raise TypeError(f"count is a {type(self.count).__name__}")


def write(state: Any) -> Any:
    return state.write


def finish(state: Any) -> Any:
    return {"done": True}


def graph(schema: type) -> Any:
    building = StateGraph(schema).add_node("write", write).add_node("finish", finish)
    return building.add_edge(START, "write").add_edge("write", "finish").compile()


counted = graph(Counted)
shaped = graph(Shaped)
