"""Assistants as MCP tools and as A2A agents, driven by the official clients of both protocols."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError
from google.protobuf.json_format import MessageToDict, ParseDict
from langgraph_sdk.client import LangGraphClient
from langlog_schemas.ids import default_assistant_id
from mcp import Client as McpClient
from mcp import MCPError

from tests.stack.server import LiveServer

LIMIT_S = 90.0
"""Whatever else the machine does."""

# --- MCP -------------------------------------------------------------------------------------


def mcp(server: LiveServer) -> McpClient:
    """Connect an MCP client; not a fixture, because it must be entered and exited in one task."""
    return McpClient(f"{server.url}/mcp")


async def test_assistants_are_tools_and_a_message_list_is_asked_for_as_text(server: LiveServer) -> None:
    async with mcp(server) as tools:
        members = {tool.name: tool for tool in (await tools.list_tools()).tools}
        assert {"agent", "echo", "failing"} <= members.keys()
        assert members["agent"].input_schema["properties"]["messages"]["type"] == "string"
        assert members["echo"].description == "Tool based on the echo assistant"


async def test_a_call_is_a_run_and_gives_its_output(server: LiveServer) -> None:
    async with mcp(server) as tools:
        answer = await tools.call_tool("echo", {"text": "hi"})
        assert [part.text for part in answer.content] == ["{'text': 'hi', 'echoed': 'HI'}"]
        assert not answer.is_error


async def test_text_becomes_a_message_where_the_graph_takes_messages(server: LiveServer) -> None:
    async with mcp(server) as tools:
        answer = await tools.call_tool("agent", {"messages": "yo"})
        assert "You said: yo" in answer.content[0].text


async def test_a_failed_run_is_a_failed_call_that_names_the_error(server: LiveServer) -> None:
    async with mcp(server) as tools:
        answer = await tools.call_tool("failing", {"message": "m"})
        assert (answer.is_error, answer.content[0].text) == (True, "ValueError")


async def test_an_unknown_tool_is_an_error_of_the_protocol(server: LiveServer) -> None:
    async with mcp(server) as tools:
        with pytest.raises(MCPError, match="Unknown tool: nope"):
            await tools.call_tool("nope", {})


async def test_assistants_of_one_name_can_all_be_called(server: LiveServer, client: LangGraphClient) -> None:
    async with mcp(server) as tools:
        made = [await client.assistants.create("echo", name="twin") for _ in range(2)]
        try:
            names = [tool.name for tool in (await tools.list_tools()).tools if tool.title == "twin"]
            assert sorted(names) == ["twin", f"twin-{made[1]['assistant_id'][:8]}"]
            for name in names:
                assert not (await tools.call_tool(name, {"text": "x"})).is_error
        finally:
            for assistant in made:
                await client.assistants.delete(assistant["assistant_id"])


async def test_what_is_no_message_of_the_protocol_is_refused(server: LiveServer) -> None:
    url = f"{server.url}/mcp"
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        for content, message in (("{", "Invalid JSON"), ("[]", "Invalid message format.")):
            answer = await http.post(url, content=content)
            assert (answer.status_code, answer.json()) == (400, {"error": message})
        assert (await http.post(url, json={"id": 1, "method": "ping"})).status_code == 400
        assert (await http.post(url, json={}, headers={"accept": "text/html"})).status_code == 400
        response = {"jsonrpc": "2.0", "id": 7, "result": {}}
        assert (await http.post(url, json=response)).status_code == 202
        assert [(await http.get(url)).status_code, (await http.delete(url)).status_code] == [405, 404]
        asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "1999-01-01"}}
        assert (await http.post(url, json=asked)).json()["result"]["protocolVersion"] == "2025-11-25"
        unknown = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "zzz"})
        assert unknown.json()["error"] == {"code": -32601, "message": "Method not found: zzz"}


async def test_a_version_of_mcp_that_is_not_served_is_refused_and_initialize_agrees_on_one(server: LiveServer) -> None:
    """MCP 2025-11-25, transports: an unsupported version in the header is 400."""
    url = f"{server.url}/mcp"
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        for version in ("invalid", "2000-01-01", "2099-01-01"):
            header = {"mcp-protocol-version": version}
            refused = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=header)
            assert refused.status_code == 400
            assert refused.json()["error"] == (
                f"MCP-Protocol-Version '{version}' is not supported: send one of 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25"
            )
            asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": version}}
            agreed = await http.post(url, json=asked, headers=header)
            assert agreed.json()["result"]["protocolVersion"] == "2025-11-25"
        header = {"mcp-protocol-version": "2025-06-18"}
        served = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=header)
        assert served.json()["result"] == {}


# --- A2A -------------------------------------------------------------------------------------


class Agent:
    """The official client on one assistant."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def say(self, *parts: Part, task: Task | None = None, at_once: bool = False) -> list[StreamResponse]:
        message = Message(role=Role.ROLE_USER, message_id="m", parts=parts)
        if task is not None:
            message.task_id, message.context_id = task.id, task.context_id
        wanted = SendMessageRequest(message=message, configuration=SendMessageConfiguration(return_immediately=at_once))
        return [event async for event in self.client.send_message(wanted)]


