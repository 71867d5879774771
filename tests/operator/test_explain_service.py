"""`langlog why SERVICE`: what it concludes from the facts, offline and through the operator API."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from langlog.main import cli
from langlog_backbone.operation.explain_service import SERVICES, Facts, Late, ServiceName, explain
from langlog_backbone.operation.health import Finding, GroupView, SystemHealth
from langlog_backbone.redis.memory import RedisMemory
from langlog_schemas.messages import ProcessInfo, Trouble

from tests.e2e.conftest import PROJECT
from tests.stack.server import LiveServer

NOW = 1_800_000_000_000
LIMIT_S = 120


def process(*trouble: Trouble, **services: str | None) -> ProcessInfo:
    return ProcessInfo(
        host="h",
        pid=7,
        version="1",
        started_ms=NOW - 600_000,
        reported_ms=NOW,
        services=services,
        trouble=list(trouble),
    )


ALL = process(**dict.fromkeys(("gateway", "decider", "projector", "scheduler", "workers")))


def group(name: str, topic: str, lag: int) -> GroupView:
    return GroupView(
        name, topic, partitions=8, partitions_behind=min(lag, 8), position=50_000 - lag, end=50_000, lag=lag
    )


def facts(
    *findings: Finding,
    processes: list[ProcessInfo] | None = None,
    groups: list[GroupView] | None = None,
    late: Late | None = None,
    memory: RedisMemory | None = None,
    **members: Any,
) -> Facts:
    values = {
        "runs": None,
        "queued": 0,
        "workers": [],
        "parked_keys": 0,
        "parked_records": 0,
        "webhooks": [],
        "webhooks_waiting": 0,
    }
    health = SystemHealth(
        at="now",
        ready=True,
        findings=list(findings),
        processes=[ALL] if processes is None else processes,
        groups=[] if groups is None else groups,
        **(values | members),
    )
    return Facts(health, late, memory, NOW)


AWAY = Finding("error", "Redis is unavailable (ConnectionError)", "redis")
TROUBLE = Trouble(loop="projector", dependency="postgres", failures=3, last_error="TimeoutError", last_ms=NOW - 12_000)

CASES: list[tuple[ServiceName, Facts, str]] = [
    (
        "projector",
        facts(processes=[process(decider=None)]),
        "No process that runs a projector has reported lately: start one (langlog projector)",
    ),
    ("workers", facts(processes=[]), "No process that runs workers has reported lately: start one (langlog executor)"),
    (
        "projector",
        facts(processes=[process(projector="Postgres is unavailable since 9 s (TimeoutError)")]),
        "The projector on h (process 7) is not ready: Postgres is unavailable since 9 s (TimeoutError). Repair that server",
    ),
    (
        "decider",
        facts(processes=[process(decider="it waits for the projector in 3 partitions")]),
        "Next, run: langlog why projector.",
    ),
    (
        "projector",
        facts(processes=[process(projector="12 events from before its start are not folded yet")]),
        "It catches up after its start",
    ),
    (
        "projector",
        facts(groups=[group("projection langlog_v5", "run-events", 4_000)]),
        "4,000 records of run-events are not folded yet.",
    ),
    ("decider", facts(groups=[group("deciders", "commands", 2_000)]), "2,000 records of commands are not decided yet."),
    (
        "decider",
        facts(parked_keys=2, parked_records=9),
        "2 keys are parked behind records that cannot be handled; 9 records wait.",
    ),
    ("gateway", facts(AWAY, processes=None).__class__(facts(AWAY).health, None, None, NOW), "The gateway is well."),
    ("scheduler", facts(late=Late(4, 90.0, 0, 0.0)), "A webhook is overdue by 90 s, and 4 deliveries wait"),
    ("scheduler", facts(late=Late(0, 0.0, 3, 45.0)), "3 crons are due, the oldest for 45 s."),
    (
        "workers",
        facts(Finding("error", "No worker is alive. Start an executor.", "workers")),
        "No worker is alive. Start an executor.",
    ),
    ("redis", facts(AWAY), "Redis is unavailable (ConnectionError) Runs under way continue;"),
    ("redis", facts(memory=RedisMemory(95, 100, "noeviction")), "Redis uses 95% of its memory"),
    (
        "postgres",
        facts(processes=[process(projector="Postgres has not answered for 11 s")]),
        "The projector on h (process 7) does not reach it",
    ),
    ("log", facts(), "The log is well."),
    (
        "executor",
        facts(processes=[process(decider="it has not started", workers=None)]),
        "The decider on h (process 7) is not ready",
    ),
]


@pytest.mark.parametrize(
    ("service", "given", "expected"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_the_first_sentence_is_the_verdict(service: ServiceName, given: Facts, expected: str) -> None:
    well, lines = explain(service, given)
    assert expected in lines[0], lines
    assert well == lines[0].endswith(" well.")


def test_every_service_is_well_when_nothing_is_wrong() -> None:
    for service in SERVICES:
        well, lines = explain(service, facts(groups=[group("analytics", "run-events", 40_000)]))
        assert well, lines


def test_details_name_recent_failures_and_what_is_to_go() -> None:
    behind = [group("projection langlog_v5", "run-events", 7)]
    _, lines = explain("projector", facts(processes=[process(TROUBLE, projector=None)], groups=behind))
    assert (
        "projector on h (process 7) last failed to reach postgres 12 s ago (TimeoutError); 3 failures since its start."
        in lines
    )
    assert "run-events: 7 of 50,000 records to go, in 7 of 8 partitions." in lines
    assert any("up for 10 min" in line for line in lines)


def test_without_redis_it_says_that_processes_are_not_known() -> None:
    health = facts(AWAY).health
    unknown = Facts(
        SystemHealth(**{**{f: getattr(health, f) for f in health.__struct_fields__}, "processes": None}),
        None,
        None,
        NOW,
    )
    well, lines = explain("gateway", unknown)
    assert not well and "Which processes run is not known without it" in lines[0]


def test_another_word_is_neither_a_run_nor_a_service() -> None:
    done = CliRunner().invoke(cli, ["why", "projectors"])
    assert done.exit_code == 2 and "is not an id" in done.output


def until_well(server: LiveServer, service: str) -> None:
    """Ask until it is: what a process has reported of its start stands for seconds."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        answer = requests.get(f"{server.url}/operator/services/{service}/why", timeout=LIMIT_S)
        assert answer.status_code == 200
        if answer.json()["well"]:
            return
        assert time.monotonic() < deadline, answer.json()
        time.sleep(0.2)


@pytest.mark.timeout(600)
def test_a_server_explains_its_services(tmp_path: Path) -> None:
    with LiveServer(PROJECT, tmp_path).up(verified=False) as server:
        for service in SERVICES:
            until_well(server, service)
        answer = requests.get(f"{server.url}/operator/services/queue/why", timeout=LIMIT_S)
        assert (answer.status_code, "name one of gateway" in answer.json()["detail"]) == (404, True)
        health = requests.get(f"{server.url}/operator/health", timeout=LIMIT_S).json()
        (one,) = health["processes"]
        assert one["pid"] == server.pid and {"gateway", "decider", "workers"} <= one["services"].keys()
        done = subprocess.run(
            [sys.executable, "-m", "langlog", "why", "projector", "--data-dir", str(server.data)],
            env=server.env,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "The projector is well."), (
            done.stdout + done.stderr
        )
