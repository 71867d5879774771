"""Variables of the environment that nothing reads."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from langlog.services.variables import NOT_FROM_ENV, unknown_variables
from langlog_backbone.process.environment import VARIABLES

from tests.stack.server import SURROUNDINGS

LIMIT_S = 60.0


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("LANGLOG_WORKER", "LANGLOG_WORKERS"),
        ("LANGLOG_DATADIR", "LANGLOG_DATA_DIR"),
        ("LANGLOG_DATA_DRI", "LANGLOG_DATA_DIR"),
        ("LANGLOG_KAFKA_USER_NAME", "LANGLOG_KAFKA_USERNAME"),
        ("LANGLOG_WEBHOOK_SECRETS", "LANGLOG_WEBHOOK_SECRET"),
        # without the prefix
        ("LANGLOG_PORT", "PORT"),
        ("LANGLOG_LOG_URI", "LOG_URI"),
        ("LANGLOG_DATABASE_URI", "DATABASE_URI"),
        ("LANGLOG_REDIS_URL", "REDIS_URI"),
        ("LANGLOG_LOG_LEVEL", "LOG_LEVEL"),
        ("LANGLOG_JOBS_PER_WORKER", "N_JOBS_PER_WORKER"),
        # the prefix itself
        ("LANGLGO_PROJECTION", "LANGLOG_PROJECTION"),
        ("LANG_LOG_BASE_URL", "LANGLOG_BASE_URL"),
        ("langlog_host", "LANGLOG_HOST"),
        # like no other
        ("LANGLOG_ZZZ", None),
    ],
)
def test_a_variable_that_nothing_reads_is_named_with_the_nearest_real_one(variable: str, near: str | None) -> None:
    assert list(unknown_variables({variable: "x"})) == [(variable, near)]


def test_what_is_read_and_what_is_of_others_is_not_named() -> None:
    ours = {name: "x" for names in VARIABLES.values() for name in names}
    others = (
        "LANG",
        "LANGUAGE",
        "LANGSMITH_API_KEY",
        "LANGCHAIN_TRACING_V2",
        "LANGGRAPH_AUTH",
        "LANGFUSE_HOST",
        "PATH",
    )
    assert list(unknown_variables({**ours, **dict.fromkeys(others, "x")})) == []


@pytest.mark.parametrize("command", ["dev", "gateway", "executor", "projector", "scheduler"])
def test_every_service_names_a_mistyped_variable_in_one_line(command: str) -> None:
    """The start then ends at what is missing, before any server."""
    words = ["--config", "/nonexistent/langgraph.json"] if command == "dev" else []
    run = [sys.executable, "-m", "langlog", command, *words]
    env = {**SURROUNDINGS, "LANGLOG_WORKRES": "2"}
    said = subprocess.run(run, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    lines = said.stderr.splitlines()
    assert lines[0] == "langlog: the variable 'LANGLOG_WORKRES' is not known (did you mean 'LANGLOG_WORKERS'?)"
    assert len(lines) == 2
    assert said.returncode == 1
    if command == "dev":
        said = subprocess.run(run, env=env | {"LOG_JSON": "1"}, capture_output=True, text=True, timeout=LIMIT_S)
        warned = json.loads(said.stderr.splitlines()[0])
        assert warned["event"] == "settings.unknown_variable"
        assert warned["did_you_mean"] == "LANGLOG_WORKERS"


def test_dev_names_variables_of_the_project_that_are_meant_for_langlog(tmp_path: Path) -> None:
    """Variables of the shell take effect, and are not reported."""
    config = tmp_path / "langgraph.json"
    names = ["LANGLOG_ENCRYPTION", "LANGLOG_WORKRES", "LANGLOG_DRAIN_SECS", "OPENAI_API_KEY", "PORT"]
    config.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, "env": dict.fromkeys(names, "1")}))
    run = [sys.executable, "-m", "langlog", "dev", "--config", str(config)]
    with socket.create_server(("127.0.0.1", 0)) as taken:  # which ends the start before any server
        env = {**SURROUNDINGS, "PORT": str(taken.getsockname()[1]), "LANGLOG_DRAIN_SECS": "2"}
        said = subprocess.run(run, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert said.stderr.splitlines()[:-1] == [
        f"langlog: langgraph.json: env: the variable 'LANGLOG_ENCRYPTION' has no effect: {NOT_FROM_ENV}",
        "langlog: the variable 'LANGLOG_WORKRES' is not known (did you mean 'LANGLOG_WORKERS'?)",
    ]
    assert said.returncode == 1
