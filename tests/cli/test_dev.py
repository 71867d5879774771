"""`langlog dev`: output, end, refusals, and reload; with real servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import AuthenticationError
from langlog.services.dev import shown_activity
from langlog_backbone.process.settings import Settings

from tests.stack.server import LiveServer, Process, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat" / "langgraph.json"
LIMIT_S = 180.0

AGENT = """
from typing import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict):
    word: str

def say(state):
    return {{"word": "{word}"}}

builder = StateGraph(State)
builder.add_node("say", say)
builder.set_entry_point("say")
graph = builder.compile()
"""


READING_ENV = AGENT.format(word="{}").replace('"{}"', '__import__("os").environ["DATABASE_URI"]')


def project(folder: Path, code: str) -> Path:
    folder.mkdir()
    (folder / "agent.py").write_text(code)
    (folder / "langgraph.json").write_text('{"graphs": {"agent": "./agent.py:graph"}}')
    return folder / "langgraph.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(EXAMPLE, tmp_path_factory.mktemp("dev"), {"LANGLOG_LOG_ACTIVITY": "auto"})
    with server.up():
        yield server


@pytest_asyncio.fixture
async def client(server: LiveServer) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as client:
        yield client


async def test_a_test_suite_may_begin_from_nothing(server: LiveServer, client: LangGraphClient) -> None:
    """As the JavaScript server's own suite requests it."""
    everything = ("runs", "threads", "assistants", "checkpointer", "store")
    (graph,) = {assistant["graph_id"] for assistant in await client.assistants.search()}
    made = await client.assistants.create(graph)
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, made["assistant_id"], input={"messages": []}, raise_error=False)
    for n in range(3):
        await client.store.put_item(["n", str(n)], "k", {"n": n})
    async with aiohttp.ClientSession() as http:
        for body in ({}, {"runs": True}, {"checkpointer": True}):
            async with http.post(f"{server.url}/internal/truncate", json=body) as answer:
                assert (answer.status, await answer.json()) == (200, {"ok": True})
        assert await client.runs.list(thread) == []
        assert await client.threads.get_history(thread) == []
        assert len((await client.store.search_items([]))["items"]) == 3
        async with http.post(f"{server.url}/internal/truncate", json=dict.fromkeys(everything, True)) as answer:
            assert answer.status == 200
        async with http.get(f"{server.url}/openapi.json") as answer:
            assert "/internal/truncate" not in (await answer.json())["paths"]
    assert await client.threads.search() == []
    assert (await client.store.search_items([]))["items"] == []
    left = await client.assistants.search()
    assert [assistant["metadata"]["created_by"] for assistant in left] == ["system"], "those of the graphs stay"


def test_it_says_where_it_listens_which_graphs_it_has_and_where_its_data_is(server: LiveServer) -> None:
    said = server.tail()
    assert f"langlog listens on {server.url}\n" in said
    assert f"graphs  chat  ({EXAMPLE})" in said
    assert f"data    {server.data}" in said
    assert "\x1b" not in said
    steps = [json.loads(line)["done"] for line in said.splitlines() if '"start.step"' in line]
    assert set(steps[:2]) == {"Postgres started", "Redis started"}
    assert steps[2:4] == ["log and read model opened", "graphs imported: chat"]
    assert re.search(r"^  started in \d+\.\d s$", said, re.MULTILINE)


