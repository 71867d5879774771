"""Threads, assistants, state and history through the official clients."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_thread_is_created_read_patched_searched_and_deleted(client: LangGraphClient) -> None:
    suite = str(uuid.uuid4())
    thread = await client.threads.create(metadata={"suite": suite, "k": 1})
    thread_id = thread["thread_id"]
    assert thread["status"] == "idle"
    assert await client.threads.get(thread_id) == thread
    patched = await client.threads.update(thread_id, metadata={"k": 2})
    assert patched["metadata"] == {"suite": suite, "k": 2}
    assert [t["thread_id"] for t in await client.threads.search(metadata={"suite": suite})] == [thread_id]
    await client.threads.delete(thread_id)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread_id)


async def test_a_second_thread_of_the_same_id_is_refused_or_passed_over(client: LangGraphClient) -> None:
    name = str(uuid.uuid4())
    await client.threads.create(thread_id=name, metadata={"k": 1})
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=name)
    again = await client.threads.create(thread_id=name, if_exists="do_nothing", metadata={"k": 2})
    assert again["metadata"] == {"k": 1}


async def test_a_thread_that_exists_is_passed_over_with_all_that_the_request_holds(client: LangGraphClient) -> None:
    """Supersteps too, so that a copy of threads may be started again."""

    async def create(total: int, **more: Any) -> Any:
        steps = [{"updates": [{"values": {"by": 1, "total": total}, "as_node": "__input__"}]}]
        return await client.threads.create(thread_id=name, graph_id="counter", supersteps=steps, **more)

    name = str(uuid.uuid4())
    await create(5)
    thread, history = await client.threads.get(name), await client.threads.get_history(name, limit=10)
    again = await create(7, if_exists="do_nothing", ttl=60, metadata={"k": 1})
    assert again == thread == await client.threads.get(name)
    assert await client.threads.get_history(name, limit=10) == history
    with pytest.raises(ConflictError):
        await create(7)


async def test_bad_and_unknown_ids_are_refused(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError):
        await client.threads.get("zzz")
    with pytest.raises(NotFoundError):
        await client.threads.get(UNKNOWN)
    with pytest.raises(UnprocessableEntityError):
        await client.runs.get(UNKNOWN, "zzz")
    with pytest.raises(NotFoundError):
        await client.runs.create(UNKNOWN, "echo", input={})
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create(None, "no-such-graph", input={})
    with pytest.raises(NotFoundError):
        await client.assistants.get(UNKNOWN)


async def test_history_holds_every_step_and_state_can_be_read_at_each(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "counter", input={"by": 3})
    history: Any = await client.threads.get_history(thread, limit=10)
    assert [state["metadata"]["step"] for state in history] == [2, 1, 0, -1]
    assert [state["next"] for state in history] == [[], ["double"], ["add"], ["__start__"]]
    before: Any = await client.threads.get_state(thread, checkpoint=history[1]["checkpoint"])
    assert before["values"] == {"by": 3, "total": 3, "log": ["add:3"]}
    assert history[0]["parent_checkpoint"] == history[1]["checkpoint"]


async def test_a_state_update_forks_and_the_run_goes_on_from_it(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "counter", input={"by": 1}, interrupt_before=["double"])
    await client.threads.update_state(thread, {"total": 10, "log": ["edit"]}, as_node="add")
    state = await client.threads.get_state(thread)
    assert state["values"] == {"by": 1, "total": 11, "log": ["add:1", "edit"]}
    values: Any = await client.runs.wait(thread, "counter", input=None)
    assert values["total"] == 22


async def test_a_run_starts_from_an_earlier_checkpoint(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "counter", input={"by": 2})
    history = await client.threads.get_history(thread, limit=10)
    middle: Any = history[1]["checkpoint"]
    values: Any = await client.runs.wait(thread, "counter", input=None, checkpoint_id=middle["checkpoint_id"])
    assert values == {"by": 2, "total": 4, "log": ["add:2", "double"]}
    assert len(await client.threads.get_history(thread, limit=10)) > len(history)


async def test_assistants_are_versioned_and_a_run_uses_their_config(client: LangGraphClient) -> None:
    made = await client.assistants.create("async_factory", config={"configurable": {"suffix": "?"}}, name="asker")
    name = made["assistant_id"]
    assert made["version"] == 1
    assert await client.runs.wait(None, name, input={"text": "a"}) == {"text": "a?"}
    patched = await client.assistants.update(name, config={"configurable": {"suffix": "!"}})
    assert patched["version"] == 2
    assert await client.runs.wait(None, name, input={"text": "a"}) == {"text": "a!"}
    assert [a["assistant_id"] for a in await client.assistants.search(graph_id="async_factory", limit=1)] == [name]
    await client.assistants.delete(name)
    with pytest.raises(NotFoundError):
        await client.assistants.get(name)


async def test_each_graph_has_its_default_assistant(client: LangGraphClient) -> None:
    namespace = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
    assistant = await client.assistants.get(str(uuid.uuid5(namespace, "echo")))
    assert (assistant["graph_id"], assistant["name"], assistant["metadata"]) == (
        "echo",
        "echo",
        {"created_by": "system"},
    )


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient) -> None:
    thread = sync_client.threads.create()["thread_id"]
    assert sync_client.runs.wait(thread, "echo", input={"text": "a"}) == {"text": "a", "echoed": "A"}
    names = [part.event for part in sync_client.runs.stream(thread, "echo", input={"text": "b"}, stream_mode="updates")]
    assert names == ["metadata", "updates"]
    assert sync_client.threads.get_state(thread)["values"] == {"text": "b", "echoed": "B"}
    assert len(sync_client.threads.get_history(thread, limit=10)) == 6
    sync_client.threads.delete(thread)
