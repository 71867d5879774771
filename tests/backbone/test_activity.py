"""Lines about requests and runs: content, level, and that clients cannot forge one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from langlog_backbone.process.activity import Activity
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.logging import configure_logging
from langlog_backbone.process.settings import Settings


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    config = structlog.get_config()
    yield
    structlog.configure(**config)


def logged(settings: Settings, *, json_lines: bool = False) -> tuple[Activity, io.StringIO]:
    from msgspec.structs import replace

    stream = io.StringIO()
    configure_logging(replace(settings, log_json=json_lines), stream=stream)
    return Activity(settings), stream


ON = Settings(log_activity="on")
RUN: dict[str, Any] = {"graph_id": "agent", "thread_id": "t", "run_id": "r", "attempt": 1, "seconds": 1.25}


def test_a_request_is_one_line_without_its_query() -> None:
    activity, stream = logged(ON)
    activity.request("POST", "/threads/x/runs/wait?key=secret", 200, 0.0123)
    (line,) = stream.getvalue().splitlines()
    assert "POST   /threads/x/runs/wait 200 12 ms" in line and "secret" not in line


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("http://ann:secret@127.0.0.1:2024/threads?key=secret", "/threads"),
        ("/ok2#secret", "/ok2"),
        ("//secret", "//secret"),
        ("/a\x1b[2J\u009b31m\u202e\nline", "/a\\x1b[2J\\x9b31m\\u202e line"),
    ],
)
def test_a_path_shows_no_user_no_fragment_and_no_control_characters(target: str, shown: str) -> None:
    activity, stream = logged(ON)
    activity.request("GET", target, 404, 0.001)
    (line,) = stream.getvalue().splitlines()
    assert f"GET    {shown} 404 1 ms" in line


def test_a_run_is_one_line_with_its_error() -> None:
    activity, stream = logged(ON)
    activity.run(**RUN, status="success")
    activity.run(**{**RUN, "attempt": 2}, status="error", error="ValueError", message="no key\nTraceback \x1b[31mred")
    good, bad = stream.getvalue().splitlines()
    assert "run    agent success 1.2 s  thread t  run r" in good
    assert "agent error (attempt 2) 1.2 s" in bad and bad.rstrip().endswith("ValueError: no key Traceback \\x1b[31mred")


def test_in_json_each_part_is_a_member() -> None:
    activity, stream = logged(ON, json_lines=True)
    activity.request("GET", "/info", 200, 0.0123)
    activity.run(**RUN, status="error", error="KeyError", message="x")
    request, run = map(json.loads, stream.getvalue().splitlines())
    assert {
        "event": "http.request",
        "method": "GET",
        "path": "/info",
        "status": 200,
        "ms": 12.3,
    }.items() <= request.items()
    assert {
        "event": "run.ended",
        "graph_id": "agent",
        "status": "error",
        "error": "KeyError",
        "ms": 1250.0,
    }.items() <= run.items()


@pytest.mark.parametrize(
    ("mode", "level", "lines"), [("auto", "info", 0), ("auto", "debug", 3), ("on", "info", 2), ("off", "debug", 0)]
)
def test_services_show_them_at_debug_alone_and_probes_never_at_info(mode: str, level: str, lines: int) -> None:
    activity, stream = logged(read_settings({"LANGLOG_LOG_ACTIVITY": mode, "LOG_LEVEL": level}))
    activity.request("GET", "/ok", 200, 0.001)
    activity.request("GET", "/info", 200, 0.001)
    activity.run(**RUN, status="success")
    assert len(stream.getvalue().splitlines()) == lines


def test_no_line_is_longer_than_its_bounds() -> None:
    activity, stream = logged(ON)
    activity.request("GET", "/" + "x" * 10_000, 404, 0.001)
    activity.run(**RUN, status="error", error="E", message="y" * 10_000)
    assert all(len(line) < 700 for line in stream.getvalue().splitlines())


def test_no_color_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        stream = Terminal()
        configure_logging(ON, stream=stream)
        Activity(ON).request("GET", "/info", 200, 0.001)
        assert ("\x1b" in stream.getvalue()) is coloured


def test_a_refused_request_says_why_in_the_terminal_alone() -> None:
    activity, stream = logged(ON)
    assert activity.shows_reasons
    activity.request("POST", "/runs", 422, 0.001, "Invalid assistant: \x1b[31m'x'\nMust be " + "a" * 1_000)
    (line,) = stream.getvalue().splitlines()
    assert "POST   /runs 422 1 ms  Invalid assistant: \\x1b[31m'x' Must be aaa" in line and len(line) < 500
    assert not Activity(Settings(log_activity="auto")).shows_reasons