def test_a_data_folder_in_use_is_refused_and_its_user_named(server: LiveServer) -> None:
    words = ["dev", "--config", str(EXAMPLE), "--port", str(free_port()), "--data-dir", str(server.data)]
    finished = subprocess.run(
        [sys.executable, "-m", "langlog", *words], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert finished.returncode == 1
    assert finished.stderr == f"langlog: data folder {server.data} is in use by another langlog (pid {server.pid})\n"


async def test_the_example_streams_asks_a_human_and_uses_its_tool(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    words = []
    say = {"messages": [{"role": "user", "content": "hello"}]}
    async for part in client.runs.stream(thread, "chat", input=say, stream_mode="messages-tuple"):
        if part.event == "messages":
            words.append(part.data[0]["content"])
    assert "".join(words).startswith("You said: hello.")
    assert len([x for x in words if x]) > 5, "it streams word by word"

    say = {"messages": [{"role": "user", "content": "tell bob@example.org that lunch is at one"}]}
    await client.runs.wait(thread, "chat", input=say)
    waiting = await client.threads.get(thread)
    assert waiting["status"] == "interrupted"
    ((asked,),) = waiting["interrupts"].values()
    assert asked["value"]["calls"][0]["args"] == {"to": "bob@example.org", "text": "lunch is at one"}

    values = await client.runs.wait(thread, "chat", command={"resume": "yes"})
    assert values["messages"][-1]["content"] == "Sent to bob@example.org: lunch is at one"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_human_may_say_no(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    say = {"messages": [{"role": "user", "content": "tell bob@example.org that lunch is at one"}]}
    await client.runs.wait(thread, "chat", input=say)
    values = await client.runs.wait(thread, "chat", command={"resume": "no"})
    assert values["messages"][-1]["content"] == "The human did not allow it."


async def test_each_request_and_each_run_is_a_line(server: LiveServer, client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "chat", input={"messages": [{"role": "user", "content": "hello"}]})
    path = f"/threads/{thread}/runs/wait"
    request = server.wait_for(lambda line: line.get("event") == "http.request" and line["path"] == path)
    assert (request["method"], request["status"]) == ("POST", 200) and request["ms"] > 0
    run = server.wait_for(lambda line: line.get("event") == "run.ended" and line["thread_id"] == thread)
    assert (run["graph_id"], run["status"]) == ("chat", "success") and run["ms"] > 0
    await client.runs.wait(thread, "chat", input={"messages": 5}, raise_error=False)
    failed = (thread, "error")  # runs of other tests fail, too
    run = server.wait_for(
        lambda line: line.get("event") == "run.ended" and (line["thread_id"], line["status"]) == failed
    )
    assert run["error"] and run["message"]


def test_quiet_shows_none_of_them() -> None:
    for mode in ("auto", "on", "off"):
        assert shown_activity(Settings(log_activity=mode), quiet=True).log_activity == "off"
    assert shown_activity(Settings(), quiet=False).log_activity == "on"
    assert shown_activity(Settings(log_activity="off"), quiet=False).log_activity == "off"


def test_the_example_can_be_talked_to_in_a_terminal(server: LiveServer) -> None:
    script = EXAMPLE.with_name("talk.py")
    lines = "hello\ntell bob@example.org that lunch is at one\nyes\n\n"
    finished = subprocess.run(
        [sys.executable, str(script), server.url], input=lines, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert finished.returncode == 0, finished.stderr
    assert "You said: hello." in finished.stdout
    assert "it wants: send_email" in finished.stdout
    assert "Sent to bob@example.org: lunch is at one" in finished.stdout


async def test_the_log_can_be_read_while_the_server_runs(server: LiveServer, client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "chat", input={"messages": [{"role": "user", "content": "hello"}]})
    words = ["log", "tail", "--no-follow", "--key", thread, "--data-dir", str(server.data)]
    finished = subprocess.run(
        [sys.executable, "-m", "langlog", *words], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert finished.returncode == 0, finished.stderr
    types = [line.split()[2] for line in finished.stdout.splitlines() if line.startswith("run-events")]
    assert types[0] == "thread.created.v1"
    for needed in (
        "run.created.v1",
        "run.started.v1",
        "checkpoint.steps.v1",
        "run.succeeded.v1",
    ):
        assert needed in types


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("x = 1\n\ndef broken(:\n    pass\n", "agent.py, line 3"),
        ("graph = 1\n", "graph"),
        ("other = 1\n", "graph"),
        ("def f():\n    raise ValueError('no key')\n\nf()\n", "agent.py, line 2"),
    ],
)
def test_a_graph_that_does_not_load_is_said_with_file_line_and_reason(tmp_path: Path, code: str, why: str) -> None:
    config = project(tmp_path / "project", code)
    words = ["dev", "--config", str(config), "--port", str(free_port()), "--data-dir", str(tmp_path / "data")]
    finished = subprocess.run(
        [sys.executable, "-m", "langlog", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "LOG_LEVEL": "warning"},
    )
    assert finished.returncode == 1
    said = finished.stderr.splitlines()[-1]
    assert said.startswith('langlog: graph "agent" (./agent.py:graph) does not load: ')
    assert why in said
    assert "agent.py" in said
    assert "graphs imported" not in finished.stderr


AUTH = """
import os
from langgraph_sdk import Auth

auth = Auth()

@auth.authenticate
async def authenticate(authorization):
    if authorization != os.environ["ADMITTED"]:
        raise Auth.exceptions.HTTPException(status_code=401, detail="{detail}")
    return authorization
"""


async def test_a_changed_file_is_loaded_again_and_a_broken_one_leaves_the_old(tmp_path: Path) -> None:
    config = project(tmp_path / "project", AGENT.format(word="before"))
    config.write_text(
        '{"graphs": {"agent": "./agent.py:graph", "env": "./env.py:graph"}, "auth": {"path": "./auth.py:auth"}, "env": ".env"}'
    )
    config.with_name("auth.py").write_text(AUTH.format(detail="first"))
    config.with_name("env.py").write_text(READING_ENV)
    config.with_name(".env").write_text("ADMITTED=alice\nDATABASE_URI=postgresql://of-the-project/db")

    def write(code: str, name: str = "agent.py") -> None:
        """In one step: half a file would be loaded too."""
        draft = tmp_path / "draft.py"
        draft.write_text(code)
        draft.replace(config.with_name(name))

    async def refused(client: LangGraphClient) -> str:
        with pytest.raises(AuthenticationError) as raised:
            await client.threads.count()
        return str(raised.value)

    port = free_port()
    words = ["dev", "--config", str(config), "--port", str(port), "--data-dir", str(tmp_path / "data")]
    server = Process("reloading", words, tmp_path)
    server.start()
    try:
        url = f"http://127.0.0.1:{port}"
        async with (
            get_client(url=url, headers={"authorization": "alice"}) as client,
            get_client(url=url, headers={"authorization": "bob"}) as other,
        ):
            assert await client.runs.wait(None, "agent", input={"word": ""}) == {"word": "before"}
            # a variable that langlog has of its own (the address of its database) is the project's in the project's code
            assert await client.runs.wait(None, "env", input={"word": ""}) == {"word": "postgresql://of-the-project/db"}
            write(AGENT.format(word="after"))
            server.wait_for(lambda event: event.get("event") == "graphs.reloaded")
            assert await client.runs.wait(None, "agent", input={"word": ""}) == {"word": "after"}
            assert await client.runs.wait(None, "env", input={"word": ""}) == {"word": "postgresql://of-the-project/db"}
            write("def broken(:\n")
            failed = server.wait_for(lambda event: event.get("event") == "graphs.reload_failed")
            assert "agent.py, line 1" in failed["error"]
            assert "stay in force" in failed["effect"]
            assert await client.runs.wait(None, "agent", input={"word": ""}) == {"word": "after"}

            # the gateway's own code, and variables
            write(AGENT.format(word="after"))
            assert "first" in await refused(other)
            write(AUTH.format(detail="second"), "auth.py")
            server.wait_for(lambda event: event.get("event") == "gateway.reloaded")
            assert "second" in await refused(other)
            write("def broken(:\n", "auth.py")
            failed = server.wait_for(lambda event: event.get("event") == "gateway.reload_failed")
            assert "stay in force" in failed["effect"]
            server.wait_for(
                lambda event: event.get("event") == "graphs.reloaded" and "stay in force" in event.get("but", "")
            )
            assert "second" in await refused(other)
            write(AUTH.format(detail="third"), "auth.py")
            write("ADMITTED=bob", ".env")
            server.wait_for(lambda event: event.get("event") == "gateway.reloaded" and ".env" in event["files"])
            assert "third" in await refused(client)
            await other.threads.count()
    finally:
        assert server.stop() == 0


def test_ctrl_c_in_a_terminal_ends_it_cleanly_with_all_it_started(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal's foreground group at once, not only langlog itself."""
    config = project(tmp_path / "project", AGENT.format(word="x"))
    words = ["dev", "--config", str(config), "--port", str(free_port()), "--data-dir", str(tmp_path / "data")]
    server = Process("interrupted", words, tmp_path)
    server.start()
    children = server.children()
    assert children
    server.signal(signal.SIGINT)
    assert server.ended() == 0  # a second signal would end it at once
    assert [x for x in children if x.is_running()] == []
    assert "Traceback" not in server.tail()
