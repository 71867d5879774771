"""A run that answers one of several interrupts leaves no trace once it is rolled back or deleted: what was open before it is open again."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient

from .conftest import Server


@pytest.fixture
def gate() -> str:
    return str(uuid.uuid4())


async def _open(client: LangGraphClient, thread: str) -> dict[str, Any]:
    """Return what the thread asks: name of the question -> interrupt. Row and state agree."""
    state: Any = await client.threads.get_state(thread)
    row: Any = await client.threads.get(thread)
    shown = sorted(one["id"] for group in row["interrupts"].values() for one in group)
    assert sorted(one["id"] for one in state["interrupts"]) == shown
    return {one["value"]["of"]: one for one in state["interrupts"]}


async def _answer(client: LangGraphClient, thread: str, answers: dict[str, Any]) -> Any:
    command: Any = {"resume": {one["id"]: f"to {name}" for name, one in answers.items()}}
    return await client.runs.wait(thread, "asking", command=command)


async def _rolled_back(server: Server, client: LangGraphClient, thread: str, gate: str, answers: Any) -> None:
    """Answer, and roll the run back once the other node has asked again and this one has got its answers."""
    command: Any = {"resume": {one["id"]: "never said" for one in answers}}
    made: list[Any] = []
    async for part in client.runs.stream(
        thread, "asking", command=command, stream_mode="updates", on_run_created=made.append
    ):
        if part.event == "updates" and "__interrupt__" in part.data:
            await server.entered(gate)
            await client.runs.cancel(thread, made[0]["run_id"], action="rollback", wait=True)


async def test_a_rolled_back_answer_leaves_every_interrupt_open(
    server: Server, client: LangGraphClient, thread: str, gate: str
) -> None:
    await client.runs.wait(thread, "asking", input={"gate": gate})
    await _answer(client, thread, {"first": (await _open(client, thread))["first"]})
    before, asked = await client.threads.get_state(thread), await _open(client, thread)
    assert set(asked) == {"second", "right"}
    await _rolled_back(server, client, thread, gate, [asked["second"]])
    assert await client.threads.get_state(thread) == before
    assert await _open(client, thread) == asked
    server.open(gate)
    values = await _answer(client, thread, asked)
    assert values["answers"] == ["to first", "to second", "to right"]


async def test_a_deleted_answer_opens_what_was_open_before_it(
    server: Server, client: LangGraphClient, thread: str, gate: str
) -> None:
    await client.runs.wait(thread, "asking", input={"gate": gate})
    before, asked = await client.threads.get_state(thread), await _open(client, thread)
    await _answer(client, thread, {"first": asked["first"]})
    latest, *_ = await client.runs.list(thread)
    await client.runs.delete(thread, latest["run_id"])
    assert await client.threads.get_state(thread) == before
    assert await _open(client, thread) == asked
    server.open(gate)
    await _answer(client, thread, asked)
    values = await _answer(client, thread, {"second": (await _open(client, thread))["second"]})
    assert values["answers"] == ["to first", "to second", "to right"]
