"""The graph behind a page: a tool behind an approval, a subgraph, and an answer long enough to be cut off."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

PAUSE_S = 0.03
"""Between two numbers of a count: a page has time to press a button."""


class Scripted(BaseChatModel):
    """Answers by the last message: ``weather in X`` calls the tool, ``count N`` counts slowly, others are repeated."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=str(messages[-1].text)))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        last = messages[-1]
        text = str(last.text)
        if isinstance(last, HumanMessage) and text.startswith("weather in "):
            args = json.dumps({"place": text.removeprefix("weather in ")})
            call = {"name": "weather", "args": args, "id": f"call-{len(messages)}", "index": 0}
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))
            return
        words = (
            [str(n) for n in range(int(text.split()[1]))] if text.startswith("count ") else f"You said: {text}".split()
        )
        for at, word in enumerate(words):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word if at == 0 else f" {word}"))
            if text.startswith("count "):
                await asyncio.sleep(PAUSE_S)


model = Scripted()


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


def look_up(state: MessagesState) -> dict[str, Any]:
    asked = state["messages"][-1]
    assert isinstance(asked, AIMessage)
    call = asked.tool_calls[0]
    allowed = interrupt({"question": f"look up {call['args']['place']}?"})
    content = f"sunny in {call['args']['place']}" if allowed == "yes" else "not allowed"
    return {"messages": [ToolMessage(content, tool_call_id=call["id"], name="weather")]}


async def read(state: MessagesState) -> dict[str, Any]:
    topic = str(state["messages"][-1].text)
    return {"messages": [await model.ainvoke([HumanMessage(f"I read about {topic}")])]}


shelf = StateGraph(MessagesState).add_node("read", read).add_edge(START, "read").add_edge("read", END)
library = StateGraph(MessagesState).add_node("shelf", shelf.compile()).add_edge(START, "shelf").add_edge("shelf", END)


def route(state: MessagesState) -> str:
    text = str(state["messages"][-1].text)
    return "library" if text.startswith("research ") else "answer"


def after_answer(state: MessagesState) -> str:
    last = state["messages"][-1]
    return "look_up" if isinstance(last, AIMessage) and last.tool_calls else END


graph = (
    StateGraph(MessagesState)
    .add_node("answer", answer)
    .add_node("look_up", look_up)
    .add_node("library", library.compile())
    .add_conditional_edges(START, route, ["library", "answer"])
    .add_conditional_edges("answer", after_answer, ["look_up", END])
    .add_edge("look_up", "answer")
    .add_edge("library", END)
    .compile()
)
