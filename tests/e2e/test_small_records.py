"""Copies, forks and updates of threads whose state is larger than a record of the log, as it may come from a run."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
RECORD_BYTES = 1_000_000
TEXT_BYTES = 300_000
LIMIT_S = 90.0


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with small records. Its read model is verified at the end."""
    env = {"LANGLOG_MAX_RECORD_BYTES": str(RECORD_BYTES)}
    env |= kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    with LiveServer(PROJECT, tmp_path_factory.mktemp(f"small-{request.param}"), env).up() as live:
        yield live


@pytest.fixture
def client(small: LiveServer) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=small.url) as opened:
        yield opened


def text(seed: int) -> str:
    """A text that no compression makes smaller than three quarters."""
    return base64.b64encode(random.Random(seed).randbytes(TEXT_BYTES)).decode()


def content(seed: int) -> list[Any]:
    return [{"type": "image_url", "image_url": {"url": text(seed)}}]


def said(thread_or_state: Any) -> list[Any]:
    return [message["content"] for message in thread_or_state["values"]["messages"]]


def post(small: LiveServer, path: str, body: Any) -> Any:
    answer = httpx.post(f"{small.url}{path}", json=body, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sent(*seeds: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content(seed)} for seed in seeds]}


@pytest.fixture
def large(client: SyncLangGraphClient) -> str:
    """A thread with 2 MB of messages, each of them from a run."""
    thread = str(client.threads.create()["thread_id"])
    for seed in range(5):
        client.runs.wait(thread, "viewer", input=sent(seed), raise_error=True)
    return thread


def test_a_copy_of_a_large_thread_has_its_history(small: LiveServer, client: SyncLangGraphClient, large: str) -> None:
    copy = post(small, f"/threads/{large}/copy", {})["thread_id"]
    ours, theirs = (client.threads.get_history(thread, limit=1000) for thread in (copy, large))
    assert [state["values"] for state in ours] == [state["values"] for state in theirs]
    answered: Any = client.runs.wait(copy, "viewer", input=sent(9), raise_error=True)
    assert len(answered["messages"]) == len(said(client.threads.get_state(large))) + 2


def test_a_fork_of_a_large_thread_has_its_state_at_any_checkpoint(
    small: LiveServer, client: SyncLangGraphClient, large: str
) -> None:
    history = client.threads.get_history(large, limit=1000)
    for at in (0, 3):
        fork = post(small, f"/threads/{large}/fork", {"checkpoint": history[at]["checkpoint"]})
        state = client.threads.get_state(fork["thread_id"])
        assert (state["values"], state["next"]) == (history[at]["values"], history[at]["next"])
        assert fork["status"] == ("interrupted" if history[at]["next"] else "idle")


def test_the_state_of_a_large_thread_can_be_updated(small: LiveServer, client: SyncLangGraphClient, large: str) -> None:
    before = said(client.threads.get_state(large))
    made: Any = client.threads.update_state(large, sent(7), as_node="look")
    state = client.threads.get_state(large)
    assert state["checkpoint"]["checkpoint_id"] == made["checkpoint_id"]
    assert said(state) == [*before, content(7)]
    assert client.threads.get(large)["status"] == "idle"
    answered: Any = client.runs.wait(large, "viewer", input=sent(8), raise_error=True)
    assert len(answered["messages"]) == len(before) + 3
    assert said(client.threads.get(large)) == [message["content"] for message in answered["messages"]]


def test_a_thread_can_be_created_with_large_supersteps(client: SyncLangGraphClient) -> None:
    steps: Any = [{"updates": [{"values": sent(seed), "as_node": "look"}]} for seed in range(5)]
    thread = client.threads.create(metadata={"graph_id": "viewer"}, supersteps=steps)
    assert thread["status"] == "idle"
    state = client.threads.get_state(thread["thread_id"])
    assert said(state) == [content(seed) for seed in range(5)]


def test_what_a_client_sends_in_one_request_beyond_a_record_is_refused_with_what_to_do(
    small: LiveServer, client: SyncLangGraphClient
) -> None:
    thread = client.threads.create()["thread_id"]
    body = {"assistant_id": "viewer", "input": sent(0, 1, 2)}
    answer = httpx.post(f"{small.url}/threads/{thread}/runs", json=body, timeout=LIMIT_S)
    assert answer.status_code == 413
    assert "LANGLOG_MAX_RECORD_BYTES" in answer.json()["detail"] and "send less" in answer.json()["detail"]