async def agent_of(http: httpx.AsyncClient, server: LiveServer, graph: str, *, streaming: bool = False) -> Agent:
    path = f".well-known/agent-card.json?assistant_id={default_assistant_id(graph)}"
    card = await A2ACardResolver(http, server.url).get_agent_card(relative_card_path=path)
    assert card.name == graph
    return Agent(ClientFactory(ClientConfig(httpx_client=http, streaming=streaming)).create(card))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=LIMIT_S) as opened:
        yield opened


def data(value: dict[str, object]) -> Part:
    return ParseDict({"data": value}, Part())


async def test_a_message_is_a_task_with_history_and_artifact(http: httpx.AsyncClient, server: LiveServer) -> None:
    agent = await agent_of(http, server, "agent")
    [answer] = await agent.say(Part(text="add 1 2"))
    task = answer.task
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert task.artifacts[0].parts[0].text == "The result is 3."
    assert [message.role for message in task.history] == [Role.ROLE_USER, Role.ROLE_AGENT, Role.ROLE_AGENT]
    [result] = MessageToDict(task.history[1])["parts"][0]["data"]["tool_results"]
    assert (result["name"], result["content"]) == ("add", "3")
    assert {message.task_id for message in task.history} == {task.id}


async def test_a_context_goes_on_and_its_history_can_be_had_by_task(
    http: httpx.AsyncClient, server: LiveServer
) -> None:
    agent = await agent_of(http, server, "agent")
    first = (await agent.say(Part(text="one")))[0].task
    message = Message(role=Role.ROLE_USER, message_id="m2", context_id=first.context_id, parts=[Part(text="two")])
    [answer] = [event async for event in agent.client.send_message(SendMessageRequest(message=message))]
    second = answer.task
    assert second.context_id == first.context_id
    assert [m.task_id for m in second.history] == [first.id] * 2 + [second.id] * 2
    asked = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": second.id}}
    url = f"{server.url}/a2a/{default_assistant_id('agent')}"
    own = await http.post(url, json=asked, headers={"LangGraph-A2A-History-Scope": "task"})
    assert [m["parts"][0]["text"] for m in own.json()["result"]["history"]] == ["two", "You said: two"]
    listed = await agent.client.list_tasks(ListTasksRequest(context_id=first.context_id))
    assert [task.id for task in listed.tasks] == [second.id, first.id]
    page = await agent.client.list_tasks(ListTasksRequest(context_id=first.context_id, page_size=1))
    assert ([task.id for task in page.tasks], page.total_size, page.next_page_token) == ([second.id], 2, "1")


