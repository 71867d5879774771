"""`langlog why`: what it concludes from the facts, and that it finds them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from langgraph_sdk import get_sync_client
from langlog.operations.why import existing
from langlog_backbone.embedded.servers import LOG_FILE, EmbeddedPostgres, EmbeddedRedis, data_folder_lock
from langlog_backbone.log import open_log
from langlog_backbone.operation.explain_run import Facts, Interrupt, QueueFacts, RunFacts, explain, gather
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.hot_queue import HotQueue
from langlog_schemas.messages import Task

from tests.stack.fixtures import isolated
from tests.stack.server import LiveServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat" / "langgraph.json"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings()
PENDING = RunFacts("r", "t", "pending", 0, NOW)
DISPATCHED = PENDING._replace(attempt=1, dispatched_at=NOW)

CASES = {
    "is delayed until 2026-01-01T00:10:00": Facts(
        PENDING._replace(not_before=NOW + timedelta(minutes=10)), QueueFacts()
    ),
    "waits for run x of the same thread": Facts(PENDING._replace(ahead="x"), QueueFacts()),
    "no decider has dispatched it": Facts(PENDING, QueueFacts()),
    "no scheduler has started it": Facts(PENDING._replace(not_before=NOW), QueueFacts()),
    "no worker is alive": Facts(DISPATCHED, QueueFacts(ahead=0, queued=1)),
    "2 of 3 tasks are in front of it": Facts(DISPATCHED, QueueFacts(ahead=2, queued=3, workers=1)),
    "Worker w has taken attempt 1": Facts(DISPATCHED, QueueFacts(worker="w", lease_s=5)),
    "Worker w runs attempt 1": Facts(DISPATCHED._replace(status="running"), QueueFacts(worker="w", lease_s=5)),
    "has been silent for 3 s": Facts(DISPATCHED, QueueFacts(worker="w", lease_s=-3)),
    "neither queued nor held": Facts(DISPATCHED, QueueFacts(workers=1)),
    "Redis cannot be reached": Facts(DISPATCHED, None),
    "is over: error with ValueError": Facts(
        DISPATCHED._replace(status="error", error="ValueError", ended_at=NOW), QueueFacts()
    ),
    "It waits for a human: 1 open interrupt on thread t": Facts(
        DISPATCHED._replace(status="success", ended_at=NOW),
        QueueFacts(),
        waits=True,
        open_interrupts=(Interrupt("i", '"ok?"'),),
    ),
    "It stopped at a breakpoint of thread t": Facts(
        DISPATCHED._replace(status="success", ended_at=NOW), QueueFacts(), waits=True
    ),
    "The run is over: interrupted": Facts(
        DISPATCHED._replace(status="interrupted", ended_at=NOW), QueueFacts(), waits=True
    ),
    "never was, was deleted, or was rolled back": Facts(None, None),
    "may be among those not taken yet": Facts(None, None, undecided=1),
}


@pytest.mark.parametrize("said", CASES)
def test_each_state_of_things_has_its_own_answer(said: str) -> None:
    assert said in explain("r", CASES[said], SETTINGS)[0]


def test_a_backlog_a_stop_and_lost_workers_are_mentioned() -> None:
    run = DISPATCHED._replace(cancel="rollback", superseded_by="y", crashes=2)
    lines = explain("r", Facts(run, QueueFacts(workers=1), undecided=4, unfolded=7), SETTINGS)
    assert "stop has been requested (rollback) by run y" in lines[1]
    assert "lost its worker 2 times" in lines[2]
    assert "up to 4 commands" in lines[3]
    assert "7 events behind" in lines[4]


def test_what_a_human_is_asked_is_shown_with_how_to_answer() -> None:
    run = DISPATCHED._replace(status="success", ended_at=NOW, assistant_id="a")
    asked = tuple(Interrupt(f"i{n}", '"' + "x" * 500 + '"') for n in range(9))
    lines = explain("r", Facts(run, QueueFacts(), waits=True, open_interrupts=asked), SETTINGS)
    assert lines[1].startswith('  i0: "xxx') and len(lines[1]) < 200
    assert lines[-2] == "  and 4 more"
    assert 'POST /threads/t/runs {"assistant_id": "a", "command": {"resume": …}}' in lines[-1]


async def test_it_finds_who_holds_a_run_and_who_stands_before_it(
    tmp_path: Path, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> None:
    settings = isolated(None, tmp_path, {"database_uri": postgres.uri, "redis_uri": redis_server.uri})
    pool = await connect_pool(settings, size=1)
    log, pipe = open_log(settings), RedisPipe(settings)
    queue = HotQueue(pipe, settings)
    try:
        await ensure_read_model(pool, settings)
        await log.start()
        await add_run(pool, "first", 1, attempt=1)
        await add_run(pool, "second", 2, attempt=0)
        nobody = await gather(settings, pool, log, pipe, "third")
        assert nobody.run is None
        assert (
            "neither queued nor held" in explain("first", await gather(settings, pool, log, pipe, "first"), settings)[0]
        )
        await queue.push([task("other"), task("first")])
        facts = await gather(settings, pool, log, pipe, "first")
        assert facts.queue == QueueFacts(ahead=1, queued=2)
        await queue.lease("w", fresh=True)
        assert len(await asyncio.wait_for(queue.claim("w", 2, 0), 60)) == 2
        facts = await gather(settings, pool, log, pipe, "first")
        assert facts.queue is not None
        assert facts.queue.worker == "w"
        assert 0 < (facts.queue.lease_s or 0) <= settings.lease_s
        facts = await gather(settings, pool, log, pipe, "second")
        assert facts.run is not None
        assert facts.run.ahead == "first"
    finally:
        await queue.stop()
        await pipe.stop()
        await log.stop()
        await pool.close()


async def add_run(pool: asyncpg.Pool, run_id: str, ordinal: int, attempt: int) -> None:
    await pool.execute(
        "INSERT INTO runs (run_id, thread_id, ordinal, assistant_id, graph_id, created_at, updated_at, status, metadata, "
        "kwargs, multitask_strategy, attempt) VALUES ($1, 't', $2, 'a', 'g', now(), now(), 'pending', '{}', '{}', 'enqueue', $3)",
        run_id,
        ordinal,
        attempt,
    )


def task(run_id: str) -> Task:
    return Task(
        run_id=run_id,
        thread_id="t",
        attempt=1,
        assistant_id="a",
        graph_id="g",
        kwargs=b"{}",
        metadata=b"{}",
        created_at=NOW.isoformat(),
    )


def test_where_no_langlog_runs_it_says_so_and_what_to_do(tmp_path: Path) -> None:
    """Not that a Postgres could not be reached, of which the caller knows nothing. A folder of no langlog is not made one."""
    (tmp_path / LOG_FILE).touch()
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(StartError, match=f"no langlog runs on {tmp_path}.*start langlog dev there"):
        existing(settings)
    assert [path.name for path in tmp_path.iterdir()] == [LOG_FILE]
    with data_folder_lock(tmp_path):
        assert existing(settings).database_uri == EmbeddedPostgres(tmp_path).uri
    with pytest.raises(StartError, match="no langlog runs on"):
        existing(settings)


def test_runs_and_parked_keys_are_explained_while_no_langlog_runs(tmp_path: Path) -> None:
    server = LiveServer(EXAMPLE, tmp_path)
    with server.up():
        client = get_sync_client(url=server.url)
        thread = client.threads.create()["thread_id"]
        run = client.runs.create(thread, "chat", input={"messages": []}, after_seconds=3600)["run_id"]

    def langlog(*words: str) -> str:
        command = [sys.executable, "-m", "langlog", *words, "--data-dir", str(server.data)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=300, env=server.env)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    said = langlog("why", thread)
    assert f"No langlog runs on {server.data}" in said and "start langlog dev there" in said
    assert f"{thread} is a thread; this is about its run {run}." in said
    assert "is delayed until" in said
    assert langlog("dead", "list") == "Nothing is parked.\n"
