"""Projects as the public starters in TypeScript are, unchanged but for the provider: ReAct, memory, retrieval, a supervisor, `createAgent`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.js.provider import provider
from tests.stack.server import LiveServer
from tests.stack.typescript import typescript_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncLangGraphClient]:
    folder = tmp_path_factory.mktemp("starters")
    project = typescript_project(Path(__file__).parent / "starters", folder / "project")
    with provider() as url:
        env = {"OPENAI_BASE_URL": url}
        with LiveServer(project / "langgraph.json", folder / "server", env).up() as server:
            yield get_sync_client(url=server.url)


def said(result: Any) -> list[str]:
    """The text of each message."""
    return [message["content"] for message in result["messages"]]


def ask(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("graph", "text", "tool"),
    [
        ("react", 'call search {"query": "tides"}', "Three results for tides."),
        ("agent", 'call get_weather {"city": "Oslo"}', "It is sunny in Oslo."),
    ],
)
def test_a_model_calls_its_tool_and_answers(client: SyncLangGraphClient, graph: str, text: str, tool: str) -> None:
    thread = client.threads.create()["thread_id"]
    result = client.runs.wait(thread, graph, input=ask(text))
    assert said(result) == [text, "", tool, f"The tool said: {tool}"]
    again = client.runs.wait(thread, graph, input=ask("thanks"))
    assert said(again)[-1].startswith("You said: thanks")
    assert len(client.threads.get_history(thread)) > 6


def test_its_tokens_stream_word_by_word(client: SyncLangGraphClient) -> None:
    parts = client.runs.stream(None, "react", input=ask("hello there"), stream_mode="messages-tuple")
    chunks = [part.data[0] for part in parts if part.event == "messages"]
    words = [chunk["content"] for chunk in chunks if chunk["content"]]
    assert "".join(words).startswith("You said: hello there")
    assert len(words) > 4


def test_a_configurable_prompt_reaches_the_model(client: SyncLangGraphClient) -> None:
    config = {"configurable": {"systemPromptTemplate": "Be brief."}}
    assert said(client.runs.wait(None, "react", input=ask("hi"), config=config))[-1] == "You said: hi (Be brief.)"


def test_memories_are_in_the_store_of_the_api_and_of_the_next_conversation(client: SyncLangGraphClient) -> None:
    config = {"configurable": {"userId": "anna"}}
    memory = ask('call upsertMemory {"content": "likes tea", "context": "breakfast"}')
    client.runs.wait(None, "memory", input=memory, config=config)
    (item,) = client.store.search_items(["memories", "anna"])["items"]
    assert item["value"] == {"content": "likes tea", "context": "breakfast"}
    assert "likes tea" in said(client.runs.wait(None, "memory", input=ask("what do I like?"), config=config))[-1]
    assert "likes tea" not in said(client.runs.wait(None, "memory", input=ask("what do I like?")))[-1]


def test_documents_are_found_by_meaning_and_for_their_user_alone(client: SyncLangGraphClient) -> None:
    config = {"configurable": {"userId": "bo"}}
    documents = ["Delivery takes two days.", "Goods can be returned within thirty days."]
    assert client.runs.wait(None, "index", input={"docs": documents}, config=config) == {"docs": []}
    thread = client.threads.create()["thread_id"]
    answered: Any = client.runs.wait(thread, "retrieval", input=ask("Delivery takes how long?"), config=config)
    assert answered["queries"] == ["Delivery takes how long?"]
    assert answered["retrievedDocs"][0]["pageContent"] == documents[0]
    assert documents[0] in said(answered)[-1]
    second: Any = client.runs.wait(thread, "retrieval", input=ask("Goods returned"), config=config)
    assert second["queries"][1:] == ["Goods returned"], "written by the model, as the schema of its answer says"
    assert second["retrievedDocs"][0]["pageContent"] == documents[1]
    other: Any = client.runs.wait(None, "retrieval", input=ask("Delivery"))
    assert other["retrievedDocs"] == []


def test_a_supervisor_hands_a_task_to_an_agent_and_has_its_answer(client: SyncLangGraphClient) -> None:
    task = 'call transfer_to_mathematician {}\ncall add {"a": 2, "b": 3}'
    thread = client.threads.create()["thread_id"]
    result: Any = client.runs.wait(thread, "supervisor", input=ask(task))
    names = [message.get("name") for message in result["messages"]]
    assert "mathematician" in names
    assert "The tool said: 5" in " ".join(str(text) for text in said(result))
    drawn = client.assistants.get_graph("supervisor", xray=True)
    assert any("mathematician" in str(node["id"]) for node in drawn["nodes"])
