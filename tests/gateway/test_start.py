"""Checks of a gateway before it listens."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_gateway.http.options import AuthOptions, HttpOptions, Options, read_options
from langlog_gateway.service import check_exposure

OPEN = Options(None, HttpOptions(), AuthOptions(), "")
GUARDED = Options(None, HttpOptions(), AuthOptions(path="./auth.py:auth"), "")


def test_a_gateway_that_everybody_reaches_and_nobody_guards_warns_or_does_not_start() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.5", "agents.internal", ""):
        with structlog.testing.capture_logs() as said:
            check_exposure(Settings(host=host), OPEN)
        assert [(line["event"], line["log_level"]) for line in said] == [("gateway.unauthenticated", "warning")], host
        with pytest.raises(StartError, match="LANGLOG_ALLOW_UNAUTHENTICATED"):
            check_exposure(Settings(host=host, production=True), OPEN)


def test_a_guarded_gateway_and_one_of_this_machine_start_without_a_word() -> None:
    with structlog.testing.capture_logs() as said:
        for production in (False, True):
            check_exposure(Settings(host="0.0.0.0", production=production), GUARDED)
            check_exposure(Settings(host="0.0.0.0", production=production, allow_unauthenticated=True), OPEN)
            for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
                check_exposure(Settings(host=host, production=production), OPEN)
    assert said == []


def test_a_gateway_has_a_project_or_is_told_that_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError, match="--no-project"):
        read_options(Settings(), {})
    assert read_options(Settings(no_project=True), {}).project is None
    (tmp_path / "langgraph.json").write_text('{"graphs": {"g": "./g.py:g"}, "auth": {"path": "./a.py:a"}}')
    for no_project in (False, True):
        assert read_options(Settings(no_project=no_project), {}).auth.path == "./a.py:a"
