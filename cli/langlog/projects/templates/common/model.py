"""The chat model: the one that CHAT_MODEL names (``openai:gpt-4.1-mini``, ``anthropic:claude-haiku-4-5``), or without it a script.

The script needs no key and no network, and always answers the same: good for a first run, and for tests.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

Script = Callable[[list[BaseMessage]], AIMessage]


def chat_model(script: Script) -> BaseChatModel:
    name = os.environ.get("CHAT_MODEL")
    if not name:
        return ScriptedModel(script=script)
    from langchain.chat_models import init_chat_model  # pip install langchain, and the provider's package

    return init_chat_model(name)


class ScriptedModel(BaseChatModel):
    """Streams the result of a function of the conversation, word by word."""

    script: Script

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
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self.script(messages)
        if answer.tool_calls:
            yield ChatGenerationChunk(message=AIMessageChunk(content=answer.content, tool_calls=answer.tool_calls))
            return
        for word in answer.text.split(" "):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
            if run_manager is not None:
                run_manager.on_llm_new_token(f"{word} ", chunk=chunk)
            yield chunk
