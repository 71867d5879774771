"""``ListTasks`` of A2A reads what its answer shows: a page of tasks, each conversation once, and no other values of the state."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langlog_schemas.ids import default_assistant_id

from tests.gateway.conftest import Attempt, Stack

URL = f"/a2a/{default_assistant_id('echo')}"
BULK = "bulk" * 25_000
TASKS, PAGE = 12, 5


class Reading:
    """Values that the gateway reads of Postgres, statement by statement."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[list[str]] = []
        reads = stack.gateway._core.reads
        rows_as_stored = reads.rows_as_stored

        async def recording(sql: str, *args: Any) -> list[Any]:
            rows = await rows_as_stored(sql, *args)
            self.statements.append([str(value) for row in rows for value in dict(row).values()])
            return rows

        monkeypatch.setattr(reads, "rows_as_stored", recording)

    def values_with(self, text: str) -> int:
        """Number of values read that hold the text."""
        return sum(text in value for rows in self.statements for value in rows)


async def call(stack: Stack, method: str, **params: Any) -> Any:
    status, answer = await stack.call("POST", URL, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert status == 200
    return answer["result"]


async def bulky(attempt: Attempt) -> None:
    """A conversation of two messages, beside values that tasks do not show."""
    await attempt.started()
    human = {"type": "human", "id": "h", "content": "conversation"}
    ai = {"type": "ai", "id": "a", "content": "answer"}
    messages = [human] if attempt.kwargs["input"].get("silent") else [human, ai]
    await attempt.finish({"messages": messages, "bulk": BULK, **attempt.kwargs["input"]})


async def say(stack: Stack, context: str, **data: Any) -> Any:
    parts = [{"kind": "data", "data": {"text": "a", **data}}]
    return await call(stack, "SendMessage", message={"role": "user", "parts": parts, "contextId": context})


async def test_a_page_reads_each_conversation_once_and_nothing_else_of_the_state(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.play = bulky
    contexts = [str(uuid.uuid4()) for _ in range(3)]
    for n in range(TASKS):
        await say(stack, contexts[n % 3])
    reading = Reading(stack, monkeypatch)
    page = await call(stack, "ListTasks", pageSize=PAGE)
    assert (page["totalSize"], page["pageSize"], page["nextPageToken"]) == (TASKS, PAGE, str(PAGE))
    assert [task["contextId"] for task in page["tasks"]] == [contexts[(TASKS - 1 - n) % 3] for n in range(PAGE)]
    for task in page["tasks"]:
        assert task["artifacts"] == []
        assert [(m["role"], m["parts"][0]["text"]) for m in task["history"]] == [
            ("ROLE_USER", "conversation"),
            ("ROLE_AGENT", "answer"),
        ]
    assert (reading.values_with("conversation"), reading.values_with(BULK)) == (len(contexts), 0)
    statements = len(reading.statements)
    await call(stack, "ListTasks", pageSize=1)
    assert len(reading.statements) == 2 * statements, "the number of statements does not grow with the page"


async def test_a_list_without_history_reads_no_conversation(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.play = bulky
    await say(stack, str(uuid.uuid4()))
    reading = Reading(stack, monkeypatch)
    [task] = (await call(stack, "ListTasks", historyLength=0))["tasks"]
    assert task["history"] == []
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert (reading.values_with("conversation"), reading.values_with(BULK)) == (0, 0)


async def test_an_artifact_is_the_models_answer_or_the_whole_values_where_it_gave_none(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.play = bulky
    spoken, silent = str(uuid.uuid4()), str(uuid.uuid4())
    await say(stack, silent, silent=True)
    await say(stack, spoken)
    reading = Reading(stack, monkeypatch)
    tasks = (await call(stack, "ListTasks", includeArtifacts=True))["tasks"]
    texts = {task["contextId"]: task["artifacts"][0]["parts"][0]["text"] for task in tasks}
    assert texts[spoken] == "answer"
    assert BULK in texts[silent]
    assert "'silent': True" in texts[silent]
    assert reading.values_with(BULK) == 1


@pytest.mark.parametrize("url", [URL, "/mcp"])
@pytest.mark.parametrize("id", [{}, {"a": 1}, [1], True])
async def test_a_request_whose_id_is_no_text_or_number_is_invalid(stack: Stack, url: str, id: object) -> None:
    message = {"jsonrpc": "2.0", "id": id, "method": "ListTasks", "params": {}}
    status, answer = await stack.call("POST", url, message, headers={"accept": "application/json"})
    assert (status, answer["id"], answer["error"]["code"]) == (200, None, -32600)
