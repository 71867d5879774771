"""A chat model without a network that follows its user's commands, so that tests drive agents by messages.

The last human message is a list of commands, one a line, each a tool's name and its arguments as JSON: each is called in its turn, all
on one line (between ``&&``) at once. After the last one it answers ``done:`` and the tools' results. Any other text
is repeated.
"""

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

PROMPT_CHARACTERS = 500
"""A lone message of more than this is a middleware's prompt for a summary."""


class Obedient(BaseChatModel):
    tools: list[str] = []

    @property
    def _llm_type(self) -> str:
        return "obedient"

    def bind_tools(self, tools: Any, **_: Any) -> "Obedient":
        names = [tool["name"] if isinstance(tool, dict) else tool.name for tool in tools]
        return Obedient(tools=names)

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        if len(messages) == 1 and len(str(messages[0].text)) > PROMPT_CHARACTERS:
            return AIMessage("the summary")
        messages = [m for m in messages if "deepagents_notification" not in m.additional_kwargs]
        since = max((n for n, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
        lines = [line for line in str(messages[since].text).splitlines() if line.strip()]
        turn = sum(isinstance(m, AIMessage) and bool(m.tool_calls) for m in messages[since:])
        results = [str(m.text) for m in messages[since:] if isinstance(m, ToolMessage)]
        if turn < len(lines):
            calls = [self._call(part.strip(), turn, n, results) for n, part in enumerate(lines[turn].split("&&"))]
            if all(calls):
                return AIMessage("", tool_calls=calls)
        if results:
            return AIMessage(f"done: {' | '.join(results)}")
        return AIMessage(f"You said: {lines[-1] if lines else ''}")

    def _call(self, text: str, turn: int, number: int, results: list[str]) -> dict[str, Any] | None:
        name, _, arguments = text.partition(" ")
        if name not in self.tools:
            return None
        for n, result in enumerate(results):
            arguments = arguments.replace(f"$task{n}", result.rpartition("task_id: ")[2])
        return {"name": name, "args": json.loads(arguments or "{}"), "id": f"call-{turn}-{number}", "type": "tool_call"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages)
        for n, call in enumerate(answer.tool_calls):  # a name first, then its arguments, as providers have it
            for part in (
                {"name": call["name"], "args": "", "id": call["id"]},
                {"name": None, "args": json.dumps(call["args"]), "id": None},
            ):
                chunk = {**part, "index": n, "type": "tool_call_chunk"}
                yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[chunk]))
        words = str(answer.text).split(" ")
        for n, word in enumerate(words if answer.text else []):
            yield ChatGenerationChunk(message=AIMessageChunk(word if n == 0 else f" {word}"))
