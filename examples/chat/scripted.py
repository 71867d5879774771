"""A chat model without a network: it answers from the conversation alone, word by word, always the same.

* "tell ADDRESS that TEXT" asks for the tool ``send_email``;
* after a tool's answer it reports that answer;
* everything else it repeats.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

ORDER = re.compile(r"tell (\S+@\S+) that (.+)", re.IGNORECASE | re.DOTALL)


class ScriptedChatModel(BaseChatModel):
    """Deterministic, streams one word at a time, calls one tool."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole: AIMessageChunk | None = None
        for chunk in answer(messages):
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        return ChatResult(generations=[ChatGeneration(message=whole)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in answer(messages):
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for message in answer(messages):
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                await run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk


def answer(messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
    """Yield the model's next message, chunk by chunk."""
    last = messages[-1]
    order = ORDER.search(last.text)
    if isinstance(last, ToolMessage):
        yield from words(last.text)
    elif order:
        arguments = {"to": order[1], "text": order[2].strip()}
        call = {"name": "send_email", "args": json.dumps(arguments), "id": f"call-{len(messages)}", "index": 0}
        yield from words("I will write that.")
        yield AIMessageChunk(content="", tool_call_chunks=[{**call, "type": "tool_call_chunk"}])
    else:
        yield from words(f'You said: {last.text}. Say "tell bob@example.org that lunch is at one" and I will.')


def words(text: str) -> Iterator[AIMessageChunk]:
    for index, word in enumerate(text.split(" ")):
        yield AIMessageChunk(content=word if index == 0 else f" {word}")
