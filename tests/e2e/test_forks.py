"""Forks at a checkpoint, and retries that continue from one, with real graphs."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.stack.server import LiveServer

LIMIT_S = 90.0


class Api:
    """Endpoints that the SDK has no methods for."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=LIMIT_S)

    async def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        answer = await self._http.post(path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def api(server: LiveServer) -> Api:
    return Api(server.url)


def places(history: list[Any]) -> list[tuple[str, Any]]:
    return [(state["checkpoint"]["checkpoint_id"], state["values"]) for state in history]


async def test_a_fork_at_an_earlier_checkpoint_has_the_history_up_to_it_and_goes_its_own_way(
    client: LangGraphClient, api: Api
) -> None:
    thread = (await client.threads.create(metadata={"customer": "c-1"}))["thread_id"]
    for n in range(2):
        await client.runs.wait(thread, "interrupting", input={"draft": f"d{n}", "skip": True})
    history: list[Any] = await client.threads.get_history(thread, limit=100)
    at = next(n for n, state in enumerate(history) if state["next"] == ["ask"])
    checkpoint = history[at]["checkpoint"]
    fork = await api.post(f"/threads/{thread}/fork", {"checkpoint": checkpoint, "metadata": {"branch": 1}})
    assert fork["thread_id"] != thread
    assert fork["metadata"]["customer"] == "c-1" and fork["metadata"]["branch"] == 1
    assert fork["metadata"]["forked_from"] == {"thread_id": thread, "checkpoint_id": checkpoint["checkpoint_id"]}
    assert fork["status"] == "interrupted" and fork["values"] == history[at]["values"]
    forked: list[Any] = await client.threads.get_history(fork["thread_id"], limit=100)
    assert places(forked) == places(history[at:])
    assert forked[0]["next"] == ["ask"]
    assert [state["parent_checkpoint"] and state["parent_checkpoint"]["checkpoint_id"] for state in forked] == [
        state["parent_checkpoint"] and state["parent_checkpoint"]["checkpoint_id"] for state in history[at:]
    ]
    state = await client.threads.get_state(fork["thread_id"])
    assert (state["values"], state["next"]) == (history[at]["values"], ["ask"])
    # the fork goes on by itself, with another state than the thread it came from
    await client.threads.update_state(fork["thread_id"], {"draft": "changed"})
    output = await client.runs.wait(fork["thread_id"], "interrupting", input=None)
    assert output["final"] == "changed -> skipped"
    assert places(await client.threads.get_history(thread, limit=100)) == places(history)


async def test_a_copy_of_a_thread_that_waits_for_an_answer_waits_for_it_too(client: LangGraphClient, api: Api) -> None:
    suite = str(uuid.uuid4())
    thread = (await client.threads.create(metadata={"suite": suite}))["thread_id"]
    asked: Any = await client.runs.wait(thread, "interrupting", input={"draft": "d"})
    original = await client.threads.get(thread)
    copy = await api.post(f"/threads/{thread}/copy", {})
    assert copy["status"] == "interrupted" and "values" not in copy
    copied = await client.threads.get(copy["thread_id"])
    for member in ("status", "values", "interrupts", "error"):
        assert copied[member] == original[member], member  # type: ignore[literal-required] # each is one of Thread's keys
    found = await client.threads.search(metadata={"suite": suite}, status="interrupted")
    assert {t["thread_id"] for t in found} == {thread, copy["thread_id"]}
    answer = {"namespace": [], "interrupt_id": asked["__interrupt__"][0]["id"], "response": "yes"}
    command = {"id": 1, "method": "input.respond", "params": answer}
    answered = await api.post(f"/threads/{copy['thread_id']}/commands", command)
    assert answered["type"] == "success", answered
    (run,) = await client.runs.list(copy["thread_id"])
    assert await client.runs.join(copy["thread_id"], run["run_id"]) == {
        "draft": "draft of d",
        "answer": "yes",
        "final": "draft of d -> yes",
    }
    assert await client.threads.get(thread) == original


async def test_a_copy_of_a_thread_that_waits_for_nothing_is_like_one_that_never_ran(
    client: LangGraphClient, api: Api
) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "counter", input={"by": 3})
    copied = await client.threads.get((await api.post(f"/threads/{thread}/copy", {}))["thread_id"])
    assert copied["status"] == "idle"
    assert not {"values", "interrupts", "error"} & copied.keys()


