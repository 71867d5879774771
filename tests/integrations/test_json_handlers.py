"""Values that a project's JSON handlers seal are in clear only in responses and in graphs; values that they leave in clear
can be searched."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec
import pytest
from aiohttp import web
from langgraph_sdk import Encryption, get_client
from langgraph_sdk.client import LangGraphClient
from langlog_backbone.project.json_handlers import MARK, About, HandlerFault, JsonHandlers
from langlog_schemas.ids import default_assistant_id

from tests.erasure.test_stores import files_with, run_verify, stores_of
from tests.stack.kafka_broker import KafkaBroker
from tests.stack.server import SURROUNDINGS, LiveServer, kafka_env

PROJECT = Path(__file__).parent / "sealed_json" / "langgraph.json"
SECRET = "MARKER-THAT-IS-SEALED"
ABOUT = About('{"tenant":"t"}', "thread", "values")


@pytest.fixture
async def kafka_folder(
    log_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[KafkaBroker | None]:
    if log_kind == "sqlite":
        yield None
        return
    broker: KafkaBroker = request.getfixturevalue("own_kafka")
    await broker.start()
    yield broker


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[Any]]]:
    """An address for webhooks, and what came there."""
    came: asyncio.Queue[Any] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        came.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/", came  # type: ignore[attr-defined]
    await runner.cleanup()


async def converse(client: LangGraphClient, webhook: str) -> str:
    """Create a thread with the secret in every value that a client can send; return the responses that have it in clear."""
    thread = await client.threads.create(metadata={"name": SECRET, "color": "blue"})
    thread_id = thread["thread_id"]
    assert thread["metadata"]["name"] == SECRET
    stream = client.runs.stream(
        thread_id,
        "asks",
        input={"text": SECRET},
        metadata={"note": SECRET},
        context={"tone": SECRET},
        stream_mode=["values", "updates"],
        stream_resumable=True,
    )
    parts = [part async for part in stream]
    assert any(SECRET in str(part.data) for part in parts)
    assert not any(MARK in str(part.data) for part in parts)
    (run,) = await client.runs.list(thread_id)
    joined = [part async for part in client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1")]
    assert any(SECRET in str(part.data) for part in joined)
    assert run["metadata"]["note"] == SECRET
    assert run["kwargs"]["input"] == {"text": SECRET}  # type: ignore[typeddict-item]
    asked = await client.threads.get(thread_id)
    (interrupts,) = asked["interrupts"].values()
    assert interrupts[0]["value"] == f"what of {SECRET}?"
    done: Any = await client.runs.wait(
        thread_id,
        "asks",
        command={"resume": {interrupts[0]["id"]: SECRET}},
        metadata={"note": SECRET},
        context={"tone": SECRET},
        webhook=webhook,
    )
    assert done["answer"] == f"{SECRET} {SECRET} {SECRET}"
    await client.threads.update(thread_id, metadata={"alias": SECRET})
    await client.threads.update_state(thread_id, {"text": f"more {SECRET}"})
    return thread_id


async def things(client: LangGraphClient) -> None:
    """Assistants, crons and the store."""
    assistant = await client.assistants.create(
        "asks", context={"tone": SECRET}, metadata={"name": SECRET, "color": "red"}
    )
    await client.assistants.update(assistant["assistant_id"], metadata={"alias": SECRET})
    (results,) = await client.assistants.search(metadata={"color": "red"})
    assert results["metadata"] == {"name": SECRET, "color": "red", "alias": SECRET}
    assert results["context"] == {"tone": SECRET}
    await client.store.put_item(["people"], "jane", {"text": SECRET, "color": "green"})
    item: Any = await client.store.get_item(["people"], "jane")
    assert item["value"] == {"text": SECRET, "color": "green"}
    items = await client.store.search_items(["people"], filter={"color": "green"})
    assert [one["value"]["text"] for one in items["items"]] == [SECRET]
    await client.crons.create(
        assistant["assistant_id"],
        schedule="* * * * * *",
        input={"text": SECRET},
        metadata={"note": SECRET, "color": "black"},
        on_run_completed="keep",
    )
    (cron,) = await client.crons.search(metadata={"color": "black"})
    assert cron["payload"]["input"] == {"text": SECRET}
    assert "langgraph_encryption_context" not in cron["payload"]
    async with asyncio.timeout(90):
        while not (made := await client.threads.search(metadata={"color": "black"}, status="interrupted")):
            await asyncio.sleep(0.2)  # of a cron's runs nothing tells
    assert f"what of {SECRET}?" in str(made[0]["interrupts"])
    await client.crons.delete(cron["cron_id"])


async def other_ways(url: str, thread_id: str) -> None:
    """The streaming protocol, MCP and A2A."""
    async with aiohttp.ClientSession(url, headers={"authorization": "ann"}) as http:
        body: Any = {"channels": ["values", "input", "lifecycle"], "since": 0}
        async with http.post(f"/threads/{thread_id}/stream/events", json=body) as answer:
            assert answer.status == 200, await answer.text()
            received = b""
            while b"input.requested" not in received or b'"completed"' not in received:
                received += await asyncio.wait_for(answer.content.readany(), 30)
        assert SECRET.encode() in received and MARK.encode() not in received
        call = {"name": "asks", "arguments": {"text": SECRET}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        async with http.post("/mcp/", json=body, headers={"accept": "application/json, text/event-stream"}) as answer:
            text = await answer.text()
        assert SECRET in text and MARK not in text, text
        asked = await a2a(http, "SendMessage", message=message(data={"text": SECRET}))
        assert f"what of {SECRET}?" in json.dumps(asked)
        await a2a(http, "SendMessage", message=message(text="yes", of=asked["task"]["id"]))
        listed = (await a2a(http, "ListTasks", includeArtifacts=True, contextId=asked["task"]["contextId"]))["tasks"]
        async with http.delete(f"/threads/{asked['task']['contextId']}") as answer:
            assert answer.status == 204
        assert len(listed) == 2
        assert all(f"'text': '{SECRET}'" in task["artifacts"][0]["parts"][0]["text"] for task in listed)


async def copied_while_it_waits(client: LangGraphClient, url: str) -> None:
    """A copy and a fork of a thread that waits: their question and values are stored as the thread's are."""
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "asks", input={"text": SECRET})
    async with (
        aiohttp.ClientSession(url, headers={"authorization": "ann"}) as http,
        http.post(f"/threads/{thread_id}/copy") as copied,
        http.post(f"/threads/{thread_id}/fork", json={}) as forked,
    ):
        for answer in (copied, forked):
            twin = await client.threads.get((await answer.json())["thread_id"])
            assert twin["status"] == "interrupted"
            assert f"what of {SECRET}?" in str(twin["interrupts"])
            assert twin["values"]["text"] == SECRET  # type: ignore[call-overload]


