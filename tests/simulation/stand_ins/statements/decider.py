"""Stand-ins of the statements of the decider."""

from __future__ import annotations

from typing import Any

import msgspec

from ..memory_postgres import PostgresServer
from .registration import FLIGHT, OPEN, parked, reads


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


@reads("executor", "aggregates", "last_causes")
def last_causes(server: PostgresServer, topics: list[str], parts: list[int]) -> list[dict[str, Any]]:
    return [
        {n: row[n] for n in ("topic", "part", "cause_offset")}
        for row in server.tables["positions"].values()
        if row["topic"] in topics and row["part"] in parts
    ]


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
def letters_of(server: PostgresServer, parts: list[int], starts: list[int]) -> list[dict[str, Any]]:
    letters = list(server.tables["dead_letters"].values())
    of = [(r, True) for r in letters if r["part"] in parts and r["state"] in OPEN]
    for part, start in zip(parts, starts, strict=True):
        of += [
            (r, False)
            for r in letters
            if r["topic"] == "commands" and r["part"] == part and r["offset"] >= start and r["state"] not in OPEN
        ]
    return [{**{n: r[n] for n in ("topic", "part", "offset", "key")}, "open": waits} for r, waits in of]


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
