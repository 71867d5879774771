"""A killed import continues where it was and duplicates nothing; large objects are imported in several records."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.imports.conftest import client, history, run_import
from tests.stack.command_line import TOOL_S
from tests.stack.server import LiveServer

UPDATES = 230
"""Number of updates of the long thread: more than one request accepts."""
LARGE = secrets.token_hex(2_000_000)
"""Value larger than a record of the log, even compressed."""


@pytest.fixture(scope="module")
def threads(source: LiveServer) -> list[str]:
    api = client(source).threads
    long = api.create(metadata={"graph_id": "asking"})["thread_id"]
    for n in range(UPDATES):
        api.update_state(long, {"draft": f"draft {n}"}, as_node="prepare")
    large = api.create(metadata={"graph_id": "joined"})["thread_id"]
    client(source).runs.wait(large, "joined", input={"log": [LARGE]})
    made = [long, large]
    for n in range(8):
        one = api.create(metadata={"graph_id": "asking", "n": n})["thread_id"]
        api.update_state(one, {"draft": str(n)}, as_node="prepare")
        made.append(one)
    return made


def events_of(target: LiveServer, thread_id: str) -> list[dict[str, Any]]:
    """Without bodies: types and positions."""
    import requests

    answer = requests.get(f"{target.url}/threads/{thread_id}/events?limit=1000", timeout=TOOL_S)
    assert answer.ok, answer.text
    listed: list[dict[str, Any]] = answer.json()["events"]
    return listed


def test_a_killed_import_goes_on_and_doubles_nothing(
    source: LiveServer, target: LiveServer, threads: list[str]
) -> None:
    words = ["import", "--from", source.url, "--to", target.url, "--at-once", "1"]
    first = subprocess.Popen([sys.executable, "-m", "langlog", *words], env=target.env, stdout=subprocess.DEVNULL)
    begun = client(target).threads
    deadline = time.monotonic() + TOOL_S
    while first.poll() is None and begun.count() < 1 and time.monotonic() < deadline:
        pass
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    report = run_import(source, target, "--only", "threads")
    counts = report["counts"]["threads"]
    assert counts["refused"] == 0 and counts["imported"] + counts["unchanged"] == len(threads), report
    for thread_id in threads:
        there, here = client(source).threads, client(target).threads
        if thread_id != threads[1]:
            assert here.get(thread_id) == there.get(thread_id)
        assert history(target, thread_id) == history(source, thread_id)
        made = [e for e in events_of(target, thread_id) if "thread.created" in e["type"]]
        assert len(made) == 1
    large = client(target).threads.get(threads[1])
    assert large["status"] == "interrupted" and large["values"] is None
    (said,) = report["issues"]
    assert "too large" in said["reason"] and not said["lost"]
    answered = client(target).runs.wait(threads[1], "joined", command={"resume": "B"})
    assert answered["log"] == [LARGE, "a", "b1", "answer B", "c"]
    # what has changed since comes over by the same command; what was run on here stays
    changed, run_on = threads[2], threads[3]
    client(source).threads.update_state(changed, {"draft": "later"}, as_node="prepare")
    client(source).threads.update_state(run_on, {"draft": "later"}, as_node="prepare")
    client(target).runs.create(run_on, "asking", input=None)
    later = run_import(source, target, "--only", "threads", code=1)
    assert later["counts"]["threads"] == {"imported": 1, "unchanged": len(threads) - 2, "refused": 1}
    (issue,) = later["issues"]  # the large one has had a run here too, and nothing new at the source
    assert issue["id"] == run_on and "has 1 runs here" in issue["reason"]
    assert history(target, changed) == history(source, changed)
