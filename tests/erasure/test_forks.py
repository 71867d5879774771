"""A fork is sealed under the key of its own thread: it stays readable when the thread that it came from is erased."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.stack.server import LiveServer

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.json"
LIMIT_S = 120.0


@pytest.mark.slow
def test_a_fork_outlives_the_thread_that_it_came_from(tmp_path: Path) -> None:
    with LiveServer(PROJECT, tmp_path, {"LANGLOG_ENCRYPTION": "on"}).up() as server:

        def post(path: str, body: object) -> dict[str, object]:
            answer = requests.post(server.url + path, json=body, timeout=LIMIT_S)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        thread = post("/threads", {})["thread_id"]
        asked = {"assistant_id": "interrupting", "input": {"draft": "a secret"}}
        post(f"/threads/{thread}/runs/wait", asked)
        fork = post(f"/threads/{thread}/fork", {})["thread_id"]
        assert requests.delete(f"{server.url}/threads/{thread}", timeout=LIMIT_S).status_code == 204
        state = requests.get(f"{server.url}/threads/{fork}/state", timeout=LIMIT_S).json()
        assert state["values"]["draft"] == "draft of a secret"
        answered = {"assistant_id": "interrupting", "command": {"resume": "yes"}}
        assert post(f"/threads/{fork}/runs/wait", answered)["final"] == "draft of a secret -> yes"
        page = requests.get(f"{server.url}/threads/{fork}/events?type=thread.state_updated", timeout=LIMIT_S).json()
        assert page["events"] and all(event["data"] is not None for event in page["events"])
