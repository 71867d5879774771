"""Whatever a run ends with, its end is reported: no exception and no value of a graph leaves its run running."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient

from .conftest import LIMIT_S, Server
from .project.ending import RAISED, VALUES

AT_ONCE = 4
"""Runs under way at the same time: an end that is never reported holds a place of the worker's."""
ODD_GRAPHS = ("misnamed", "misrouted", "misbuilt")


ALL = ["values", "updates", "custom", "debug"]


async def ends(client: LangGraphClient, graph: str, hows: list[str], modes: list[str] = ALL) -> dict[str, str]:
    """Return the end of each run."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(how: str) -> str:
        async with places:
            thread = (await client.threads.create())["thread_id"]
            run = await client.runs.create(
                thread,
                graph,
                input={"how": how},
                stream_mode=modes,  # type: ignore[arg-type]
                stream_resumable=True,
            )
            async with asyncio.timeout(LIMIT_S):
                await client.runs.join(thread, run["run_id"])
            status: str = (await client.runs.get(thread, run["run_id"]))["status"]
            assert (await client.threads.get(thread))["status"] != "busy", how
            return status

    return dict(zip(hows, await asyncio.gather(*map(one, hows)), strict=True))


@pytest.mark.parametrize("graph", ["threaded", "looped"])
async def test_a_run_ends_whatever_its_node_raises(client: LangGraphClient, graph: str) -> None:
    result = await ends(client, graph, ["recurse", *(f"raise:{what}" for what in RAISED)])
    assert result == dict.fromkeys(result, "error")
    assert await client.runs.wait(None, "echo", input={"text": "next"})


@pytest.mark.parametrize("graph", ["threaded", "looped"])
async def test_the_stream_of_a_run_that_fails_brings_one_error(client: LangGraphClient, graph: str) -> None:
    for what in ("generator", "keyboard", "exit", "own", "cancelled", "nul"):
        async with asyncio.timeout(LIMIT_S):
            parts = [part async for part in client.runs.stream(None, graph, input={"how": f"raise:{what}"})]
        errors = [part.data for part in parts if part.event == "error"]
        assert len(errors) == 1 and errors[0].keys() == {"error", "message"}, (what, parts)


async def test_runs_end_on_a_worker_whose_streams_a_graph_has_closed(client: LangGraphClient) -> None:
    result = await ends(client, "threaded", ["mute", "mute", "raise:surrogate", "return"])
    assert result == {"mute": "error", "raise:surrogate": "error", "return": "success"}


@pytest.mark.parametrize("kind", ["value", "stream", "ask"])
async def test_a_run_ends_whatever_its_node_returns_streams_or_asks(client: LangGraphClient, kind: str) -> None:
    result = await ends(client, "looped", [f"{kind}:{what}" for what in VALUES])
    assert set(result.values()) <= {"success", "error", "interrupted"}, result
    if kind == "stream":
        assert result == dict.fromkeys(result, "success"), "what a node streams is shown as well as it can be"


MODES: dict[str, list[str]] = {
    "debug": ["debug"],
    "tasks": ["tasks"],
    "checkpoints": ["checkpoints", "updates"],
    "events": ["events"],
    "messages": ["messages"],
    "tuples": ["messages-tuple", "custom"],
    "all": ["values", "updates", "custom", "debug", "tasks", "checkpoints", "messages", "events"],
}
KEPT = ("stream", "metadata")
"""Uses of a value that store nothing of it."""


@pytest.mark.parametrize("modes", MODES)
async def test_a_run_ends_whatever_becomes_of_a_value_that_is_too_large_when_written_out(
    client: LangGraphClient, modes: str
) -> None:
    uses = ("value", "ask", "throw", "update", "send", "message", "tool", "put", *KEPT)
    result = await ends(client, "looped", [f"{use}:doubled" for use in uses], MODES[modes])
    assert result == {f"{use}:doubled": "success" if use in KEPT else "error" for use in uses}
    assert await client.runs.wait(None, "echo", input={"text": "next"})


async def test_a_value_that_is_too_large_when_written_out_fails_the_run_with_what_to_do(
    client: LangGraphClient, thread: str
) -> None:
    answer: Any = await client.runs.wait(thread, "looped", input={"how": "value:doubled"}, raise_error=False)
    assert answer["__error__"]["error"] == "TooManyMembers"
    assert "keep shared parts once" in answer["__error__"]["message"]
    assert await client.runs.wait(None, "echo", input={"text": "next"})


@pytest.mark.parametrize("graph", ODD_GRAPHS)
async def test_a_run_ends_whatever_its_graph_is_like(client: LangGraphClient, graph: str) -> None:
    result = await ends(
        client, graph, ["return", "raise:surrogate", "value:surrogate", "stream:surrogate", "ask:object"]
    )
    assert set(result.values()) <= {"success", "error", "interrupted"}, result


async def test_a_run_ends_that_wrote_what_no_record_can_hold(client: LangGraphClient, thread: str) -> None:
    answer: Any = await client.runs.wait(thread, "looped", input={"how": "elsewhere"}, raise_error=False)
    assert answer["__error__"]["error"] == "UnicodeEncodeError"
    again: Any = await client.runs.wait(thread, "looped", input={"how": "return"})
    assert again["value"] == "done"


async def test_the_text_of_an_exception_is_shown_with_its_lone_surrogates_escaped(
    server: Server, client: LangGraphClient, thread: str
) -> None:
    answer: Any = await client.runs.wait(thread, "looped", input={"how": "raise:surrogate"}, raise_error=False)
    assert answer["__error__"] == {"error": "RuntimeError", "message": "cannot parse caf\\udce9.txt"}
    state: Any = await client.threads.get_state(thread)
    assert "caf\\udce9.txt" in state["tasks"][0]["error"]
