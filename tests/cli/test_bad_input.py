"""Errors at the start are one clear line on stderr, and the process ends with 1 (usage: 2)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from tests.stack.ends import await_ends
from tests.stack.server import OWN, free_port

LIMIT_S = 180.0
EXAMPLE = Path(__file__).parents[2] / "examples" / "chat" / "langgraph.json"
SERVICES = ("gateway", "executor", "projector", "scheduler")


def langlog(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in OWN and not k.startswith("LANGLOG_")}
    return subprocess.run(
        [sys.executable, "-m", "langlog", *words],
        env=clean | env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def refused(finished: subprocess.CompletedProcess[str]) -> str:
    """Return its one line of output."""
    assert finished.returncode == 1, finished
    assert finished.stdout == ""
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("langlog: ")
    return lines[0].removeprefix("langlog: ")


def await_nothing_left(folder: Path) -> None:
    """Wait until no process works in the folder: what was ended by force leaves servers that end a moment later."""
    await_ends(p.pid for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or ()))


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    finished = langlog(tmp_path, "--version")
    assert finished.returncode == 0
    assert version("langlog") in finished.stdout


@pytest.mark.parametrize("words", [["dve"], ["dev", "--nonsense"], ["dev", "--port", "x"], ["dev", "--workers", "0"]])
def test_wrong_usage_ends_with_2(tmp_path: Path, words: list[str]) -> None:
    assert langlog(tmp_path, *words).returncode == 2


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    assert refused(langlog(tmp_path, "dev")) == "langgraph.json does not exist (give it with --config)"
    assert "nowhere.json does not exist" in refused(langlog(tmp_path, "dev", "--config", "nowhere.json"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not valid JSON"),
        ("{graphs}", "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "'graphs' must be an object with at least one graph"),
        ('{"graphs": {"a": "agent"}}', "graph 'a'"),
    ],
)
def test_a_configuration_file_that_is_none_is_named_with_the_fault(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "langgraph.json").write_text(text)
    said = refused(langlog(tmp_path, "dev", "--port", str(free_port())))
    assert "langgraph.json" in said
    assert why in said


def test_a_port_that_is_taken_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(langlog(tmp_path, "dev", "--config", str(EXAMPLE), "--port", port))
        assert said == f"port {port} on 127.0.0.1 is in use (choose another with --port)"
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    said = refused(langlog(tmp_path, "dev", "--config", str(EXAMPLE), "--host", "192.0.2.1"))
    assert said.startswith("cannot bind 192.0.2.1:") and "--host" in said


BROKEN = """
import sys, threading
import langlog_gateway.core, langlog_backbone.process.service, langlog.services.running
from langlog.main import main

langlog_backbone.process.service.FAILED_START_S = langlog.services.running.LAST_RESORT_S = 1.0
start = langlog_gateway.core.Core.start

async def broken(core):
    threading.Thread(target=threading.Event().wait).start()
    core.background(__import__("asyncio").Event().wait())
    await start(core)
    raise RuntimeError("nobody foresaw this")

