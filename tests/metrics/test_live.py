"""Metrics of real servers: one scrape shows every process, on both logs, and what happened is counted."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langlog_backbone.metrics.table import TABLE

from tests.e2e.conftest import PROJECT
from tests.metrics.scraping import Scrape, scrape
from tests.stack.server import LiveServer, kafka_env

pytestmark = pytest.mark.timeout(600)
LIMIT_S = 120.0


async def test_one_scrape_shows_all_services_and_worker_processes(
    log_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    env = kafka_env(request.getfixturevalue("kafka")) if log_kind == "kafka" else {}
    with LiveServer(PROJECT, tmp_path, env, "--workers", "2").up() as server:
        async with get_client(url=server.url) as client:
            thread = (await client.threads.create())["thread_id"]
            await client.runs.wait(thread, "interrupting", input={"draft": "x"})
            await client.runs.wait(None, "echo", input={"text": "a"}, raise_error=False)
            async for _ in client.runs.stream(None, "memory", input={"user": "ada"}):
                pass
            first = await asyncio.to_thread(_scrape_of_what_happened, server)
            assert {
                f"{name}_total" if family.type == "counter" else name for name, family in first.families.items()
            } == set(TABLE)
            _runs_are_counted(first)
            _services_are_shown(first, log_kind)
            worker = server.workers()[0]
            worker.send_signal(signal.SIGKILL)
            died: Any = lambda event: event.get("event") == "worker.died"  # noqa: E731
            server.wait_for(died)
            second = scrape(server.url)
            for name in (
                "langlog_attempts_ended_total",
                "langlog_queue_wait_seconds_count",
                "langlog_log_records_appended_total",
            ):
                assert second.value(name) >= first.value(name), "counters do not go back when a worker dies"


def _scrape_of_what_happened(server: LiveServer) -> Scrape:
    """A worker counts after its client has got the answer, and one that is busy is left out of a scrape."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        read = scrape(server.url)
        counted = [
            read.value(f"langlog_{what}_ended_total", graph=graph) >= 1
            for what in ("attempts", "runs")
            for graph in ("interrupting", "memory")
        ]
        if all(counted) and read.value("langlog_worker_processes") == 2 and not read.value("langlog_streams_open"):
            return read
        assert time.monotonic() < deadline, read.samples
        time.sleep(0.1)


def _runs_are_counted(read: Scrape) -> None:
    for graph in ("interrupting", "memory"):
        assert read.value("langlog_runs_created_total", graph=graph) == 1
        assert read.value("langlog_runs_ended_total", graph=graph, outcome="success", cause="") == 1
        assert read.value("langlog_attempts_dispatched_total", graph=graph, reason="ready") == 1
        assert read.value("langlog_attempts_ended_total", graph=graph) == 1
        for histogram in ("run", "attempt", "queue_wait", "first_frame"):
            assert read.value(f"langlog_{histogram}_seconds_count", graph=graph) == 1, histogram
    assert read.value("langlog_commands_total", type="run.create.v1", outcome="accepted") == 3
    assert read.value("langlog_stream_writes_total") > 0 and read.value("langlog_stream_bytes_total") > 0
    assert read.value("langlog_streams_open") == 0
    assert read.value("langlog_frames_published_total") > 3 and read.value("langlog_frames_lost_total") == 0


def _services_are_shown(read: Scrape, log: str) -> None:
    services = {one.labels["service"]: one.value for one in read.families["langlog_service_ready"].samples}
    assert {"gateway", "decider", "projector", "scheduler", "workers"} <= set(services)
    assert set(services.values()) == {1.0}
    assert read.value("langlog_worker_processes") == 2
    assert read.value("langlog_worker_slots") == read.value("lg_api_workers_max") > 0
    assert read.value("langlog_workers", state="alive") == 2
    assert read.value("langlog_log_append_seconds_count", log=log) > 0
    assert read.value("langlog_log_records_appended_total", log=log) > 10
    assert (read.value("langlog_log_commit_seconds_count") > 0) == (log == "sqlite")
    assert read.value("langlog_events_folded_total", topic="run-events") > 0
    assert read.value("langlog_decider_batch_seconds_count") > 0
    assert read.value("langlog_log_delivery_seconds_count", group="projectors") > 0
    lags = {(one.labels["group"], one.labels["topic"]) for one in read.families["langlog_reader_lag_records"].samples}
    assert any(group.startswith("projection ") and topic == "run-events" for group, topic in lags)
    assert read.value("langlog_postgres_connections", state="open") > 0
    assert read.value("langlog_redis_used_bytes") > 0
