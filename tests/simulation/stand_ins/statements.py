"""langlog's statements on the tables in memory: one function for each text of the ``.sql`` files that worlds use.

`tests/simulation/test_statements.py` compares each of them (`REGISTERED`) with its statement on a real Postgres, over generated rows and
arguments. Not compared: the three texts of other modules that `statements` adds, the log of a webhook's tries (texts joined instead of JSON),
the age of a run (the clock of the statement), the order of rows where the text leaves it open, and plans, locks and speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from langlog_backbone.postgres.database import load_sql

from .memory_postgres import PostgresServer, Statement

FLIGHT = ("pending", "running")
OPEN = ("bad", "behind")

REGISTERED: list[tuple[str, str, str, Callable[..., Any], bool]] = []
"""(package, file, name, stand-in, whether it writes)"""


def reads(package: str, file: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def note(act: Callable[..., Any]) -> Callable[..., Any]:
        REGISTERED.append((package, file, name, act, False))
        return act

    return note


def writes(package: str, file: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def note(act: Callable[..., Any]) -> Callable[..., Any]:
        REGISTERED.append((package, file, name, act, True))
        return act

    return note


@cache
def statements() -> dict[str, tuple[Statement, bool]]:
    """Text -> what it does, and whether it writes. Raises KeyError for a statement that is no longer there."""
    known: dict[str, tuple[Statement, bool]] = {}
    for package, file, name, act, writing in REGISTERED:
        text = load_sql(f"langlog_{package}", f"{file}.sql")[name]
        names = re.findall(r"\bAS n \(([\w\s,\"]+)\)", text)
        columns = tuple(column.strip().strip('"') for column in names[0].split(",")) if names else ()
        known[text] = (_with_columns(act, columns) if columns and getattr(act, "by_column", False) else act, writing)
    known['UPDATE positions SET "offset" = "offset" WHERE false'] = (lambda server: 0, True)
    known['SELECT topic, part, "offset" FROM positions'] = (
        lambda server: [
            {k: row[k] for k in ("topic", "part", "offset")} for row in server.tables["positions"].values()
        ],
        False,
    )
    credentials = load_sql("langlog_backbone", "run_credentials.sql")["there"]
    known[credentials.replace("{schema}", "langlog_keys")] = (lambda server: [{"there": False}], False)
    return known


def by_column(act: Callable[..., Any]) -> Callable[..., Any]:
    """The function takes rows: the statement's arrays, one for each name of its ``AS n (…)``."""
    act.by_column = True  # type: ignore[attr-defined]
    return act


def _with_columns(act: Callable[..., Any], columns: tuple[str, ...]) -> Callable[..., Any]:
    width = len(columns)

    def run(server: PostgresServer, *arrays: Any) -> Any:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*arrays[:width], strict=True)]
        return act(server, rows, *arrays[width:])

    return run


def now(server: PostgresServer) -> datetime:
    return datetime.fromtimestamp(server.clock(), UTC)


def null_if_null(text: str | None) -> str | None:
    return None if text == "null" else text


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def parked(server: PostgresServer, key: str) -> bool:
    letters = server.tables["dead_letters"]
    return bool(letters) and any(row["key"] == key and row["state"] in OPEN for row in letters.values())


# --- the projector -----------------------------------------------------------------------------


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


CLAIMED = ("topic", "part", "before", "after", "cause_offset", "cause_index", "cause_count")
INDEXED = ("thread_id", "bucket", "run_id", "entries", "first_at", "last_at", "made")


@writes("projector", "apply", "claim_positions")
@by_column
def claim_positions(server: PostgresServer, rows: list[dict[str, Any]]) -> int:
    return _claim(server, rows)


@writes("projector", "apply", "claim_positions_and_index")
def claim_positions_and_index(server: PostgresServer, *arrays: Any) -> int:
    claimed = [dict(zip(CLAIMED, values, strict=True)) for values in zip(*arrays[:7], strict=True)]
    for values in zip(*arrays[7:14], strict=True):
        row = dict(zip(INDEXED, values, strict=True))
        if not (row.pop("made") or (row["thread_id"],) in server.tables["threads"]):
            continue
        key = row["thread_id"], row["bucket"], row["run_id"]
        old = server.tables["thread_events"].get(key)
        if old is not None:
            row["entries"] = old["entries"] + row["entries"]
            row["first_at"], row["last_at"] = min(old["first_at"], row["first_at"]), max(old["last_at"], row["last_at"])
        server.tables.put("thread_events", key, row)
    return _claim(server, claimed)


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


