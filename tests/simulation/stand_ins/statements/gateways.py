"""Stand-ins of the statements of gateways."""

from __future__ import annotations

from typing import Any

import msgspec

from ..memory_postgres import PostgresServer
from .registration import now, reads


def _run(server: PostgresServer, thread_id: str, run_id: str) -> dict[str, Any] | None:
    run = server.tables["runs"].get((run_id,))
    return run if run is not None and run["thread_id"] == thread_id else None


@reads("gateway", "runs", "progress")
def progress(server: PostgresServer, thread_id: str, run_id: str) -> list[dict[str, Any]]:
    run = _run(server, thread_id, run_id)
    if run is None:
        return []
    at = now(server)
    return [
        {
            **{n: run[n] for n in ("status", "attempt", "frame_count", "temporary")},
            "resumable": msgspec.json.decode(run["kwargs"]).get("resumable"),
            "age_s": (at - run["created_at"]).total_seconds(),
            "took_s": None if run["ended_at"] is None else (run["ended_at"] - run["created_at"]).total_seconds(),
        }
    ]


@reads("gateway", "runs", "answer")
def answer(server: PostgresServer, thread_id: str, run_id: str) -> list[dict[str, Any]]:
    run, thread = _run(server, thread_id, run_id), server.tables["threads"].get((thread_id,))
    if run is None or thread is None:
        return []
    return [
        {
            **{n: run[n] for n in ("status", "error", "output")},
            **{n: thread[n] for n in ("state_values", "has_checkpoints")},
        }
    ]


@reads("gateway", "runs", "values")
def values(server: PostgresServer, thread_id: str) -> list[dict[str, Any]]:
    thread = server.tables["threads"].get((thread_id,))
    return [] if thread is None else [{"state_values": thread["state_values"]}]


@reads("gateway", "runs", "statuses")
def statuses(server: PostgresServer, thread_id: str, ids: list[str]) -> list[dict[str, Any]]:
    found = (_run(server, thread_id, id) for id in dict.fromkeys(ids))
    return [{n: r[n] for n in ("run_id", "status")} for r in found if r is not None]


@reads("gateway", "runs", "thread_exists")
def thread_exists(server: PostgresServer, thread_id: str) -> list[dict[str, Any]]:
    return [{"exists": (thread_id,) in server.tables["threads"]}]


@reads("gateway", "frames", "page_of_run")
def page_of_run(
    server: PostgresServer, run_id: str, attempt: int, sequence: int, most: int, size: int
) -> list[dict[str, Any]]:
    page, before = list[dict[str, Any]](), 0
    for key in sorted(key for key in server.tables["frames"] if key[0] == run_id and key[1:] > (attempt, sequence)):
        if len(page) == most or before >= size:
            break
        data = server.tables["frames"][key]["data"]
        page.append({"attempt": key[1], "first_sequence": key[2], "data": data})
        before += len(data)
    return page


@reads("gateway", "frames", "batch_with")
def batch_with(server: PostgresServer, run_id: str, attempt: int, sequence: int) -> list[dict[str, Any]]:
    upto = [key for key in server.tables["frames"] if key[0] == run_id and key[1:] <= (attempt, sequence)]
    return [{"attempt": key[1], "first_sequence": key[2]} for key in sorted(upto)[-1:]]


@reads("gateway", "frames", "starts_of_run")
def starts_of_run(server: PostgresServer, run_id: str) -> list[dict[str, Any]]:
    first = dict[int, Any]()
    for key in sorted(key for key in server.tables["frames"] if key[0] == run_id):
        first.setdefault(key[1], server.tables["frames"][key]["data"])
    return [{"data": data} for data in first.values()]


@reads("gateway", "threads", "position")
def position(server: PostgresServer, part: int) -> list[dict[str, Any]]:
    return [{"coalesce": server.tables["positions"].get(("run-events", part), {"offset": 0})["offset"]}]