def message(of: str | None = None, **part: Any) -> dict[str, Any]:
    """Return a message of A2A with one part. ``of``: the task that it answers."""
    return {"role": "user", "messageId": "m", "parts": [part], **({} if of is None else {"taskId": of})}


async def a2a(http: aiohttp.ClientSession, method: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with http.post(f"/a2a/{default_assistant_id('asks')}", json=body) as answer:
        text = await answer.text()
    assert MARK not in text
    return json.loads(text)["result"]


@pytest.mark.timeout(400)
async def test_what_json_handlers_seal_is_in_clear_nowhere(
    kafka_folder: KafkaBroker | None, tmp_path: Path, receiver: tuple[str, asyncio.Queue[Any]]
) -> None:
    broker, (address, came) = kafka_folder, receiver
    env = {
        "LANGLOG_ENCRYPTION": "on",
        "LANGGRAPH_WEBHOOKS": json.dumps({"url": {"disable_loopback": False, "require_https": False}}),
    }
    if broker is not None:
        env = {**kafka_env(broker.bootstrap), **env}
    live = LiveServer(PROJECT, tmp_path, env)
    with live.up():
        log_files = [tmp_path / "kafka"] if broker is not None else list(live.data.glob("log.sqlite*"))
        async with (
            get_client(url=live.url, headers={"authorization": "ann"}) as client,
            get_client(url=live.url, headers={"authorization": "bob"}) as other,
            stores_of(live, live.data) as stores,
        ):
            thread_id = await converse(client, address)
            await things(client)
            delivered = await asyncio.wait_for(came.get(), 60)
            assert delivered["values"]["answer"] == f"{SECRET} {SECRET} {SECRET}"
            await other_ways(live.url, thread_id)
            await copied_while_it_waits(client, live.url)
            assert await stores.rows_with(SECRET) == []
            assert await stores.keys_with(SECRET) == []

            (results,) = await client.threads.search(metadata={"color": "blue"})
            assert results["thread_id"] == thread_id
            assert (results["metadata"]["name"], results["metadata"]["alias"]) == (SECRET, SECRET)
            assert results["values"]["text"] == f"more {SECRET}"  # type: ignore[call-overload]
            assert await client.threads.search(metadata={"name": SECRET}) == []
            assert [t["thread_id"] for t in await client.threads.search(values={"color": "red"})] == [thread_id]
            assert await other.threads.search(metadata={"color": "blue"}) == []
            copied: Any = await client.threads.copy(thread_id)  # type: ignore[func-returns-value]
            state = await client.threads.get_state(copied["thread_id"])
            assert state["values"]["text"] == f"more {SECRET}"  # type: ignore[call-overload]
            history = await client.threads.get_history(thread_id)
            assert SECRET in str(history[0]["metadata"]) + str(history[1]["metadata"])

            async with get_client(url=live.url, headers={"authorization": "careless"}) as careless:
                with pytest.raises(httpx.HTTPStatusError, match="has sealed 'owner' in the metadata"):
                    await careless.threads.create(metadata={"a": 1})
            with pytest.raises(httpx.HTTPStatusError, match="500"):
                await client.threads.create(metadata={"unkept": 1})
            looks_sealed = {MARK: ["{}", "a", "b"]}
            odd = await client.threads.create(metadata={"color": looks_sealed, "x": {"color": looks_sealed}})
            again = await client.threads.get(odd["thread_id"])
            assert again["metadata"]["color"] == looks_sealed
            assert again["metadata"]["x"] == {"color": looks_sealed}
            assert await stores.rows_with(SECRET) == []
            assert await run_verify(live, env) == 0
            (first,) = [run for run in await client.runs.list(thread_id) if run["kwargs"]["input"]]  # type: ignore[typeddict-item]
            assert await replayed(live, env, first["run_id"]) == 0
    assert files_with(SECRET, log_files) == []


async def replayed(live: LiveServer, env: dict[str, str], run_id: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "langlog", "replay", run_id, "--config", str(PROJECT), "--data-dir", str(live.data)),
        env={**SURROUNDINGS, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    print(out.decode())
    return process.returncode or 0


# --- the handlers by themselves ---------------------------------------------------------------


def handlers(encrypt: Any = None) -> JsonHandlers:
    encryption = Encryption()

    @encryption.encrypt.json
    async def seal(ctx: Any, data: dict[str, Any]) -> dict[str, Any]:
        if encrypt is not None:
            return encrypt(data)  # type: ignore[no-any-return]
        return {
            k: v if k in ("clear", "nested", "list") else f"{ctx.metadata['tenant']}:{json.dumps(v)}"
            for k, v in data.items()
        }

    @encryption.decrypt.json
    async def open_(ctx: Any, data: dict[str, Any]) -> dict[str, Any]:
        return {k: json.loads(v.removeprefix(ctx.metadata["tenant"] + ":")) for k, v in data.items()}

    return JsonHandlers(encryption)


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "text",
        ["a", {"secret": 1}],
        {"secret": {"a": [1]}, "clear": {"secret": 2}, "nested": [{"secret": 3, "clear": 4}]},
        {MARK: ["{}", "a", "b"]},
        {"clear": {MARK: ["{}", "a", "b"]}, "list": [{MARK: [{MARK: [{}]}]}]},
        [{"secret": 1}, {"secret": 2}],
    ],
)
async def test_what_is_sealed_comes_back_whatever_it_is(value: Any) -> None:
    both = handlers()
    sealed = msgspec.json.encode(await both.seal(value, ABOUT))
    assert await both.open(msgspec.json.decode(sealed)) == value
    assert await both.open_json(sealed) == msgspec.json.encode(value)


async def test_merges_by_key_keep_apart_what_two_tenants_have_sealed() -> None:
    both = handlers()
    first = await both.seal({"a": 1, "b": 2, "clear": 3}, About('{"tenant":"one"}', "thread", "metadata"))
    second = await both.seal({"b": 4}, About('{"tenant":"two"}', "thread", "metadata"))
    assert first["clear"] == 3
    assert await both.open({**first, **second}) == {"a": 1, "b": 4, "clear": 3}


async def test_a_handler_that_changes_keys_is_named_with_them() -> None:
    with pytest.raises(HandlerFault, match=r"must keep the keys of what it gets.* 'a', 'b'"):
        await handlers(lambda data: {"b": 1}).seal({"a": 1}, ABOUT)
    with pytest.raises(HandlerFault, match=r"encrypt.json gave str, not a dict"):
        await handlers(lambda data: "x").seal({"a": 1}, ABOUT)


async def test_a_deep_document_is_sealed_without_recursion() -> None:
    value: Any = {"secret": 1}
    for _ in range(400):
        value = {"clear": value}
    both = handlers()
    assert await both.open(await both.seal(value, ABOUT)) == value
