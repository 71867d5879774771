"""The events of an encrypted thread for permitted callers, before and after it is erased; on both logs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests

from tests.audit.test_tools import PROJECT
from tests.erasure.conftest import MASTER
from tests.stack.server import LiveServer, kafka_env

MARKER = "MARKER-OF-JUNE-41C2"
LIMIT_S = 180.0
SEALED_FROM_US = "LANGLOG_MASTER_KEY is needed"


class Scene(NamedTuple):
    server: LiveServer

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, self.server.url + path, json=body, timeout=LIMIT_S)

    def langlog(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "langlog", *words, "--data-dir", str(self.server.data)],
            env={**self.server.env, "LOG_LEVEL": "error", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {"LANGLOG_PARTITIONS": "4"}
    env |= {"LANGLOG_ENCRYPTION": "on", "LANGLOG_MASTER_KEY": MASTER}
    with LiveServer(PROJECT, tmp_path_factory.mktemp(f"sealed-{request.param}"), env).up() as server:
        yield Scene(server)


def test_it_is_told_while_the_thread_is_there_and_its_shape_alone_afterwards(scene: Scene) -> None:
    thread = scene.call("POST", "/threads", {"metadata": {"name": MARKER}}).json()["thread_id"]
    run = (
        scene.call(
            "POST", f"/threads/{thread}/runs/wait", {"assistant_id": "steps", "input": {"total": 1, "notes": [MARKER]}}
        )
        .headers["content-location"]
        .rpartition("/")[2]
    )

    answer = scene.call("GET", f"/threads/{thread}/events?limit=1000").json()["events"]
    assert MARKER in json.dumps(answer) and {e["type"] for e in answer} >= {
        "langlog.thread.created.v1",
        "langlog.run.succeeded.v1",
    }
    shown = scene.langlog("log", "show", run)
    assert shown.returncode == 0 and "succeeded" in shown.stdout, shown
    for words in (("log", "export", "--thread", thread), ("log", "tail", "--no-follow", "--json", "--key", thread)):
        finished = scene.langlog(*words)
        assert finished.returncode == 0 and MARKER in finished.stdout, finished
        without = scene.langlog(*words, LANGLOG_MASTER_KEY="")
        assert without.returncode == 1 and SEALED_FROM_US in without.stderr and MARKER not in without.stdout, without
    state = scene.langlog("log", "state", thread)
    assert state.returncode == 0 and MARKER in state.stdout, state

    assert scene.call("DELETE", f"/threads/{thread}").status_code == 204
    assert scene.call("GET", f"/threads/{thread}/events").status_code == 404
    assert scene.call("GET", f"/threads/{thread}/runs/{run}/events").status_code == 404
    exported = scene.langlog("log", "export", "--thread", thread)
    assert exported.returncode == 0 and MARKER not in exported.stdout, exported
    records = [json.loads(line) for line in exported.stdout.splitlines()]
    gone = [record for record in records if "ll_erased" in record["headers"]]
    assert {record["type"] for record in gone} >= {"thread.created.v1", "run.created.v1", "run.succeeded.v1"}
    assert all(record["data"] is None for record in gone)
    assert {record["type"] for record in records if record not in gone} == {"thread.delete.v1", "thread.deleted.v1"}
    for words, said in (
        (("log", "show", run), f"there is no run {run}"),
        (("log", "state", thread), f"there is no thread {thread}"),
    ):
        finished = scene.langlog(*words)
        assert finished.returncode == 1 and said in finished.stderr and "Traceback" not in finished.stderr, finished
