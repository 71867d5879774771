"""MCP and A2A with custom authentication: what is another's is not there, by these doors either."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langlog_schemas.ids import default_assistant_id

from tests.stack.server import LiveServer

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.auth.json"
AGENT = f"/a2a/{default_assistant_id('echo')}"
CARD = f"/.well-known/agent-card.json?assistant_id={default_assistant_id('echo')}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(PROJECT, tmp_path_factory.mktemp("agents")).up() as live:
        yield live


@pytest.fixture
async def http(server: LiveServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as opened:
        yield opened


async def call(http: httpx.AsyncClient, who: str, path: str, method: str, **params: Any) -> Any:
    headers = {"authorization": f"Bearer {who}"}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return (await http.post(path, json=body, headers=headers)).json()


async def say(http: httpx.AsyncClient, who: str, text: str, **more: Any) -> Any:
    message = {
        "role": "user",
        "messageId": str(uuid.uuid4()),
        "parts": [{"kind": "data", "data": {"text": text}}],
        **more,
    }
    return await call(http, who, AGENT, "message/send", message=message)


async def test_nobody_gets_in_without_credentials(http: httpx.AsyncClient) -> None:
    answers = [await http.get(CARD), await http.get(AGENT), await http.post(AGENT), await http.post("/mcp")]
    assert [answer.status_code for answer in answers] == [401] * 4


async def test_a_task_is_there_for_its_owner_only(http: httpx.AsyncClient) -> None:
    task = (await say(http, "alice", "hello"))["result"]
    assert task["status"]["state"] == "completed"
    assert (await call(http, "alice", AGENT, "tasks/get", id=task["id"]))["result"]["id"] == task["id"]
    for method in ("tasks/get", "tasks/cancel"):
        assert (await call(http, "bob", AGENT, method, id=task["id"]))["error"]["code"] == -32001
    listed = {
        who: (await call(http, who, AGENT, "ListTasks", contextId=task["contextId"]))["result"]["tasks"]
        for who in ("alice", "bob")
    }
    assert [task["id"] for task in listed["alice"]] == [task["id"]]
    assert listed["bob"] == []


async def test_a_context_is_entered_by_its_owner_only(http: httpx.AsyncClient) -> None:
    task = (await say(http, "alice", "hello"))["result"]
    context = task["contextId"]
    refused = [await say(http, "bob", "mine", contextId=context), await say(http, "bob", "mine", taskId=task["id"])]
    assert [answer["error"]["code"] for answer in refused] == [-32001] * 2
    again = (await say(http, "alice", "again", contextId=context))["result"]
    runs = await http.get(f"/threads/{context}/runs", headers={"authorization": "Bearer alice"})
    assert [f"{context}:{run['run_id']}" for run in runs.json()] == [again["id"], task["id"]]


async def test_a_task_goes_on_in_its_own_context_only(http: httpx.AsyncClient) -> None:
    task = (await say(http, "alice", "hello"))["result"]
    elsewhere = await say(http, "alice", "again", contextId=str(uuid.uuid4()), taskId=task["id"])
    assert elsewhere["error"]["code"] == -32602
    again = (await say(http, "alice", "again", contextId=task["contextId"].upper(), taskId=task["id"]))["result"]
    assert again["contextId"] == task["contextId"]


async def test_a_tool_is_called_as_its_caller(http: httpx.AsyncClient) -> None:
    names = [tool["name"] for tool in (await call(http, "alice", "/mcp", "tools/list"))["result"]["tools"]]
    assert "echo" in names
    answer = await call(http, "alice", "/mcp", "tools/call", name="echo", arguments={"text": "hi"})
    assert "HI" in answer["result"]["content"][0]["text"]