async def test_a_fork_at_the_latest_checkpoint_waits_for_the_same_answers(client: LangGraphClient, api: Api) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "asking_twice", input={"messages": []})
    fork = await api.post(f"/threads/{thread}/fork", {})
    assert fork["status"] == "interrupted"
    assert fork["interrupts"] == (await client.threads.get(thread))["interrupts"]
    found = await api.post("/interrupts/search", {"thread_id": fork["thread_id"]})
    assert {f["node"] for f in found} == {"rate", "comment"}
    assert len(found) == 2 and {f["value"] for f in found} == {"how many stars?", "any comment?"}
    answers = [
        {"thread_id": fork["thread_id"], "interrupt_id": f["interrupt_id"], "response": {"stars": 5}} for f in found
    ]
    outcomes = await api.post("/interrupts/respond", {"answers": answers})
    assert {o["status"] for o in outcomes} == {"created"}
    output: Any = await client.runs.join(fork["thread_id"], outcomes[0]["run_id"])
    assert output["answers"] == [{"stars": 5}, {"stars": 5}]
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_what_was_answered_after_the_checkpoint_is_asked_anew(client: LangGraphClient, api: Api) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "interrupting", input={"draft": "d"})
    asked = await client.threads.get_state(thread)
    await client.runs.wait(thread, "interrupting", command={"resume": "first answer"})
    at = asked["checkpoint"]["checkpoint_id"]
    fork = await api.post(f"/threads/{thread}/fork", {"checkpoint_id": at})
    output: Any = await client.runs.wait(fork["thread_id"], "interrupting", input=None)
    [question] = output["__interrupt__"]
    assert question["value"] == {"question": "approve?", "draft": "draft of d"}
    output = await client.runs.wait(fork["thread_id"], "interrupting", command={"resume": "second answer"})
    assert output["final"] == "draft of d -> second answer"


async def test_states_of_subgraphs_come_along(client: LangGraphClient, api: Api) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "nested", input={})
    history: list[Any] = await client.threads.get_history(thread, limit=100)
    fork = await api.post(f"/threads/{thread}/fork", {})
    forked: list[Any] = await client.threads.get_history(fork["thread_id"], limit=100)
    assert places(forked) == places(history)
    for state, copied in zip(history, forked, strict=True):
        for task, same in zip(state["tasks"], copied["tasks"], strict=True):
            if task["checkpoint"] is not None:
                inside = await client.threads.get_state(thread, checkpoint=task["checkpoint"])
                there = await client.threads.get_state(fork["thread_id"], checkpoint=same["checkpoint"])
                assert inside["values"] == there["values"]


async def test_a_repeated_fork_is_made_once_and_a_bad_one_not_at_all(client: LangGraphClient, api: Api) -> None:
    thread = (await client.threads.create())["thread_id"]
    nothing = await api.post(f"/threads/{thread}/fork", {}, 409)
    assert "no checkpoint yet" in nothing["detail"]
    await client.runs.wait(thread, "echo", input={"text": "x"})
    key = {"Idempotency-Key": str(uuid.uuid4())}
    once = await api.post(f"/threads/{thread}/fork", {}, **key)
    assert (await api.post(f"/threads/{thread}/fork", {}, **key))["thread_id"] == once["thread_id"]
    named = str(uuid.uuid4())
    assert (await api.post(f"/threads/{thread}/fork", {"thread_id": named}))["thread_id"] == named
    await api.post(f"/threads/{thread}/fork", {"thread_id": named}, 409)
    before = await client.threads.count()
    unknown = "1ef00000-0000-6000-8000-000000000000"
    assert unknown in (await api.post(f"/threads/{thread}/fork", {"checkpoint_id": unknown}, 404))["detail"]
    await api.post(f"/threads/{uuid.uuid4()}/fork", {}, 404)
    for body in (
        {"checkpoint": {"checkpoint_ns": "child:1", "checkpoint_id": unknown}},
        {"checkpoint_id": unknown, "checkpoint": {"checkpoint_id": "other"}},
        {"thread_id": "x"},
        {"metadata": 1},
        {"checkpoint_id": 7},
        [],
    ):
        await api.post(f"/threads/{thread}/fork", body, 422)
    assert await client.threads.count() == before


async def test_a_retry_goes_on_where_the_run_has_failed(client: LangGraphClient, api: Api, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    thread = (await client.threads.create())["thread_id"]
    failed = await client.runs.create(thread, "flaky", input={"marker": str(marker)})
    await client.runs.join(thread, failed["run_id"])
    assert (await client.runs.get(thread, failed["run_id"]))["status"] == "error"
    marker.touch()
    [outcome] = await api.post("/runs/retry", {"run_ids": [failed["run_id"]]})
    assert outcome["status"] == "created", outcome
    output: Any = await client.runs.join(thread, outcome["run_id"])
    assert output["done"] == ["first", "second"], "the first node was not executed again"
    assert (await client.threads.get(thread))["status"] == "idle"
