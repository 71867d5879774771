"""Stand-ins of the statements of the projector."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

import msgspec

from ..memory_postgres import PostgresServer
from .registration import FLIGHT, OPEN, by_column, first, null_if_null, reads, writes


def _claim(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    count = 0
    for row in rows:
        key = row["topic"], row["part"]
        old = server.tables["positions"].get(key)
        if old is not None and old["offset"] == row["before"]:
            server.tables.put(
                "positions",
                key,
                {
                    "topic": row["topic"],
                    "part": row["part"],
                    "offset": row["after"],
                    "cause_offset": row["cause_offset"],
                    "cause_index": row["cause_index"],
                    "cause_count": row["cause_count"],
                },
            )
            count += 1
    return count


INDEXED = ("thread_id", "bucket", "run_id", "entries", "first_at", "last_at", "made")


@writes("projector", "apply", "claim_positions")
@by_column
def claim_positions(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    return _claim(server, rows)


@writes("projector", "apply", "index_events")
@by_column
def index_events(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    _index(server, rows)
    return len(rows)


def _index(server: PostgresServer, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if not (row.pop("made") or (row["thread_id"],) in server.tables["threads"]):
            continue
        key = row["thread_id"], row["bucket"], row["run_id"]
        old = server.tables["thread_events"].get(key)
        if old is not None:
            row["entries"] = old["entries"] + row["entries"]
            row["first_at"], row["last_at"] = min(old["first_at"], row["first_at"]), max(old["last_at"], row["last_at"])
        server.tables.put("thread_events", key, row)


@writes("projector", "apply", "index_again")
def index_again(server: PostgresServer, *arrays: Any) -> int:
    for values in zip(*arrays, strict=True):
        row = dict(zip(INDEXED[:-1], values, strict=True))
        server.tables.put("thread_events", (row["thread_id"], row["bucket"], row["run_id"]), row)
    return len(arrays[0])


@writes("projector", "apply", "open_positions")
def open_positions(server: PostgresServer, topics: list[str], parts: list[int]) -> int:
    for key in zip(topics, parts, strict=True):
        if key not in server.tables["positions"]:
            row = {"topic": key[0], "part": key[1], "offset": 0, "cause_offset": -1, "cause_index": 0, "cause_count": 0}
            server.tables.put("positions", key, row)
    return len(topics)


@reads("projector", "apply", "read_positions")
def read_positions(server: PostgresServer, topics: list[str], parts: list[int]) -> list[dict[str, Any]]:
    positions = server.tables["positions"]
    return [positions[key] for key in zip(topics, parts, strict=True) if key in positions]


@reads("projector", "apply", "read_attempts")
def read_attempts(server: PostgresServer) -> list[dict[str, Any]]:
    return [
        {"run_id": r["run_id"], "attempt": r["attempt"]}
        for r in server.tables["runs"].values()
        if r["status"] in FLIGHT and r["attempt"] > 0
    ]


@reads("projector", "apply", "part_keys")
def part_keys(server: PostgresServer) -> list[dict[str, Any]]:
    return [
        {
            **{k: p[k] for k in ("blob_id", "idx", "run_id")},
            "thread_id": server.tables["runs"].get((p["run_id"],), {"thread_id": None})["thread_id"],
        }
        for p in server.tables["checkpoint_parts"].values()
    ]


@reads("projector", "apply", "read_parts")
def read_parts(server: PostgresServer, blob_ids: list[str], indexes: list[int]) -> list[dict[str, Any]]:
    of = (server.tables["checkpoint_parts"].get(key) for key in zip(blob_ids, indexes, strict=True))
    return [{k: p[k] for k in ("blob_id", "idx", "data")} for p in of if p is not None]


@writes("projector", "apply", "insert_webhooks")
@by_column
def insert_webhooks(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for n in rows:
        run = server.tables["runs"].get((n["run_id"],)) if n["kwargs"] is None else None
        if (n["kwargs"] is None and run is None) or (n["run_id"],) in server.tables["webhooks"]:
            continue
        thread = server.tables["threads"].get((n["thread_id"],)) if n["look_up_values"] else None
        r = run or {}
        values = n["state_values"] if not n["look_up_values"] else (thread or {}).get("state_values")
        server.tables.put(
            "webhooks",
            (n["run_id"],),
            {
                "run_id": n["run_id"],
                "part": n["part"],
                "thread_id": n["thread_id"],
                "url": n["url"],
                "status": n["status"],
                "ended_at": n["ended_at"],
                "attempt": n["attempt"],
                "started_at": first(n["started_at"], r.get("started_at")),
                "error": n["error"],
                "state_values": None if first(n["temporary"], r.get("temporary")) else null_if_null(values),
                "assistant_id": first(n["assistant_id"], r.get("assistant_id")),
                "metadata": first(n["metadata"], r.get("metadata")),
                "kwargs": first(n["kwargs"], r.get("kwargs")),
                "multitask_strategy": first(n["multitask_strategy"], r.get("multitask_strategy")),
                "created_at": first(n["created_at"], r.get("created_at")),
                "next_attempt_at": n["ended_at"],
                "user_id": first(n["user_id"], r.get("user_id")),
                "attempts": 0,
                "settled_at": None,
                "delivered": False,
                "attempt_log": "",
            },
        )
    return len(rows)


@writes("projector", "apply", "note_webhook_try")
def note_webhook_try(
    server: PostgresServer,
    run_id: str,
    attempt: int,
    entry: str,
    again: datetime | None,
    settled: datetime | None,
    delivered: bool,
    part: int,
    before: datetime,
    kept: bool,
) -> int:
    hooks = server.tables["webhooks"]
    row = hooks.get((run_id,))
    old = [
        key
        for key, w in hooks.items()
        if w["part"] == part and w["settled_at"] is not None and w["settled_at"] < before
    ]
    if row is not None and row["attempts"] == attempt - 1 and row["settled_at"] is None:
        changed = {
            **row,
            "attempts": attempt,
            "attempt_log": row["attempt_log"] + entry,
            "next_attempt_at": again,
            "settled_at": settled,
            "delivered": delivered,
        }
        if settled is not None and not kept:
            changed["kwargs"] = changed["state_values"] = None
        server.tables.put("webhooks", (run_id,), changed)
    return server.tables.remove("webhooks", old)


@writes("projector", "apply", "webhook_due_again")
def webhook_due_again(server: PostgresServer, run_id: str, attempts: int, due_at: datetime) -> int:
    row = server.tables["webhooks"].get((run_id,))
    if (
        row is None
        or row["attempts"] != attempts
        or row["settled_at"] is None
        or row["delivered"]
        or row["kwargs"] is None
    ):
        return 0
    again = {
        "next_attempt_at": due_at,
        "settled_at": None,
        "attempt_log": f"{row['attempt_log']} again after {attempts}, ",
    }
    server.tables.put("webhooks", (run_id,), {**row, **again})
    return 1


def _of_threads(server: PostgresServer, name: str, threads: set[str]) -> int:
    return server.tables.remove(name, [key for key, row in server.tables[name].items() if row["thread_id"] in threads])


@writes("projector", "apply", "remove_threads")
def remove_threads(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    threads = set(ids)
    gone = [
        {"thread_id": id, "metadata": server.tables["threads"][id,]["metadata"]}
        for id in ids
        if (id,) in server.tables["threads"]
    ]
    for name in ("threads", "runs", "frames", "thread_events", "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        _of_threads(server, name, threads)
    return gone


@writes("projector", "apply", "remove_checkpoints")
def remove_checkpoints(server: PostgresServer, ids: list[str]) -> int:
    for name in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        _of_threads(server, name, set(ids))
    return len(ids)


def _kept_as(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key under which a special write is kept that another run replaces."""
    checkpoint, task = f"replaced {row['checkpoint_id']}", f"{row['task_id']} {row['run_id'] or ''}"
    return row["thread_id"], row["ns"], checkpoint, task, row["idx"]


