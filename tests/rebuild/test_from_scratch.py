"""A log and a read model that do not belong together: every service reports it in a line, and `rebuild --from-scratch` repairs it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import PROJECT
from tests.stack.command_line import langlog, langlog_here
from tests.stack.server import LiveServer, kafka_env

LIMIT_S = 180.0


def call(server: LiveServer, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, server.url + path, json=body, timeout=LIMIT_S)


def lived(server: LiveServer) -> str:
    thread: str = call(server, "POST", "/threads", {}).json()["thread_id"]
    answer = call(server, "POST", f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": "hello"}})
    assert answer.ok, answer.text
    return thread


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_an_older_log_under_a_newer_read_model_is_said_in_a_line_and_can_be_gone_by(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    env = kafka_env(request.getfixturevalue("kafka")) if kind == "kafka" else {}
    server = LiveServer(PROJECT, tmp_path, env)
    file, copy = server.data / "log.sqlite", tmp_path / "copy.sqlite"
    with server.up():
        old = lived(server)
        if kind == "sqlite":
            with contextlib.closing(sqlite3.connect(file)) as now, contextlib.closing(sqlite3.connect(copy)) as then:
                now.backup(then)
        new = [lived(server) for _ in range(3)]
    if kind == "sqlite":
        for path in (file, file.with_name("log.sqlite-wal"), file.with_name("log.sqlite-shm")):
            path.unlink(missing_ok=True)
        copy.rename(file)
    else:
        server.env |= kafka_env(request.getfixturevalue("kafka"))  # other topics, with nothing in them

    with pytest.raises(RuntimeError, match="ended with 1") as refused:
        server.start()
    (said,) = [line for line in str(refused.value).splitlines() if line.startswith("langlog: ")]
    assert "was folded from another log, or from a newer copy of this one" in said
    assert "langlog rebuild --from-scratch" in said and "Traceback" not in str(refused.value)
    for words in (["verify"], ["rebuild"], ["log", "show", old], ["log", "cut", "--before", "2d", "--dry"]):
        done = langlog(server, *words)
        assert done.code == 1 and done.err.splitlines()[-1] == said, done
        assert "Traceback" not in done.err
    groups = langlog_here(server, "log", "groups")
    assert groups.code == 0 and said in groups.err and "run-events" in groups.out

    mended = langlog(server, "rebuild", "--from-scratch")
    assert mended.code == 0 and "is the new one. The one before is kept" in mended.out, mended
    back = langlog(server, "rebuild", "--rollback")
    assert back.code == 1 and "cannot be brought up to date" in back.err, back
    with server.up():  # and verified at its end
        there = call(server, "GET", f"/threads/{old}")
        assert there.status_code == (200 if kind == "sqlite" else 404)
        assert {call(server, "GET", f"/threads/{thread}").status_code for thread in new} == {404}
        lived(server)
        again = langlog(server, "rebuild", "--from-scratch")
        assert again.code == 0 and "No differences." in again.out, again
        lived(server)