@reads("projector", "apply", "read_parts")
def read_parts(server: PostgresServer) -> list[dict[str, Any]]:
    return [{k: p[k] for k in ("blob_id", "idx", "run_id", "data")} for p in server.tables["checkpoint_parts"].values()]


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
        if settled is not None:
            changed["kwargs"] = changed["state_values"] = None
        server.tables.put("webhooks", (run_id,), changed)
    return server.tables.remove("webhooks", old)


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


@writes("projector", "apply", "remove_run_checkpoints")
def remove_run_checkpoints(server: PostgresServer, threads: list[str], runs: list[str]) -> int:
    pairs = set(zip(threads, runs, strict=True))
    gone = [key for key, row in server.tables["checkpoints"].items() if (row["thread_id"], row["run_id"]) in pairs]
    server.tables.remove("checkpoints", gone)
    written = {(key[0], key[1], key[2]) for key in gone}
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
    for values in zip(*arrays, strict=True):
        row = dict(zip(("thread_id", "ns", "channel", "version", "type", "data"), values, strict=True))
        server.tables.put("checkpoint_blobs", values[:4], row)
    return len(arrays[0])


@writes("projector", "apply", "insert_writes")
def insert_writes(server: PostgresServer, *arrays: Any) -> int:
    names = ("thread_id", "ns", "checkpoint_id", "task_id", "idx", "task_path", "channel", "type", "data", "run_id")
    for values in zip(*arrays, strict=True):
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
    for values in zip(*arrays, strict=True):
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


# --- the decider -------------------------------------------------------------------------------


class _Interrupt(msgspec.Struct):
    id: str | None = None


def _open_interrupts(text: str | None) -> list[str]:
    if text is None:
        return []
    found = msgspec.json.decode(text, type=dict[str, list[_Interrupt]])
    return sorted({one.id for group in found.values() for one in group if one.id is not None})