langlog_gateway.core.Core.start = broken
main()
"""


def test_a_start_that_fails_unforeseen_ends_within_seconds_whatever_it_has_begun(tmp_path: Path) -> None:
    words = ["dev", "--config", str(EXAMPLE), "--port", str(free_port()), "--no-reload"]
    finished = subprocess.run(
        [sys.executable, "-c", BROKEN, *words], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert finished.returncode == 1
    said = [line for line in finished.stderr.splitlines() if line.startswith("langlog: ")]
    # (a busy machine may take longer than the second that it has left)
    assert said[0].removesuffix(" (ended by force)") == (
        "langlog: gateway does not start: RuntimeError: nobody foresaw this"
    )
    await_nothing_left(tmp_path)


def test_own_code_that_exits_while_it_is_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text("raise SystemExit(0)")
    config = {"graphs": {"chat": f"{EXAMPLE.parent}/agent.py:graph"}, "http": {"app": "./web.py:app"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(config))
    finished = langlog(tmp_path, "dev", "--port", str(free_port()), "--no-reload")
    assert finished.returncode == 1
    assert "http.app: './web.py:app' cannot be loaded: SystemExit" in finished.stderr.splitlines()[-1]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_alone_says_which_variables_it_lacks(tmp_path: Path, service: str) -> None:
    assert "LOG_URI and DATABASE_URI and REDIS_URI must be set" in refused(langlog(tmp_path, service))
    said = refused(langlog(tmp_path, service, LOG_URI="kafka://127.0.0.1:1", REDIS_URI="redis://127.0.0.1:1"))
    assert said.startswith("DATABASE_URI must be set")


@pytest.mark.parametrize("service", SERVICES)
def test_redis_that_cannot_be_reached_is_said_at_once(tmp_path: Path, service: str) -> None:
    uris = {
        "LOG_URI": f"sqlite://{tmp_path}/log.sqlite",
        "DATABASE_URI": "postgresql://nobody@127.0.0.1:1/nothing",
        "REDIS_URI": "redis://127.0.0.1:1/0",
        "PORT": str(free_port()),
        "LANGLOG_PROJECT": str(EXAMPLE),
    }
    assert refused(langlog(tmp_path, service, **uris)).startswith("Redis cannot be reached (REDIS_URI)")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ({"REDIS_URI": "redis://127.0.0.1:1/0"}, "Redis cannot be reached (REDIS_URI)"),
        ({"REDIS_URI": "redis.example"}, "REDIS_URI: "),
        ({"DATABASE_URI": "postgresql://nobody@127.0.0.1:1/nothing"}, "Postgres cannot be reached (DATABASE_URI)"),
        ({"DATABASE_URI": "postgres.example"}, "Postgres cannot be reached (DATABASE_URI)"),
        ({"LOG_URI": "kafka://127.0.0.1:1"}, "Kafka cannot be reached (LOG_URI"),
        ({"LOG_URI": "mysql://localhost"}, "LOG_URI must begin with sqlite:/// or kafka://"),
    ],
    ids=lambda x: "-".join(x.values()) if isinstance(x, dict) else "",
)
def test_a_server_that_is_not_there_is_named_and_nothing_is_left_running(
    tmp_path: Path, uri: dict[str, str], why: str
) -> None:
    words = ["dev", "--config", str(EXAMPLE), "--port", str(free_port()), "--data-dir", "data"]
    finished = langlog(tmp_path, *words, **uri)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith(f"langlog: {why}")
    assert "Traceback" not in finished.stderr
    await_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("variable", "text"), [("LOG_LEVEL", "loud"), ("PORT", "many"), ("LOG_JSON", "perhaps"), ("LANGLOG_WORKERS", "two")]
)
def test_a_variable_that_holds_nonsense_is_named(tmp_path: Path, variable: str, text: str) -> None:
    said = refused(langlog(tmp_path, "projector", **{variable: text}))
    assert variable in said
    assert text in said


def test_a_log_of_another_kind_is_refused(tmp_path: Path) -> None:
    said = refused(langlog(tmp_path, "log", "tail", LOG_URI="mysql://localhost"))
    assert said == "LOG_URI must begin with sqlite:/// or kafka://, not mysql:"


URIS = {
    "LOG_URI": "sqlite:///log.db",
    "DATABASE_URI": "postgresql://nobody@127.0.0.1:1/x",
    "REDIS_URI": "redis://127.0.0.1:1",
}


@pytest.mark.parametrize("words", [["gateway"], ["executor"], ["executor", "--role", "decider"]])
def test_a_gateway_or_executor_without_a_project_does_not_start(tmp_path: Path, words: list[str]) -> None:
    said = refused(langlog(tmp_path, *words, **URIS))
    assert said.startswith("langgraph.json does not exist") and "--no-project" in said
    (tmp_path / "langgraph.json").write_text("{")
    for more in ([], ["--no-project"] if words != ["executor"] else []):
        assert "langgraph.json is not valid JSON" in refused(langlog(tmp_path, *words, *more, **URIS))
    missing = langlog(tmp_path, *words, LANGLOG_PROJECT="elsewhere.json", LANGLOG_NO_PROJECT="true", **URIS)
    assert "elsewhere.json does not exist" in refused(missing)


def test_a_scheduler_does_not_start_without_the_project_that_was_named(tmp_path: Path) -> None:
    assert "elsewhere.json does not exist" in refused(
        langlog(tmp_path, "scheduler", "--config", "elsewhere.json", **URIS)
    )


def test_workers_cannot_do_without_a_project(tmp_path: Path) -> None:
    finished = langlog(tmp_path, "executor", "--no-project", **URIS)
    assert finished.returncode == 2 and "--role decider" in finished.stderr
