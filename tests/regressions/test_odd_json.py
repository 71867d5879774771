"""JSON that some reader does not accept: 422 at every entry, nothing is appended, and the thread stays usable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from langgraph_sdk.client import LangGraphClient

from .conftest import Server
from .test_nul import RUN_PATHS

CONFIGS: list[dict[str, Any]] = [
    {"config": {"configurable": {"checkpoint_id": 5}}},
    {"config": {"configurable": {"checkpoint_id": True}}},
    {"config": {"configurable": {"checkpoint_id": ["c"]}}},
    {"config": {"configurable": {"checkpoint_id": "c" * 100_000}}},
    {"config": {"configurable": {"checkpoint_ns": 5}}},
    {"config": {"configurable": {"checkpoint_ns": {"a": 1}}}},
    {"config": {"configurable": {"checkpoint_ns": "n" * 100_000}}},
    {"config": {"configurable": {"checkpoint_map": "c"}}},
    {"config": {"configurable": {"checkpoint_map": {"": 5}}}},
    {"context": {"checkpoint_id": 5}},
    {"context": {"checkpoint_ns": 5}},
    {"checkpoint": {"checkpoint_map": {"": 5}}},
    {"checkpoint": {"checkpoint_id": 5}},
    {"checkpoint_id": 5},
]
DEPTHS = (201, 400, 700, 967, 2_000, 200_000)
PLACES = ("input", "command", "metadata", "config", "context", "feedback")


def nested(depth: int) -> str:
    """JSON by hand: encoders recurse too."""
    return '{"k":' * depth + "1" + "}" * depth


def bodies(depth: int) -> list[tuple[str, str, str]]:
    deep = nested(depth)
    return [
        *(("POST", path, f'{{"assistant_id":"echo","{name}":{deep}}}') for path in RUN_PATHS for name in PLACES),
        ("POST", "/runs/batch", f'[{{"assistant_id":"echo","input":{deep}}}]'),
        ("POST", "/runs/crons", f'{{"assistant_id":"echo","schedule":"0 0 1 1 *","input":{deep}}}'),
        ("POST", "/threads", f'{{"metadata":{deep}}}'),
        ("PATCH", "/threads/{t}", f'{{"metadata":{deep}}}'),
        ("POST", "/threads/search", f'{{"values":{deep}}}'),
        ("POST", "/threads/{t}/state", f'{{"values":{deep}}}'),
        ("POST", "/threads/{t}/history", f'{{"metadata":{deep}}}'),
        ("POST", "/assistants", f'{{"graph_id":"echo","context":{deep}}}'),
        ("POST", "/assistants/search", f'{{"metadata":{deep}}}'),
        ("PUT", "/store/items", f'{{"namespace":["n"],"key":"k","value":{deep}}}'),
        ("POST", "/store/items/search", f'{{"namespace_prefix":[],"filter":{deep}}}'),
        (
            "POST",
            "/threads/{t}/commands",
            f'{{"id":1,"method":"run.start","params":{{"assistant_id":"echo","input":{deep}}}}}',
        ),
        (
            "POST",
            "/mcp/",
            f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{deep}}}}}',
        ),
        ("POST", "/a2a/{a}", f'{{"jsonrpc":"2.0","id":1,"method":"message/send","params":{deep}}}'),
    ]


NOT_UTF8 = (b'"\\xff"', b'"\\xed\\xa0\\x80"', b'{"k": "\\xff"}', b'{"\\xff": 1}', b'["\\xc3"]')
MEMBERS: list[tuple[str, str, dict[str, Any], str]] = [
    *(
        ("POST", path, {"assistant_id": "echo"}, name)
        for path in RUN_PATHS
        for name in (*PLACES, "checkpoint", "webhook")
    ),
    ("POST", "/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *"}, "metadata"),
    ("POST", "/threads", {}, "metadata"),
    ("POST", "/threads", {}, "supersteps"),
    ("PATCH", "/threads/{t}", {}, "ttl"),
    ("POST", "/threads/search", {}, "ids"),
    ("POST", "/threads/{t}/state", {}, "values"),
    ("POST", "/threads/{t}/history", {}, "before"),
    ("POST", "/assistants", {"graph_id": "echo"}, "context"),
    ("PUT", "/store/items", {"namespace": ["n"], "key": "k"}, "value"),
    ("POST", "/store/items/search", {}, "namespace_prefix"),
    ("POST", "/threads/{t}/commands", {"id": 1, "method": "run.start"}, "params"),
    ("POST", "/threads/{t}/stream/events", {}, "channels"),
    ("POST", "/mcp/", {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}, "params"),
]


@pytest.fixture
async def http(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        yield session


@pytest.mark.parametrize("depth", DEPTHS)
async def test_deeply_nested_json_is_422_everywhere(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str, depth: int
) -> None:
    assistants: Any = await client.assistants.search(graph_id="echo")
    for method, path, body in bodies(depth):
        url = path.format(t=thread, a=assistants[0]["assistant_id"])
        async with http.request(method, url, data=body) as answer:
            assert answer.status == 422, (method, path, body[:80], answer.status, (await answer.text())[:200])
            assert len(await answer.text()) < 10_000, "what was sent is not repeated whole"
    assert await client.runs.list(thread) == []


@pytest.mark.parametrize("text", NOT_UTF8)
async def test_text_that_is_not_utf8_is_refused_wherever_it_is(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str, text: bytes
) -> None:
    for method, path, members, name in MEMBERS:
        body = msgspec.json.encode({**members, name: msgspec.Raw(text)})
        async with http.request(method, path.format(t=thread), data=body) as answer:
            assert answer.status in (400, 422), (method, path, name, answer.status)
    assert await client.runs.list(thread) == []


async def test_an_update_at_a_place_that_cannot_be_stored_is_422_and_changes_nothing(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "echo", input={"text": "a"})  # type: ignore[call-overload]
    before = await client.threads.get_history(thread, limit=10)
    for place in ({"checkpoint_id": "c" * 3_000}, {"checkpoint_id": "\N{SNOWMAN}" * 900}):
        async with http.post(f"/threads/{thread}/state", json={"values": {"text": "b"}, "checkpoint": place}) as answer:
            assert answer.status == 422, (answer.status, (await answer.text())[:200])
    assert await client.threads.get_history(thread, limit=10) == before


async def test_json_nested_as_deep_as_may_be_is_taken_through_the_whole_server(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str
) -> None:
    deep = nested(190)
    body = f'{{"assistant_id":"echo","input":{{"text":"a"}},"metadata":{{"m":{deep}}},"context":{{"c":{deep}}}}}'
    async with http.post(f"/threads/{thread}/runs/wait", data=body) as answer:
        assert answer.status == 200
        assert (await answer.json())["echoed"] == "A"
    async with http.patch(f"/threads/{thread}", data=f'{{"metadata":{{"m":{deep}}}}}') as answer:
        assert answer.status == 200
    for path in (f"/threads/{thread}", f"/threads/{thread}/state", f"/threads/{thread}/runs"):
        async with http.get(path) as answer:
            assert answer.status == 200, path
    async with http.put("/store/items", data=f'{{"namespace":["n"],"key":"k","value":{deep}}}') as answer:
        assert answer.status == 204


@pytest.mark.parametrize(
    "path", ["/threads/{t}/runs", "/runs", "/runs/wait", "/runs/crons", "/assistants", "/threads/{t}/commands"]
)
async def test_an_address_of_a_checkpoint_that_is_none_is_422_and_poisons_nothing(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str, path: str
) -> None:
    for config in CONFIGS:
        body: dict[str, Any] = {"assistant_id": "echo", "input": {}, **config}
        if path == "/runs/crons":
            body["schedule"] = "0 0 1 1 *"
        if path == "/assistants":
            if "checkpoint" in config or "checkpoint_id" in config:
                continue
            body["graph_id"] = "echo"
        if path.endswith("commands"):
            if "config" not in config:
                continue
            body = {"id": 1, "method": "run.start", "params": body}
        async with http.post(path.format(t=thread), json=body) as answer:
            received = await answer.text()
            if path.endswith("commands"):
                assert answer.status in (200, 400, 422) and '"error"' in received, (
                    config,
                    answer.status,
                    received[:200],
                )
            else:
                assert answer.status == 422, (config, answer.status, received[:200])
            assert len(received) < 10_000
    assert (await client.runs.wait(thread, "echo", input={"text": "a"}))["echoed"] == "A"  # type: ignore[call-overload]
    async with http.get("/metrics") as answer:
        (parked,) = [line for line in (await answer.text()).splitlines() if line.startswith("langlog_parked_keys")]
        assert float(parked.split()[1]) == 0


@pytest.mark.parametrize("number", ["1e999", "-1E+400", "1" + "0" * 5_000])
async def test_numbers_that_no_float_holds_are_422(http: aiohttp.ClientSession, thread: str, number: str) -> None:
    for path in RUN_PATHS:
        async with http.post(
            path.format(t=thread), data=f'{{"assistant_id":"echo","input":{{"n":{number}}}}}'
        ) as answer:
            assert answer.status == 422, (path, answer.status)
    async with http.patch(f"/threads/{thread}", data=f'{{"metadata":{{"n":{number}}}}}') as answer:
        assert answer.status == 422


@pytest.mark.parametrize("number", [2**63 - 1, 2**64 - 1, 2**64, -(2**63) - 1, 10**30])
async def test_an_integer_beyond_64_bits_is_kept_exactly_refused_or_ends_its_run(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str, number: int
) -> None:
    value = {"n": number, "deep": [{"n": number}]}

    async def call(method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        async with http.request(method, path, json=body, params=query) as answer:
            return answer.status, await answer.json(content_type=None) if await answer.read() else None

    async def assert_kept(made: tuple[int, Any], member: str, id: str, path: str) -> None:
        """Check that the response contains the value and it is read unchanged, or that it was refused."""
        status, body = made
        if status == 422:
            return
        assert status == 200, (path, body)
        assert find(body) == [number, number], path
        if path:
            assert find((await call("GET", path.format(id=body[id])))[1][member]) == [number, number], path

    def find(value: Any) -> list[int]:
        """The numbers under "n", in order, as exactly as they came."""
        if isinstance(value, list):
            return [n for item in value for n in find(item)]
        if isinstance(value, dict):
            own = [value["n"]] if isinstance(value.get("n"), int | float) else []
            return own + [n for item in value.values() for n in find(item)]
        return []

    thread_made = await call("POST", "/threads", {"metadata": value})
    await assert_kept(thread_made, "metadata", "thread_id", "/threads/{id}")
    await assert_kept(await call("PATCH", f"/threads/{thread}", {"metadata": value}), "metadata", "thread_id", "")
    for member in ("metadata", "context"):
        made = await call("POST", "/assistants", {"graph_id": "echo", member: value})
        if made[0] == 200:
            made[1].pop("config", None)
        await assert_kept(made, member, "assistant_id", "/assistants/{id}")
    config = {"configurable": {"k": value}}
    status, made_with = await call("POST", "/assistants", {"graph_id": "echo", "config": config})
    if status != 422:
        assert status == 200 and find(made_with["config"]) == [number, number]
    status, cron = await call(
        "POST",
        "/runs/crons",
        {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {"text": "a", "v": value}, "metadata": value},
    )
    if status != 422:
        assert status == 200
        assert find(cron["metadata"]) == [number, number]
        assert find(cron["payload"]["input"]) == [number, number]
    item = {"namespace": ["big"], "key": "k", "value": value}
    status, _ = await call("PUT", "/store/items", item)
    if status != 422:
        assert status == 204
        assert find((await call("GET", "/store/items", namespace="big", key="k"))[1]["value"]) == [number, number]
    run = {"assistant_id": "echo", "input": {"text": "a", "v": value}, "metadata": value, "context": value}
    status, made_run = await call("POST", f"/threads/{thread}/runs", run)
    if status != 422:
        assert status == 200
        await client.runs.join(thread, made_run["run_id"])
        shown = (await call("GET", f"/threads/{thread}/runs/{made_run['run_id']}"))[1]
        # checkpoints hold integers of 64 bits: a graph whose state has a larger one fails with that
        assert shown["status"] == ("success" if -(2**63) <= number < 2**64 else "error")
        assert find(shown["metadata"]) == [number, number]
        assert find(shown["kwargs"]["input"]) == [number, number]
    status, _ = await call("POST", f"/threads/{thread}/state", {"values": {"text": number}})
    if status != 422:
        assert status == 200
        assert (await call("GET", f"/threads/{thread}/state"))[1]["values"]["text"] == number
    async with http.post(
        f"/threads/{thread}/runs/wait", json={"assistant_id": "echo", "input": {"text": "a"}}
    ) as answer:
        assert (await answer.json())["echoed"] == "A"