@reads("executor", "aggregates", "load_threads")
def load_threads(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    names = (
        "thread_id", "created_at", "updated_at", "metadata", "config", "ttl_minutes", "ttl_strategy", "status", "status_when_idle",
        "has_checkpoints", "frame_ms", "seq", "settled",
    )  # fmt: skip
    rows = []
    for id in ids:
        row = server.tables["threads"].get((id,))
        if row is not None:
            rows.append(
                {**{n: row[n] for n in names}, "parked": False, "open_interrupts": _open_interrupts(row["interrupts"])}
            )
    for letter in server.tables["dead_letters"].values():
        if letter["key"] in ids and letter["state"] == "bad" and letter["topic"] != "commands":
            rows.append({**dict.fromkeys(names), "thread_id": letter["key"], "parked": True, "open_interrupts": []})
    return rows


@reads("executor", "aggregates", "load_runs_in_flight")
def load_runs_in_flight(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    rows = [r for r in server.tables["runs"].values() if r["thread_id"] in ids and r["status"] in FLIGHT]
    return sorted(rows, key=lambda r: r["ordinal"])


@reads("executor", "aggregates", "load_assistants")
def load_assistants(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    return [server.tables["assistants"][id,] for id in ids if (id,) in server.tables["assistants"]]


@reads("executor", "aggregates", "load_versions")
def load_versions(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    return [row for row in server.tables["assistant_versions"].values() if row["assistant_id"] in ids]


@reads("executor", "aggregates", "load_crons")
def load_crons(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    return [server.tables["crons"][id,] for id in ids if (id,) in server.tables["crons"]]


@reads("executor", "aggregates", "crons_of")
def crons_of(server: PostgresServer, threads: list[str]) -> list[dict[str, Any]]:
    return [{"cron_id": r["cron_id"]} for r in server.tables["crons"].values() if r["thread_id"] in threads]


@reads("executor", "aggregates", "known_commands")
def known_commands(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    return [{"command_id": id} for id in ids if (id,) in server.tables["outcomes"]]


@reads("executor", "aggregates", "known_runs")
def known_runs(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    return [{"run_id": id} for id in ids if (id,) in server.tables["runs"]]


@reads("executor", "aggregates", "read_causes")
def read_causes(server: PostgresServer, parts: list[int]) -> list[dict[str, Any]]:
    return [row for row in server.tables["positions"].values() if row["part"] in parts]


@reads("executor", "aggregates", "behind")
def positions_behind(
    server: PostgresServer, topics: list[str], parts: list[int], ends: list[int]
) -> list[dict[str, Any]]:
    return [{"count": _behind(server, topics, parts, ends)}]


@reads("scheduler", "crons", "behind")
def any_behind(server: PostgresServer, topics: list[str], parts: list[int], ends: list[int]) -> list[dict[str, Any]]:
    return [{"behind": _behind(server, topics, parts, ends) > 0}]


def _behind(server: PostgresServer, topics: list[str], parts: list[int], ends: list[int]) -> int:
    positions = server.tables["positions"]
    return sum(
        positions.get((topic, part), {"offset": 0})["offset"] < end
        for topic, part, end in zip(topics, parts, ends, strict=True)
    )


@reads("executor", "parked", "letters_of")
def letters_of(server: PostgresServer, parts: list[int]) -> list[dict[str, Any]]:
    return [
        {**{n: r[n] for n in ("topic", "part", "offset", "key")}, "open": r["state"] in OPEN}
        for r in server.tables["dead_letters"].values()
        if r["part"] in parts
    ]


@reads("executor", "parked", "open_keys")
def open_keys(server: PostgresServer, keys: list[str]) -> list[dict[str, Any]]:
    return [{"key": key} for key in keys if parked(server, key)]


@reads("executor", "parked", "parked_keys")
def parked_keys(server: PostgresServer, keys: list[str]) -> list[dict[str, Any]]:
    letters = server.tables["dead_letters"].values()
    return [
        {"key": key}
        for key in keys
        if any(r["key"] == key and r["state"] in OPEN and r["topic"] != "commands" for r in letters)
    ]


# --- workers -----------------------------------------------------------------------------------


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


# --- the scheduler -----------------------------------------------------------------------------


@reads("scheduler", "scheduler", "runs_in_flight")
def runs_in_flight(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    names = ("run_id", "thread_id", "attempt", "crashes", "cancel", "graph_id", "temporary")
    return [
        {
            **{n: r[n] for n in names},
            "started": r["status"] == "running",
            "config": server.tables["threads"][r["thread_id"],]["config"],
        }
        for r in (server.tables["runs"].get((id,)) for id in ids)
        if r is not None
        and r["status"] in FLIGHT
        and (r["thread_id"],) in server.tables["threads"]
        and not parked(server, r["thread_id"])
    ]


@reads("scheduler", "scheduler", "dispatched_runs")
def dispatched_runs(server: PostgresServer, seconds: float) -> list[dict[str, Any]]:
    before = now(server) - timedelta(seconds=seconds)
    return [
        {
            **{n: r[n] for n in ("run_id", "thread_id", "attempt")},
            "started": r["status"] == "running"
            and (None if r["started_at"] is None else r["started_at"] >= r["dispatched_at"]),
        }
        for r in server.tables["runs"].values()
        if r["status"] in FLIGHT
        and r["attempt"] > 0
        and r["dispatched_at"] is not None
        and r["dispatched_at"] < before
        and not parked(server, r["thread_id"])
    ]


@reads("scheduler", "scheduler", "overdue_runs")
def overdue_runs(server: PostgresServer, seconds: float) -> list[dict[str, Any]]:
    before = now(server) - timedelta(seconds=seconds)
    names = ("run_id", "thread_id", "attempt", "graph_id", "temporary")
    return [
        {**{n: r[n] for n in names}, "config": server.tables["threads"][r["thread_id"],]["config"]}
        for r in server.tables["runs"].values()
        if r["status"] == "running"
        and r["started_at"] is not None
        and r["started_at"] < before
        and (r["thread_id"],) in server.tables["threads"]
        and not parked(server, r["thread_id"])
    ]


def _delayed(server: PostgresServer) -> Iterator[dict[str, Any]]:
    for r in server.tables["runs"].values():
        if r["status"] == "pending" and r["attempt"] == 0 and r["not_before"] is not None:
            yield r


@reads("scheduler", "scheduler", "due_runs")
def due_runs(server: PostgresServer) -> list[dict[str, Any]]:
    at = now(server)
    due = [{"at": at, **{n: r[n] for n in ("run_id", "thread_id")}} for r in _delayed(server) if r["not_before"] <= at]
    return due or [{"at": at, "run_id": None, "thread_id": None}]


def _until(server: PostgresServer, moments: list[datetime]) -> list[dict[str, Any]]:
    return [{"seconds": (min(moments) - now(server)).total_seconds() if moments else None}]


@reads("scheduler", "scheduler", "next_due")
def next_due_run(server: PostgresServer, after: datetime) -> list[dict[str, Any]]:
    return _until(server, [r["not_before"] for r in _delayed(server) if r["not_before"] > after])


@reads("scheduler", "scheduler", "run_positions")
def run_positions(server: PostgresServer) -> list[dict[str, Any]]:
    return [
        {"part": p, "offset": row["offset"]} for (t, p), row in server.tables["positions"].items() if t == "run-events"
    ]


@reads("scheduler", "expiry", "expired_threads")
def expired_threads(server: PostgresServer, longest: float, limit: int) -> list[dict[str, Any]]:
    at = now(server)
    return sorted(
        (
            {"thread_id": t["thread_id"], "updated_at": t["updated_at"]}
            for t in server.tables["threads"].values()
            if t["ttl_minutes"] is not None
            and t["status"] != "busy"
            and t["updated_at"] + timedelta(minutes=min(t["ttl_minutes"], longest)) <= at
            and (t["ttl_strategy"] == "delete" or t["thinned_at"] is None or t["thinned_at"] < t["updated_at"])
        ),
        key=lambda t: t["updated_at"],
    )[:limit]


@reads("scheduler", "expiry", "expired_items")
def expired_items(server: PostgresServer, at: datetime, limit: int) -> list[dict[str, Any]]:
    return []


def _waiting_crons(server: PostgresServer, fired: set[tuple[str, datetime]]) -> list[dict[str, Any]]:
    return [
        c
        for c in server.tables["crons"].values()
        if c["enabled"]
        and (c["ends_at"] is None or c["next_run_date"] <= c["ends_at"])
        and (c["cron_id"], c["next_run_date"]) not in fired
        and not parked(server, c["cron_id"])
    ]


@reads("scheduler", "crons", "due")
def due_crons(server: PostgresServer, limit: int, ids: list[str], dates: list[datetime]) -> list[dict[str, Any]]:
    at, rows = now(server), []
    waiting = _waiting_crons(server, set(zip(ids, dates, strict=True)))
    for c in sorted((c for c in waiting if c["next_run_date"] <= at), key=lambda c: c["next_run_date"])[:limit]:
        a = server.tables["assistants"].get((c["assistant_id"],), {})
        of = {f"assistant_{name}": a.get(name) for name in ("config", "context", "metadata")}
        rows.append({**c, "now": at, "graph_id": a.get("graph_id"), **of})
    return rows


@reads("scheduler", "crons", "next_due")
def next_due_cron(server: PostgresServer, ids: list[str], dates: list[datetime]) -> list[dict[str, Any]]:
    return _until(server, [c["next_run_date"] for c in _waiting_crons(server, set(zip(ids, dates, strict=True)))])


@reads("scheduler", "crons", "shown")
def shown_crons(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    found = (server.tables["crons"].get((id,)) for id in ids)
    return [{n: c[n] for n in ("cron_id", "next_run_date")} for c in found if c is not None]


@reads("scheduler", "crons", "pending")
def pending_runs(server: PostgresServer, limit: int) -> list[dict[str, Any]]:
    return [{"count": min(limit, sum(r["status"] == "pending" for r in server.tables["runs"].values()))}]


@reads("scheduler", "webhooks", "due")
def due_webhooks(
    server: PostgresServer, passed: list[str], most: int, share: int, users: list[str], taken: list[int]
) -> list[dict[str, Any]]:
    at, under_way = now(server), dict(zip(users, taken, strict=True))
    due = [
        w
        for w in server.tables["webhooks"].values()
        if w["next_attempt_at"] is not None and w["next_attempt_at"] <= at and w["run_id"] not in passed
    ]
    rows = []
    for w in sorted(due, key=lambda w: w["next_attempt_at"]):
        user = w["user_id"]
        if user and under_way.get(user, 0) >= share:
            continue
        under_way[user] = under_way.get(user, 0) + 1
        rows.append({n: w[n] for n in ("run_id", "attempts", "user_id")})
    return rows[:most]


@reads("scheduler", "webhooks", "next_due")
def next_due_webhook(server: PostgresServer, passed: list[str], full: list[str]) -> list[dict[str, Any]]:
    return _until(
        server,
        [
            w["next_attempt_at"]
            for w in server.tables["webhooks"].values()
            if w["next_attempt_at"] is not None and w["run_id"] not in passed and w["user_id"] not in full
        ],
    )


@reads("scheduler", "webhooks", "attempts")
def webhook_attempts(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    found = (server.tables["webhooks"].get((id,)) for id in ids)
    return [{n: w[n] for n in ("run_id", "attempts")} for w in found if w is not None]


@reads("scheduler", "webhooks", "delivery")
def delivery(server: PostgresServer, run_id: str, attempts: int) -> list[dict[str, Any]]:
    w = server.tables["webhooks"].get((run_id,))
    return [w] if w is not None and w["attempts"] == attempts and w["next_attempt_at"] is not None else []


# --- gateways ----------------------------------------------------------------------------------


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


@reads("gateway", "frames", "of_run")
def frames_of_run(server: PostgresServer, run_id: str) -> list[dict[str, Any]]:
    of = sorted(key for key in server.tables["frames"] if key[0] == run_id)
    return [{"data": server.tables["frames"][key]["data"]} for key in of]
