"""Stand-ins of the statements of workers."""

from __future__ import annotations

from typing import Any

import msgspec

from ..memory_postgres import PostgresServer
from .registration import reads


@reads("executor", "workers", "stop_requested")
def stop_requested(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    found = (server.tables["runs"].get((id,)) for id in ids)
    names = ("run_id", "attempt", "cancel")
    return [{n: r[n] for n in names} for r in found if r is not None and r["cancel"] is not None]


@reads("executor", "checkpoints", "position")
def position(server: PostgresServer, part: int) -> list[dict[str, Any]]:
    return [{"position": server.tables["positions"].get(("run-events", part), {"offset": 0})["offset"]}]


def _checkpoint(
    server: PostgresServer, head: dict[str, Any] | None, mine: list[dict[str, Any]], part: int
) -> dict[str, Any]:
    at = server.tables["positions"].get(("run-events", part), {"offset": 0})["offset"]
    names = ("checkpoint_id", "log_position", "parent_id", "run_id", "type", "data", "metadata", "versions")
    greatest = max((c["checkpoint_id"] for c in mine), default=None)
    row: dict[str, Any] = {
        "position": at,
        "greatest_id": greatest,
        **{n: None if head is None else head[n] for n in names},
    }
    blobs: list[dict[str, Any]] = []
    written: list[dict[str, Any]] = []
    if head is not None:
        space = head["thread_id"], head["ns"]
        versions = msgspec.json.decode(head["versions"]).items()
        found = (server.tables["checkpoint_blobs"].get((*space, *version)) for version in versions)
        blobs = [blob for blob in found if blob is not None]
        written = [w for k, w in server.tables["checkpoint_writes"].items() if k[:3] == (*space, head["checkpoint_id"])]
    for names_of, rows in (
        ({"channels": "channel", "types": "type", "datas": "data"}, blobs),
        (
            {
                "task_paths": "task_path",
                "task_ids": "task_id",
                "idxs": "idx",
                "write_channels": "channel",
                "write_types": "type",
                "write_datas": "data",
            },
            written,
        ),
    ):
        row |= {name: [r[column] for r in rows] if rows else None for name, column in names_of.items()}
    return row


def _of_space(server: PostgresServer, thread_id: str, ns: str) -> list[dict[str, Any]]:
    return [c for k, c in server.tables["checkpoints"].items() if k[:2] == (thread_id, ns)]


@reads("executor", "checkpoints", "latest")
def latest(server: PostgresServer, thread_id: str, ns: str, part: int) -> list[dict[str, Any]]:
    mine = _of_space(server, thread_id, ns)
    head = max(mine, key=lambda c: (c["log_position"], c["checkpoint_id"]), default=None)
    return [_checkpoint(server, head, mine, part)]


@reads("executor", "checkpoints", "one")
def one(server: PostgresServer, thread_id: str, ns: str, part: int, id: str) -> list[dict[str, Any]]:
    mine = _of_space(server, thread_id, ns)
    return [_checkpoint(server, server.tables["checkpoints"].get((thread_id, ns, id)), mine, part)]


@reads("executor", "checkpoints", "blobs")
def blobs(server: PostgresServer, *columns: Any) -> list[dict[str, Any]]:
    found = (server.tables["checkpoint_blobs"].get(key) for key in zip(*columns, strict=True))
    return [blob for blob in found if blob is not None]


@reads("executor", "checkpoints", "cause")
def cause(server: PostgresServer, topic: str, part: int) -> list[dict[str, Any]]:
    row = server.tables["positions"].get((topic, part))
    return [] if row is None else [{"cause_offset": row["cause_offset"]}]