@writes("projector", "apply", "restore_replaced_writes")
def restore_replaced_writes(server: PostgresServer, threads: list[str], runs: list[str]) -> int:
    pairs = set(zip(threads, runs, strict=True))
    table = server.tables["checkpoint_writes"]
    changed = 0
    for key, row in list(table.items()):
        if row["idx"] >= 0 or (row["thread_id"], row["run_id"]) not in pairs:
            continue
        kept = [
            (-1 if run is None else run["ordinal"], other_key, other)
            for other_key, other in table.items()
            if (other["thread_id"], other["run_id"]) not in pairs
            and other_key == _kept_as({**row, "run_id": other["run_id"]})
            for run in [server.tables["runs"].get((other["run_id"],))]
        ]
        if kept:
            _, other_key, other = max(kept, key=lambda one: one[0])
            restored = {name: other[name] for name in ("task_path", "channel", "type", "data", "run_id")}
            server.tables.put("checkpoint_writes", key, {**row, **restored})
            server.tables.remove("checkpoint_writes", [other_key])
            changed += 1
    return changed


@writes("projector", "apply", "keep_replaced_writes")
def keep_replaced_writes(server: PostgresServer, *arrays: Any) -> int:
    rows = list(zip(*arrays, strict=True))
    kept = 0
    for key in {row[:5] for row in rows}:
        old = server.tables["checkpoint_writes"].get(key)
        if old is not None and (*key, old["run_id"]) not in rows:
            place = _kept_as(old)
            kept_row = {**old, "checkpoint_id": place[2], "task_id": place[3]}
            server.tables.put("checkpoint_writes", place, kept_row)
            kept += 1
    return kept


