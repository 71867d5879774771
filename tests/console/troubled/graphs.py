"""A graph whose node blocks its event loop, and one with settings of its own: what an operator mends, and what a builder tunes."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Blocking(TypedDict, total=False):
    until: str


async def block(state: Blocking) -> Blocking:
    """Hold the event loop until the test makes the file, as a blocking call in an async node does."""
    while not Path(state["until"]).exists():
        time.sleep(0.01)
    return {}


blocks = StateGraph(Blocking).add_node(block).add_edge(START, "block").add_edge("block", END).compile()


@dataclass
class Tuning:
    model: Literal["small", "large"]
    most_words: int
    tone: str = "plain"


class Answered(TypedDict, total=False):
    answer: str


def answer(state: Answered, runtime: Runtime[Tuning]) -> Answered:
    tuning = runtime.context
    return {"answer": f"{tuning.model}, {tuning.most_words} words, {tuning.tone}"}


tuned = (
    StateGraph(Answered, context_schema=Tuning)
    .add_node(answer)
    .add_edge(START, "answer")
    .add_edge("answer", END)
    .compile()
)
