"""A server with a history of everything that a log holds, and all that clients see of it."""

from __future__ import annotations

from typing import Any

import requests

from tests.erasure.conftest import MASTER
from tests.stack.command_line import TOOL_S
from tests.stack.server import LiveServer

ENCRYPTED = {"LANGLOG_ENCRYPTION": "on", "LANGLOG_MASTER_KEY": MASTER}


def call(server: LiveServer, method: str, path: str, body: Any = None) -> Any:
    answer = requests.request(method, server.url + path, json=body, timeout=TOOL_S)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


class Lived:
    """Objects created on a server, by ids that are valid on its copies."""

    def __init__(self, server: LiveServer) -> None:
        self.threads: list[str] = []
        self.live(server)
        self.asking: str = call(server, "POST", "/threads", {"metadata": {"kind": "asking"}})["thread_id"]
        self.threads.append(self.asking)
        asked = call(
            server, "POST", f"/threads/{self.asking}/runs/wait", {"assistant_id": "asking", "input": {"messages": []}}
        )
        assert asked["__interrupt__"]
        assistant = call(server, "POST", "/assistants", {"graph_id": "echo", "name": "first"})["assistant_id"]
        call(server, "PATCH", f"/assistants/{assistant}", {"name": "second"})
        self.assistant: str = assistant
        for n in range(3):
            call(server, "PUT", "/store/items", {"namespace": ["users", str(n)], "key": "likes", "value": {"n": n}})
        cron = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {"text": "new year"}}
        call(server, "POST", "/runs/crons", cron)
        gone = call(server, "POST", "/threads", {})["thread_id"]
        call(server, "DELETE", f"/threads/{gone}")

    def live(self, server: LiveServer) -> str:
        """Create one more thread with a run of several checkpoints."""
        thread: str = call(server, "POST", "/threads", {"metadata": {"n": len(self.threads)}})["thread_id"]
        text = f"hello {len(self.threads)}"
        call(server, "POST", f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": text}})
        self.threads.append(thread)
        return thread

    def seen(self, server: LiveServer) -> dict[str, Any]:
        """Return all of it as the API shows it."""
        seen: dict[str, Any] = {
            "threads": sorted(
                call(server, "POST", "/threads/search", {"limit": 1000}), key=lambda t: str(t["thread_id"])
            ),
            "assistants": sorted(
                call(server, "POST", "/assistants/search", {"limit": 1000}), key=lambda a: str(a["assistant_id"])
            ),
            "versions": call(server, "POST", f"/assistants/{self.assistant}/versions", {}),
            "items": call(server, "POST", "/store/items/search", {"namespace_prefix": [], "limit": 100}),
            "crons": call(server, "POST", "/runs/crons/search", {}),
        }
        for thread in self.threads:
            seen[f"state {thread}"] = call(server, "GET", f"/threads/{thread}/state")
            seen[f"history {thread}"] = call(server, "POST", f"/threads/{thread}/history", {"limit": 100})
            seen[f"runs {thread}"] = call(server, "GET", f"/threads/{thread}/runs")
        return seen

    def go_on(self, server: LiveServer) -> None:
        """Answer the question that was open, and run on where a thread was."""
        answer = {"assistant_id": "asking", "command": {"resume": {"approved": True}}}
        done = call(server, "POST", f"/threads/{self.asking}/runs/wait", answer)
        assert done["answers"] == [{"approved": True, "why": ""}]
        call(
            server,
            "POST",
            f"/threads/{self.threads[0]}/runs/wait",
            {"assistant_id": "echo", "input": {"text": "once more"}},
        )
        self.live(server)