@writes("projector", "apply", "remove_run_checkpoints")
def remove_run_checkpoints(server: PostgresServer, threads: list[str], runs: list[str]) -> int:
    pairs = set(zip(threads, runs, strict=True))
    gone = [key for key, row in server.tables["checkpoints"].items() if (row["thread_id"], row["run_id"]) in pairs]
    server.tables.remove("checkpoints", gone)
    written = {(key[0], key[1], id) for key in gone for id in (key[2], f"replaced {key[2]}")}
    return server.tables.remove(
        "checkpoint_writes",
        [
            key
            for key, row in server.tables["checkpoint_writes"].items()
            if key[:3] in written or (row["thread_id"], row["run_id"]) in pairs
        ],
    )


@writes("projector", "apply", "remove_runs")
def remove_runs(server: PostgresServer, ids: list[str]) -> int:
    server.tables.remove("frames", [key for key, row in server.tables["frames"].items() if row["run_id"] in ids])
    return server.tables.remove("runs", [(id,) for id in ids])


@writes("projector", "apply", "remove_orphan_blobs")
def remove_orphan_blobs(server: PostgresServer, ids: list[str]) -> int:
    used = {
        (row["thread_id"], row["ns"], channel, version)
        for row in server.tables["checkpoints"].values()
        if row["thread_id"] in ids
        for channel, version in msgspec.json.decode(row["versions"]).items()
    }
    gone = [key for key in server.tables["checkpoint_blobs"] if key[0] in ids and key not in used]
    return server.tables.remove("checkpoint_blobs", gone)


THREAD_DEFAULTS = {"has_checkpoints": False, "frame_ms": 0, "settled": -1, "seq": 0, "status_when_idle": "idle"}


