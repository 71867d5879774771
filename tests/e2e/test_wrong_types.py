"""Members of the wrong type in requests for runs: refused by name wherever a run may be requested, and no run is made."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from langgraph_sdk.client import LangGraphClient
from langlog_schemas.ids import default_assistant_id

from tests.protocol.following import Thread
from tests.stack.server import LiveServer

NO_OBJECTS: list[Any] = [3, "x", True, [], ["x"], 0, "", False]
CONFIGS: list[tuple[Any, str]] = [
    *((value, "config") for value in NO_OBJECTS),
    *(({"configurable": value}, "configurable") for value in (*NO_OBJECTS, None)),
    ({"tags": "x"}, "tags"),
    ({"metadata": []}, "metadata"),
    ({"recursion_limit": "x"}, "recursion_limit"),
]
RUN = {"assistant_id": "echo", "input": {"text": "a"}}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"accept": "application/json, text/event-stream"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=90)) as opened:
        yield opened


async def test_run_start_refuses_a_config_of_the_wrong_type(
    server: LiveServer, client: LangGraphClient, session: aiohttp.ClientSession
) -> None:
    thread = Thread(session, server.url, (await client.threads.create())["thread_id"])
    for config, name in CONFIGS:
        answer = await thread.command("run.start", **RUN, config=config)
        assert (answer["type"], answer.get("error")) == ("error", "unknown_error"), config
        assert answer["message"].startswith("422: ") and f'["{name}"]' in answer["message"]
    assert await client.runs.list(thread.id) == []


@pytest.mark.parametrize("path", ["/threads/{t}/runs/wait", "/runs/stream", "/runs/batch", "/runs/crons"])
async def test_rest_refuses_a_config_of_the_wrong_type(
    server: LiveServer, client: LangGraphClient, session: aiohttp.ClientSession, path: str
) -> None:
    thread = (await client.threads.create())["thread_id"]
    for config, name in CONFIGS:
        body = {**RUN, "schedule": "0 0 1 1 *", "config": config}
        url = server.url + path.format(t=thread)
        async with session.post(url, json=[body] if path == "/runs/batch" else body) as answer:
            assert answer.status == 422, config
            assert f'["{name}"]' in (await answer.json())["detail"]


async def test_input_respond_refuses_members_of_the_wrong_type_and_leaves_the_question_open(
    server: LiveServer, client: LangGraphClient, session: aiohttp.ClientSession
) -> None:
    thread = Thread(session, server.url, str(uuid.uuid4()))
    output: Any = await client.runs.wait(thread.id, "asking", input={"messages": []}, if_not_exists="create")
    [asked] = output["__interrupt__"]
    given = {"namespace": [], "interrupt_id": asked["id"], "response": {"approved": True}}
    members = [("config", config, name) for config, name in CONFIGS]
    members += [("strict_resume", value, "strict_resume") for value in ("x", 1, [])]
    for member, value, name in members:
        answer = await thread.command("input.respond", **given, **{member: value})
        assert (answer["type"], answer.get("error")) == ("error", "unknown_error"), (member, value)
        assert answer["message"].startswith("422: ") and f'["{name}"]' in answer["message"]
    for responses in (3, "x", {"interrupt_id": asked["id"]}):
        answer = await thread.command("input.respond", **given, responses=responses)
        assert (answer["type"], answer.get("error")) == ("error", "invalid_argument"), responses
    assert len(await client.runs.list(thread.id)) == 1
    assert (await thread.command("input.respond", **given, config=None, strict_resume=None))["type"] == "success"


async def test_mcp_refuses_params_and_arguments_of_the_wrong_type(
    server: LiveServer, session: aiohttp.ClientSession
) -> None:
    for params in (*NO_OBJECTS, *({"name": "echo", "arguments": value} for value in NO_OBJECTS)):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with session.post(f"{server.url}/mcp", json=message) as answer:
            error = (await answer.json())["error"]
            assert error["code"] == -32602
            assert error["message"].endswith("must be an object"), params


@pytest.mark.parametrize("method", ["message/send", "SendMessage", "message/stream"])
async def test_a2a_refuses_params_and_options_of_the_wrong_type(
    server: LiveServer, session: aiohttp.ClientSession, method: str
) -> None:
    message = {"role": "user", "messageId": "m", "parts": [{"kind": "data", "data": {"text": "a"}}]}
    bad: list[tuple[Any, str]] = [
        *((value, "params must be an object") for value in NO_OBJECTS),
        *(({"message": message, "configuration": value}, "configuration must be an object") for value in NO_OBJECTS),
        *(
            (
                {"message": message, "configuration": {"historyLength": value}},
                "historyLength must be a whole number, at least 0",
            )
            for value in ("x", True, 1.5, [], -1)
        ),
        *(
            ({"message": message, "configuration": {name: value}}, f"{name} must be true or false")
            for name in ("blocking", "returnImmediately")
            for value in ("false", 0, [])
        ),
    ]
    for params, expected in bad:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with session.post(f"{server.url}/a2a/{default_assistant_id('echo')}", json=body) as answer:
            assert answer.content_type == "application/json", params
            assert (await answer.json())["error"] == {"code": -32602, "message": expected}, params
