"""Output of `langlog dev` while it starts: a line that changes on a terminal, plain lines elsewhere, events in JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time

from langlog_projector.service import FirstFold

from tests.stack.server import SURROUNDINGS

LIMIT_S = 60.0

CODE = """
import sys
from langlog.services.progress import StartProgress
from langlog_backbone.process.logging import configure_logging
from langlog_backbone.process.settings import Settings
import structlog

in_json, lines = sys.argv[1] == "json", []
configure_logging(Settings(log_json=in_json))
with StartProgress(json=in_json) as progress:
    with progress.step("starting Postgres", "Postgres started"):
        sys.stdin.readline()
        structlog.get_logger().info("something.else")
    with progress.step("loading", ""):
        pass
    try:
        with progress.step("starting Redis", "Redis started"):
            raise OSError
    except OSError:
        pass
print("up")
"""


def test_a_pipe_gets_a_plain_line_for_each_step_that_ended() -> None:
    said = subprocess.run(
        [sys.executable, "-c", CODE, "text"],
        env=SURROUNDINGS,
        input="\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    (step,) = [line for line in said.stderr.splitlines() if "something.else" not in line]
    assert step.split() == ["Postgres", "started", *step.split()[2:]]
    assert step.endswith(" s")
    assert not {"\r", "\x1b"} & set(said.stderr)


def test_json_logs_get_an_event_for_each_step() -> None:
    said = subprocess.run(
        [sys.executable, "-c", CODE, "json"],
        env=SURROUNDINGS,
        input="\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    events = [json.loads(line) for line in said.stderr.splitlines()]
    (step,) = [event for event in events if event["event"] == "start.step"]
    assert step["done"] == "Postgres started"
    assert step["seconds"] >= 0


def test_a_terminal_sees_what_is_under_way_and_log_lines_take_its_place() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "text"], env=SURROUNDINGS, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    assert process.stdin is not None
    said = b""
    until = time.monotonic() + LIMIT_S
    try:
        while said.count(b"starting Postgres") < 3 and time.monotonic() < until:
            said += os.read(ours, 10_000)
        process.stdin.write(b"\n")
        process.stdin.flush()
        while b"up" not in said and time.monotonic() < until:
            said += os.read(ours, 10_000)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    # what stands on the terminal at the end: what a carriage return and an erasure have left
    shown = [line.rpartition("\r\x1b[K")[2].rstrip("\r") for line in said.decode().split("\n")]
    assert "something.else" in shown[0]
    assert "starting" not in "".join(shown)
    assert shown[1].startswith("  Postgres started")
    assert shown[2].startswith("up")


def test_the_first_fold_is_counted_until_nothing_is_left() -> None:
    fold = FirstFold()
    fold.left(0)
    assert (fold.events, fold.unfolded, fold.seconds) == (0, 0, 0.0)
    fold.left(100)
    fold.left(40)
    assert (fold.events, fold.unfolded) == (100, 40)
    fold.left(0)
    took = fold.seconds
    fold.left(0)
    assert (fold.events, fold.unfolded, fold.seconds) == (100, 0, took)
