"""A graph whose runs are traced, and one that continues its caller's trace by itself, as in LangSmith's documentation."""

import contextlib
from typing import TypedDict

import langsmith
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    text: str
    seen: dict


@langsmith.traceable(name="own function")
async def shout(text: str) -> str:
    return text.upper()


async def think(state: State, config) -> State:
    if state.get("text") == "break":
        raise ValueError("thinking failed")
    model = GenericFakeChatModel(messages=iter([AIMessage("thought")]))
    answer = await model.ainvoke(state.get("text", ""), config)
    names = ("langsmith-trace", "langsmith-project", "langsmith-metadata", "langsmith-tags", "x-tenant")
    seen = {name: config["configurable"][name] for name in names if name in config["configurable"]}
    return {"text": await shout(answer.text), "seen": seen}


builder = StateGraph(State)
builder.add_node("think", think)
builder.add_edge(START, "think")
builder.add_edge("think", END)
graph = builder.compile()


@contextlib.asynccontextmanager
async def opted_in(config):
    configurable = config.get("configurable", {})
    with langsmith.tracing_context(
        parent=configurable.get("langsmith-trace"),
        project_name=configurable.get("langsmith-project"),
        metadata=configurable.get("langsmith-metadata"),
        tags=configurable.get("langsmith-tags"),
    ):
        yield graph