@writes("projector", "apply", "insert_threads")
@by_column
def insert_threads(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        if (row["thread_id"],) in server.tables["threads"]:
            continue
        made = {**row, "thinned_at": None}
        made.update({name: value for name, value in THREAD_DEFAULTS.items() if row[name] is None})
        for name in ("state_values", "error"):
            made[name] = null_if_null(made[name])
        server.tables.put("threads", (row["thread_id"],), made)
    return len(rows)


@writes("projector", "apply", "update_threads")
@by_column
def update_threads(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        old = server.tables["threads"].get((row["thread_id"],))
        if old is None:
            continue
        new = {**old, **{name: value for name, value in row.items() if value is not None}}
        for name in ("state_values", "error"):
            new[name] = null_if_null(new[name])
        for name in ("frame_ms", "seq"):
            new[name] = max(old[name], row[name] or 0)
        server.tables.put("threads", (row["thread_id"],), new)
    return len(rows)


RUN_DEFAULTS = {"attempt": 0, "crashes": 0, "frame_count": 0, "first_event_number": 0, "last_event_number": 0}


@writes("projector", "apply", "insert_runs")
@by_column
def insert_runs(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        if (row["run_id"],) not in server.tables["runs"]:
            made = {**row, **{name: value for name, value in RUN_DEFAULTS.items() if row[name] is None}}
            server.tables.put("runs", (row["run_id"],), made)
    return len(rows)


@writes("projector", "apply", "update_runs")
@by_column
def update_runs(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        old = server.tables["runs"].get((row["run_id"],))
        if old is not None:
            new = {**old, **{name: value for name, value in row.items() if value is not None}}
            server.tables.put("runs", (row["run_id"],), new)
    return len(rows)


@writes("projector", "apply", "insert_checkpoints")
@by_column
def insert_checkpoints(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        key = row["thread_id"], row["ns"], row["checkpoint_id"]
        old = server.tables["checkpoints"].get(key)
        if old is not None:
            row = {**old, **{name: row[name] for name in ("type", "data", "metadata", "versions")}}
        server.tables.put("checkpoints", key, row)
    return len(rows)


@writes("projector", "apply", "insert_blobs")
def insert_blobs(server: PostgresServer, *arrays: Any) -> int:
    for values in zip_longest(*arrays):
        row = dict(zip(("thread_id", "ns", "channel", "version", "type", "data"), values, strict=True))
        server.tables.put("checkpoint_blobs", values[:4], row)
    return len(arrays[0])


@writes("projector", "apply", "insert_writes")
def insert_writes(server: PostgresServer, *arrays: Any) -> int:
    names = ("thread_id", "ns", "checkpoint_id", "task_id", "idx", "task_path", "channel", "type", "data", "run_id")
    for values in zip_longest(*arrays):
        key = values[:5]
        if key not in server.tables["checkpoint_writes"] or values[4] < 0:
            server.tables.put("checkpoint_writes", key, dict(zip(names, values, strict=True)))
    return len(arrays[0])


@writes("projector", "apply", "insert_parts")
def insert_parts(server: PostgresServer, *arrays: Any) -> int:
    for values in zip(*arrays, strict=True):
        if values[:2] not in server.tables["checkpoint_parts"]:
            row = dict(zip(("blob_id", "idx", "run_id", "data"), values, strict=True))
            server.tables.put("checkpoint_parts", values[:2], row)
    return len(arrays[0])


@writes("projector", "apply", "remove_parts")
def remove_parts(server: PostgresServer, ids: list[str]) -> int:
    return server.tables.remove("checkpoint_parts", [key for key in server.tables["checkpoint_parts"] if key[0] in ids])


@writes("projector", "apply", "insert_frames")
def insert_frames(server: PostgresServer, *arrays: Any) -> int:
    for values in zip_longest(*arrays):
        key = values[:3]
        if key not in server.tables["frames"]:
            row = dict(zip(("run_id", "attempt", "first_sequence", "thread_id", "data"), values, strict=True))
            server.tables.put("frames", key, row)
    return len(arrays[0])


@writes("projector", "apply", "upsert_assistants")
@by_column
def upsert_assistants(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        old = server.tables["assistants"].get((row["assistant_id"],))
        created = old["created_at"] if old is not None else first(row["created_at"], row["updated_at"])
        server.tables.put("assistants", (row["assistant_id"],), {**row, "created_at": created})
    return len(rows)


@writes("projector", "apply", "insert_versions")
@by_column
def insert_versions(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    for row in rows:
        key = row["assistant_id"], row["version"]
        if key not in server.tables["assistant_versions"]:
            server.tables.put("assistant_versions", key, row)
    return len(rows)


@reads("projector", "apply", "read_outcomes")
@reads("gateway", "outcomes", "kept")
def read_outcomes(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    names = ("command_id", "status", "detail", "type", "body", "at")
    found = (server.tables["outcomes"].get((id,)) for id in ids)
    return [{name: row[name] for name in names} for row in found if row is not None]


@writes("projector", "outcomes", "insert")
def insert_outcomes(server: PostgresServer, *arrays: Any) -> int:
    names = ("command_id", "topic", "part", "aggregate_id", "status", "detail", "type", "body", "at")
    for values in zip(*arrays, strict=True):
        if values[:1] not in server.tables["outcomes"]:
            server.tables.put("outcomes", values[:1], dict(zip(names, values, strict=True)))
    return len(arrays[0])


@writes("projector", "outcomes", "prune")
def prune_outcomes(server: PostgresServer, topics: list[str], parts: list[int], kept: timedelta) -> int:
    gone = []
    for topic, part in zip(topics, parts, strict=True):
        of = {k: r["at"] for k, r in server.tables["outcomes"].items() if (r["topic"], r["part"]) == (topic, part)}
        newest = max(of.values(), default=None)
        gone += [key for key, at in of.items() if newest is not None and at < newest - kept]
    return server.tables.remove("outcomes", gone)


@writes("projector", "crons", "remove")
def remove_crons(server: PostgresServer, ids: list[str]) -> int:
    return server.tables.remove("crons", [(id,) for id in ids])


CRON = (
    "cron_id", "assistant_id", "thread_id", "user_id", "schedule", "timezone", "end_time", "ends_at", "payload", "metadata",
    "on_run_completed", "enabled", "next_run_date", "created_at", "updated_at", "authority",
)  # fmt: skip


@writes("projector", "crons", "upsert")
def upsert_cron(server: PostgresServer, *values: Any) -> int:
    row = dict(zip(CRON, values, strict=True))
    old = server.tables["crons"].get((row["cron_id"],))
    if old is not None:
        row["created_at"], row["thread_id"] = old["created_at"], old["thread_id"]
    server.tables.put("crons", (row["cron_id"],), row)
    return 1


@writes("projector", "crons", "advance")
def advance_crons(server: PostgresServer, ids: list[str], dates: list[datetime]) -> int:
    for id, date in zip(ids, dates, strict=True):
        old = server.tables["crons"].get((id,))
        if old is not None:
            server.tables.put("crons", (id,), {**old, "next_run_date": date})
    return len(ids)


@reads("projector", "dead_letters", "read_open")
def read_open(server: PostgresServer) -> list[dict[str, Any]]:
    return [
        {"topic": topic, "key": key}
        for topic, key in sorted(
            {
                (r["topic"], r["key"])
                for r in server.tables["dead_letters"].values()
                if r["state"] in OPEN and r["topic"] != "commands"
            }
        )
    ]


@reads("projector", "dead_letters", "read_dropped")
def read_dropped(server: PostgresServer) -> list[dict[str, Any]]:
    return [
        {name: r[name] for name in ("topic", "part", "offset")}
        for r in server.tables["dead_letters"].values()
        if r["state"] == "dropped" and r["topic"] != "commands"
    ]


@writes("projector", "dead_letters", "insert")
def insert_letters(server: PostgresServer, *arrays: Any) -> int:
    names = ("topic", "part", "offset", "key", "type", "state", "error", "headers", "value", "at")
    for values in zip(*arrays, strict=True):
        row = dict(zip(names, values, strict=True))
        old = server.tables["dead_letters"].get(values[:3])
        if old is None:
            server.tables.put("dead_letters", values[:3], row)
        elif old["topic"] == "commands" and old["type"] == "" and old["state"] in ("decided", "dropped"):
            server.tables.put("dead_letters", values[:3], {**old, "type": row["type"], "error": row["error"]})
    return len(arrays[0])


@writes("projector", "dead_letters", "forget")
def forget_letters(server: PostgresServer, topics: list[str], keys: list[str]) -> int:
    pairs = set(zip(topics, keys, strict=True))
    return server.tables.remove(
        "dead_letters",
        [k for k, r in server.tables["dead_letters"].items() if (r["topic"], r["key"]) in pairs and r["state"] in OPEN],
    )
