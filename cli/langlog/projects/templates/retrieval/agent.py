"""Answers questions from documents: the graph ``index`` puts them into the store, ``agent`` searches them by meaning."""

from typing import Any, TypedDict

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from model import chat_model

DOCUMENTS = ("documents",)
"""Namespace of the documents in the store."""
PASSAGES = 3
PROMPT = "Answer from these passages alone, and name the one you use. If none of them has the answer, say so.\n\n"


def script(messages: list[BaseMessage]) -> AIMessage:
    """Return the agent's answer without a model: the nearest passage."""
    passages = messages[0].text.removeprefix(PROMPT)
    return AIMessage(passages.split("\n\n")[0] or "I have no document about that.")


llm = chat_model(script)


class State(MessagesState):
    passages: list[dict[str, Any]]


async def retrieve(state: State, runtime: Runtime) -> dict[str, Any]:
    assert runtime.store is not None
    items = await runtime.store.asearch(DOCUMENTS, query=state["messages"][-1].text, limit=PASSAGES)
    return {"passages": [{"id": item.key, "text": item.value["text"], "score": item.score} for item in items]}


async def answer(state: State) -> dict[str, Any]:
    passages = "\n\n".join(f"{passage['id']}: {passage['text']}" for passage in state["passages"])
    return {"messages": [await llm.ainvoke([SystemMessage(PROMPT + passages), *state["messages"]])]}


builder = StateGraph(State)
builder.add_node("retrieve", retrieve)
builder.add_node("answer", answer)
builder.add_edge(START, "retrieve")
builder.add_edge("retrieve", "answer")
graph = builder.compile()


class Documents(TypedDict, total=False):
    documents: dict[str, str]
    """Name -> text."""
    indexed: int


async def store_documents(state: Documents, runtime: Runtime) -> Documents:
    assert runtime.store is not None
    for name, text in state["documents"].items():
        await runtime.store.aput(DOCUMENTS, name, {"text": text})
    return {"indexed": len(state["documents"])}


index = StateGraph(Documents).add_node("store", store_documents).add_edge(START, "store").compile()
