"""Growth of the embedded log and of Postgres by 1,000 runs, and the log's size after a cut behind them.

The log: pages of its file, free ones left out. Postgres: tables with their indexes, in whole pages, as autovacuum leaves them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from langlog_backbone.embedded.servers import LOG_FILE

from bench.driver.command_line import langlog
from bench.driver.connection import Connection
from bench.driver.load import ECHO, Call, Result, Server, closed_loop, wait_run
from bench.driver.stored_bytes import StoredBytes

RUNS = 1_000
CALLERS = 16
TURNS = 10
"""Turns of one chat."""
COMMITTED_S = 1.5
"""Seconds until deciders have committed: they commit at most once a second, and the cut goes no further."""
SLICE_S = 0.5
RESUMABLE = json.dumps(
    {"assistant_id": "echo", "input": {"text": "hello"}, "stream_resumable": True, "stream_mode": ["values", "updates"]}
).encode()


class Kind(NamedTuple):
    name: str
    runs: int
    """Number of runs of one call."""
    call: Call


async def growth(server: Server) -> list[Result]:
    """Measure kinds of runs one after the other, each followed by a cut. Embedded log only."""
    if not (server.stack.data / LOG_FILE).exists():
        return [Result("growth", 0, "run", 0, [], {}, note="not measured: the log is not the embedded one")]
    await closed_loop(server, "", "run", 8, wait_run, seconds=1)
    await _cut(server)
    results = [await _grown(server, kind) for kind in KINDS]
    for kind in KINDS:
        await closed_loop(server, "", "run", CALLERS, kind.call, total=RUNS // kind.runs)
    await asyncio.sleep(COMMITTED_S)
    quiet = await closed_loop(server, "wait, 1 caller", "run", 1, wait_run, seconds=SLICE_S)
    work = asyncio.create_task(_cut(server))
    slices = []
    while not work.done():
        slices.append(await closed_loop(server, "", "run", 1, wait_run, seconds=SLICE_S))
    during = Result(
        "growth: wait, 1 caller, while the log is cut",
        sum(one.count for one in slices),
        "run",
        sum(one.seconds for one in slices),
        [ms for one in slices for ms in one.latencies_ms],
        {},
        sum(one.errors for one in slices),
        more={"cut_s": await work, "p50_ms_before": quiet.percentile(0.5)},
    )
    return [*results, during]


async def _grown(server: Server, kind: Kind) -> Result:
    log, stored = _log_bytes(server.stack.data), await StoredBytes.now(server.stack.data)
    load = await closed_loop(server, kind.name, "run", CALLERS, kind.call, total=RUNS // kind.runs)
    await asyncio.sleep(COMMITTED_S)
    after, held = _log_bytes(server.stack.data), (await StoredBytes.now(server.stack.data)).since(stored)
    seconds = await _cut(server)
    more = {
        "log_mb": (after - log) / 1e6,
        "records_mb": held["log"] / 1e6,
        "postgres_mb": held["postgres"] / 1e6,
        "log_mb_after_cut": (_log_bytes(server.stack.data) - log) / 1e6,
        "cut_s": seconds,
    }
    return Result(f"growth: 1,000 {kind.name}", RUNS, "run", load.seconds, [], {}, load.errors, more=more)


def _log_bytes(data: Path) -> int:
    db = sqlite3.connect(f"file:{data / LOG_FILE}?mode=ro", uri=True)
    try:
        pages, free, size = (
            db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)
    finally:
        db.close()


async def _cut(server: Server) -> float:
    """Cut the log; return the seconds that it took."""
    now = datetime.now(UTC).isoformat()
    return (await langlog(server, "log", "cut", "--before", now, "--yes", expected=b"were cut")).seconds


async def _thread_and_run(connection: Connection, body: bytes) -> str:
    thread: str = (await connection.post_json("/threads", {}))["thread_id"]
    await _run(connection, thread, body)
    return thread


async def _run(connection: Connection, thread: str, body: bytes) -> None:
    status, answer = await connection.post(f"/threads/{thread}/runs/wait", body)
    if status != 200 or b"__error__" in answer:
        raise RuntimeError(f"{status} {answer[:100]!r}")


async def _with_thread(connection: Connection) -> None:
    await _thread_and_run(connection, ECHO)


async def _resumable(connection: Connection) -> None:
    await _thread_and_run(connection, RESUMABLE)


async def _chat(connection: Connection) -> None:
    def message(turn: int) -> bytes:
        question = f"Question {turn}: what does the timetable say about trains to the coast on a Sunday in winter?"
        return json.dumps(
            {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": question}]}}
        ).encode()

    thread = await _thread_and_run(connection, message(0))
    for turn in range(1, TURNS):
        await _run(connection, thread, message(turn))


KINDS = (
    Kind("stateless runs", 1, wait_run),
    Kind("threads with a run", 1, _with_thread),
    Kind("threads with a resumable run", 1, _resumable),
    Kind("turns, 10 to a chat", TURNS, _chat),
)