async def test_a_stream_shows_the_text_as_it_grows_then_the_artifact(
    http: httpx.AsyncClient, server: LiveServer
) -> None:
    events = await (await agent_of(http, server, "agent", streaming=True)).say(Part(text="hello"))
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[0] == "task"
    assert kinds[-2:] == ["artifact_update", "status_update"]
    said = [event.status_update.status.message.parts[0].text for event in events[1:-2]]
    assert said[0] == "You"
    assert said[-1] == "You said: hello"
    assert all(after.startswith(before) for before, after in itertools.pairwise(said))
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_graph_that_asks_needs_input_and_goes_on_with_the_answer(
    http: httpx.AsyncClient, server: LiveServer
) -> None:
    agent = await agent_of(http, server, "interrupting")
    task = (await agent.say(data({"draft": "m"})))[0].task
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert "approve?" in task.status.message.parts[0].text
    done = (await agent.say(Part(text="yes"), task=task))[0].task
    assert done.context_id == task.context_id
    assert done.status.state == TaskState.TASK_STATE_COMPLETED
    assert "'answer': 'yes'" in done.artifacts[0].parts[0].text


async def test_a_failing_graph_is_a_failed_task_that_says_why(http: httpx.AsyncClient, server: LiveServer) -> None:
    for streaming in (False, True):
        agent = await agent_of(http, server, "failing", streaming=streaming)
        last = (await agent.say(data({"message": "m"})))[-1]
        status = last.status_update.status if streaming else last.task.status
        assert status.state == TaskState.TASK_STATE_FAILED
        assert status.message.parts[0].text == "m"


async def test_a_task_in_flight_is_canceled_and_one_that_is_over_is_not(
    http: httpx.AsyncClient, server: LiveServer
) -> None:
    agent = await agent_of(http, server, "slow")
    task = (await agent.say(data({"seconds": 300}), at_once=True))[0].task
    assert task.status.state == TaskState.TASK_STATE_SUBMITTED
    async with asyncio.timeout(LIMIT_S):
        canceled = await agent.client.cancel_task(CancelTaskRequest(id=task.id))
    assert canceled.status.state == TaskState.TASK_STATE_CANCELED
    with pytest.raises(TaskNotCancelableError):
        await agent.client.cancel_task(CancelTaskRequest(id=task.id))


async def test_a_task_of_another_agent_is_not_there(http: httpx.AsyncClient, server: LiveServer) -> None:
    task = (await (await agent_of(http, server, "agent")).say(Part(text="x")))[0].task
    other = await agent_of(http, server, "echo")
    with pytest.raises(TaskNotFoundError):
        await other.client.get_task(GetTaskRequest(id=task.id))
    with pytest.raises(TaskNotFoundError):
        await other.client.get_task(GetTaskRequest(id="zzz"))


async def test_a_message_for_a_task_that_is_not_there_is_refused_and_begins_nothing(
    http: httpx.AsyncClient, server: LiveServer, client: LangGraphClient
) -> None:
    """A2A 1.0, §3.4.2."""
    url = f"{server.url}/a2a/{default_assistant_id('agent')}"
    task = (await (await agent_of(http, server, "agent")).say(Part(text="x")))[0].task
    of_other = (await (await agent_of(http, server, "echo")).say(data({"text": "x"})))[0].task
    thread_id = str(uuid.uuid4())
    named = [
        f"{thread_id}:{uuid.uuid4()}",
        thread_id,
        f"{task.context_id}:{uuid.uuid4()}",
        of_other.id,
        "zzz",
        "zzz:zzz",
    ]
    for method, id in itertools.product(("message/send", "message/stream", "SendMessage"), named):
        message = {"role": "user", "messageId": "m", "parts": [{"text": "go on"}], "taskId": id}
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}}
        answer = (await http.post(url, json=asked, headers={"accept": "application/json, text/event-stream"})).json()
        assert answer["error"] == {"code": -32001, "message": f"Task not found: {id}"}
    assert await client.threads.search(ids=[thread_id]) == []
    assert len(await client.runs.list(task.context_id)) == 1


async def test_a_version_of_a2a_that_is_not_served_is_refused(http: httpx.AsyncClient, server: LiveServer) -> None:
    """A2A 1.0, §3.6.2."""
    url = f"{server.url}/a2a/{default_assistant_id('agent')}"
    asked = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "zzz"}}

    async def code(version: str) -> int:
        answer = (await http.post(url, json=asked, headers={"a2a-version": version})).json()
        number: int = answer["error"]["code"]
        return number

    assert {await code(version) for version in ("", "0.3", "1.0", "1.0.2")} == {-32001}
    assert {await code(version) for version in ("99.0", "1", "x", "1.0x")} == {-32009}
