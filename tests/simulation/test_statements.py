"""Stand-ins of statements against the statements themselves: both run on the same generated rows, one of them on a real Postgres.

Rows and arguments are drawn from small domains, so that keys meet, values are absent, and moments lie on both sides of now. After each
statement its rows and all tables must be the same. ``NOT_COMPARED`` names members that differ by intention.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model, load_sql

from tests.simulation.stand_ins.memory_postgres import PostgresServer, Tables
from tests.simulation.stand_ins.statements import REGISTERED, statements
from tests.stack.fixtures import isolated

TRIALS = 20
NOT_COMPARED = {"attempt_log", "age_s"}
"""The log of a webhook's tries: JSON in Postgres, joined texts here. The age of a run: by the time of the statement."""
COLUMNS: dict[str, dict[str, tuple[str, bool]]] = {}

NAMED: dict[str, tuple[str, ...]] = {
    "projector.apply.note_webhook_try": (
        "run_id", "tries", "entry", "next_attempt_at?", "settled_at?", "delivered", "part", "at", "delivered",
    ),
    "projector.apply.webhook_due_again": ("run_id", "tries", "at"),
    "projector.apply.remove_parts": ("blob_id[]",),
    "projector.outcomes.prune": ("topic[]", "part[]", "kept"),
    "executor.checkpoints.position": ("part",),
    "executor.checkpoints.latest": ("thread_id", "ns", "part"),
    "executor.checkpoints.one": ("thread_id", "ns", "part", "checkpoint_id"),
    "executor.checkpoints.cause": ("topic", "part"),
    "scheduler.scheduler.dispatched_runs": ("seconds",),
    "scheduler.scheduler.overdue_runs": ("seconds",),
    "scheduler.scheduler.next_due": ("at",),
    "scheduler.expiry.expired_threads": ("longest", "limit"),
    "scheduler.expiry.expired_items": ("at", "limit"),
    "scheduler.crons.due": ("limit", "cron_id[]", "next_run_date[]"),
    "scheduler.crons.pending": ("limit",),
    "scheduler.webhooks.due": ("run_id[]", "limit", "share", "user_id[]", "taken[]"),
    "scheduler.webhooks.next_due": ("run_id[]", "user_id[]"),
    "scheduler.webhooks.delivery": ("run_id", "tries"),
    "gateway.runs.progress": ("thread_id", "run_id"),
    "gateway.runs.answer": ("thread_id", "run_id"),
    "gateway.runs.values": ("thread_id",),
    "gateway.runs.statuses": ("thread_id", "run_id[]"),
    "gateway.runs.thread_exists": ("thread_id",),
    "gateway.frames.page_of_run": ("run_id", "attempt", "first_sequence", "limit", "limit"),
    "gateway.frames.batch_with": ("run_id", "attempt", "first_sequence"),
    "gateway.frames.starts_of_run": ("run_id",),
    "gateway.threads.position": ("part",),
}  # fmt: skip
"""Arguments of statements whose text does not name them. ``[]``: an array; ``?``: may be absent."""


class Domain:
    """Draws values by the names of columns."""

    def __init__(self, seed: int, now: datetime) -> None:
        self.draw, self.now = random.Random(seed), now
        self._count = itertools.count(1)
        d = self.draw
        ids: Callable[[str], Callable[[], str]] = lambda letter: lambda: f"{letter}{d.randrange(4)}"  # noqa: E731
        one: Callable[..., Callable[[], Any]] = lambda *values: lambda: d.choice(values)  # noqa: E731
        self._by_name: dict[str, Callable[[], Any]] = {
            **{n: ids(n[0]) for n in ("thread_id", "run_id", "assistant_id", "parent_id", "blob_id")},
            "checkpoint_id": lambda: d.choice(("c0", "c1", "c2", "replaced c0")),  # as writes have it that a later run replaced
            "task_id": lambda: d.choice(("t0", "t1", *(f"t0 r{n}" for n in range(4)))),
            "cron_id": ids("t"),  # dead letters hold keys of both
            "key": ids("t"),
            "aggregate_id": ids("t"),
            "command_id": ids("k"),
            "graph_id": one("stub", "other"),
            "topic": one("run-events", "cron-events", "commands"),
            "part": one(0, 1),
            "ns": one("", "sub"),
            "channel": one("a", "b"),
            "version": one("1", "2"),
            "type": one("msgpack", "json", ""),
            "status": one("pending", "running", "success", "error", "busy", "idle"),
            "status_when_idle": one("idle", "interrupted"),
            "state": one("bad", "behind", "dropped", "decided"),
            "cancel": one("interrupt", "rollback"),
            "kwargs": one('{"resumable": true}', '{"input": null}'),
            "interrupts": one('{"x": [{"id": "i2"}, {"id": "i1"}, {"value": 1}]}', "{}", '{"x": [], "y": [{"id": "i1"}]}'),
            "versions": one('{"a": "1", "b": "2"}', '{"a": "2"}', "{}"),
            "state_values": one('{"steps": [1]}', '{"b": 1, "a": 2}'),
            "error": one('{"error": "E", "message": "m"}', '{"error": "F", "message": "n"}'),
            "entry": one('[{"n": 1}]'),
            "ttl_strategy": one("delete", "keep_latest"),
            "ttl_minutes": one(1.0, 30.0, 1e9),
            "user_id": one("", "u1", "u2"),
            "attempt": one(0, 1, 2),
            "tries": one(1, 2),
            "attempts": one(0, 1, 2),
            "idx": one(-1, 0, 1),
            "bucket": one(0, 1),
            "offset": one(0, 3, 5, 9),
            "before": one(0, 3, 5, 9),
            "first_sequence": one(0, 3),
            "ordinal": lambda: next(self._count),
            "log_position": lambda: next(self._count),
            "entries": lambda: d.randbytes(2),
            "kept": one(timedelta(minutes=5), timedelta(hours=1)),
            "seconds": one(0.0, 60.0, 900.0),
            "longest": one(5.0, 1e6),
            "limit": one(1, 2, 10),
            "share": one(1, 2),
            "taken": one(0, 1, 2),
        }  # fmt: skip

    def value(self, name: str, type: str) -> Any:
        if name == "version" and type.startswith("int"):
            return self.draw.choice((1, 2))
        if name in self._by_name and not (name == "status" and type.startswith("int")):
            return self._by_name[name]()
        match type.removesuffix("[]"):
            case "timestamptz" | "timestamp with time zone":
                return self.now + timedelta(microseconds=self.draw.randint(-3_600_000_000, 3_600_000_000))
            case "jsonb" | "json":
                return self.draw.choice(('{"k": 1}', '{"k": 2, "a": null}', "{}"))
            case "bool" | "boolean":
                return self.draw.random() < 0.5
            case "bytea":
                return self.draw.randbytes(3)
            case "float8" | "double precision":
                return float(self.draw.randrange(50))
            case "int" | "int4" | "integer" | "int8" | "bigint":
                return self.draw.randrange(12)
            case _:
                return self.draw.choice(('{"k": 1}', "{}") if name in JSON_TEXTS else ("x", "y"))


JSON_TEXTS = {"metadata", "config", "context", "payload", "schemas"}
KEYS = {
    "positions": ("topic", "part"), "assistants": ("assistant_id",), "assistant_versions": ("assistant_id", "version"),
    "threads": ("thread_id",), "runs": ("run_id",), "webhooks": ("run_id",),
    "checkpoints": ("thread_id", "ns", "checkpoint_id"), "checkpoint_blobs": ("thread_id", "ns", "channel", "version"),
    "checkpoint_writes": ("thread_id", "ns", "checkpoint_id", "task_id", "idx"), "checkpoint_parts": ("blob_id", "idx"),
    "frames": ("run_id", "attempt", "first_sequence"), "thread_events": ("thread_id", "bucket", "run_id"),
    "crons": ("cron_id",), "outcomes": ("command_id",), "dead_letters": ("topic", "part", "offset"),
}  # fmt: skip


async def filled(connection: Any, domain: Domain) -> Tables:
    """Put the same rows into both."""
    tables = Tables()
    for table, key in KEYS.items():
        columns = COLUMNS[table]
        for _ in range(domain.draw.randint(2, 7)):
            row = {
                name: None if nullable and domain.draw.random() < 0.4 else domain.value(name, type)
                for name, (type, nullable) in columns.items()
            }
            if table == "webhooks":
                row["attempt_log"] = "[]"
            tables.tables[table].setdefault(tuple(row[k] for k in key), row)
        names = ", ".join(f'"{name}"' for name in columns)
        places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await connection.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({places})",
            [tuple(row[c] for c in columns) for row in tables.tables[table].values()],
        )
    return tables


def arguments(id: str, text: str, domain: Domain, tables: Tables) -> list[Any]:
    code = re.sub(r"--.*", "", text)
    types = {int(n): type for n, type in re.findall(r"\$(\d+)::(\w+(?:\[\])?)", code)}
    count = max((int(n) for n in re.findall(r"\$(\d+)", code)), default=0)
    given: dict[int, Any] = {}
    into = re.search(r"(?:INSERT INTO|UPDATE) (\w+)", code)
    table = into[1] if into else ""
    groups: list[tuple[list[int], list[str]]] = []
    for match in re.finditer(r"unnest\(((?:\$\d+::\w+\[\],?\s*)+)\)(?:\s+AS \w+ ?\(([^)]*)\))?", code):
        numbers = [int(n) for n in re.findall(r"\$(\d+)", match[1])]
        listed = match[2] or (re.search(r"INSERT INTO \w+(?: AS \w+)? \(([^)]*)\)", code) or [None, ""])[1]
        groups.append((numbers, [name.strip().strip('"') for name in (listed or "").split(",")]))
    if "VALUES ($1" in code:
        columns = re.search(r"INSERT INTO \w+ \(([^)]*)\)", code)
        assert columns is not None
        for number, name in enumerate((c.strip().strip('"') for c in columns[1].split(",")), 1):
            type, nullable = COLUMNS[table][name]
            given[number] = None if nullable and domain.draw.random() < 0.4 else domain.value(name, type)
        return [given[n] for n in range(1, count + 1)]
    if id in NAMED:
        size = domain.draw.randrange(4)
        for number, name in enumerate(NAMED[id], 1):
            plain, type = name.rstrip("[]?"), types.get(number, "")
            if not type and plain in ("at", "next_attempt_at", "settled_at", "next_run_date"):
                type = "timestamptz"
            if not type and plain == "delivered":
                type = "bool"
            if name.endswith("[]"):
                given[number] = [domain.value(plain, type) for _ in range(size)]
            else:
                given[number] = None if name.endswith("?") and domain.draw.random() < 0.5 else domain.value(plain, type)
        if id in ("scheduler.crons.due",):
            _fired(given, 2, domain, tables)
        if id == "projector.outcomes.prune":
            pairs = sorted(set(zip(given[1], given[2], strict=True)))
            given[1], given[2] = [p[0] for p in pairs], [p[1] for p in pairs]
        if id == "scheduler.webhooks.due":
            taken = dict(zip(given[4], given[5], strict=True))
            given[4], given[5] = list(taken), list(taken.values())
        return [given[n] for n in range(1, count + 1)]
    for numbers, names in groups:
        owner = "thread_events" if "bucket" in names else ("positions" if "cause_offset" in names else table)
        rows: dict[Any, dict[str, Any]] = {}
        for _ in range(domain.draw.randrange(5)):
            row = {
                n: _argument(n, types[number], owner, code, domain) for n, number in zip(names, numbers, strict=True)
            }
            if id == "projector.apply.insert_webhooks":
                _webhook(row, domain)
            key = tuple(row[k] for k in KEYS.get(owner, ()) if k in row) or tuple(row.values())
            if id == "projector.apply.index_again" and key in tables["thread_events"]:
                continue
            rows.setdefault(key, row)
        for name, number in zip(names, numbers, strict=True):
            given[number] = [row[name] for row in rows.values()]
    if id == "scheduler.crons.next_due":
        given |= {1: [], 2: []}
        _fired(given, 1, domain, tables)
    for match in re.finditer(r"(?:\w+\.)?(\w+) (?:= ANY|<> ALL) ?\(\$(\d+)", code):
        number = int(match[2])
        if number not in given:
            given[number] = sorted({domain.value(match[1], types[number]) for _ in range(domain.draw.randrange(4))})
    assert sorted(given) == list(range(1, count + 1)), f"{id}: name its arguments in NAMED: {sorted(given)} of {count}"
    return [given[n] for n in range(1, count + 1)]


def _argument(name: str, type: str, table: str, code: str, domain: Domain) -> Any:
    _, nullable = COLUMNS.get(table, {}).get(name, ("", False))
    optional = (
        any(re.search(rf"{form}n\.{name}\b", code) for form in (r"COALESCE\(", r"GREATEST\("))
        or f"n.{name} IS NULL" in code
    )
    if (nullable or optional) and domain.draw.random() < 0.4:
        return None
    if name in ("state_values", "error") and table == "threads" and domain.draw.random() < 0.3:
        return "null"
    return domain.value(name, type)


def _webhook(row: dict[str, Any], domain: Domain) -> None:
    """Either the row has all of its run, or the run is looked up."""
    of_run = ("assistant_id", "metadata", "multitask_strategy", "created_at", "temporary", "user_id")
    types = {"created_at": "timestamptz", "temporary": "bool"}
    for name in of_run:
        row[name] = None if row["kwargs"] is None else domain.value(name, types.get(name, "text"))


def _fired(given: dict[int, Any], first: int, domain: Domain, tables: Tables) -> None:
    fired = [c for c in tables["crons"].values() if domain.draw.random() < 0.3]
    given[first], given[first + 1] = [c["cron_id"] for c in fired], [c["next_run_date"] for c in fired]


def plain(value: Any) -> Any:
    """JSON is compared by its content, and floats by six digits."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        return json.loads(value)
    return round(value, 6) if isinstance(value, float) else value


def of_row(row: Any) -> dict[str, Any]:
    """A row without the order of its aggregated arrays."""
    flat = {name: plain(value) for name, value in row.items() if name not in NOT_COMPARED}
    for names in (
        ("channels", "types", "datas"),
        ("task_ids", "idxs", "task_paths", "write_channels", "write_types", "write_datas"),
    ):
        if flat.get(names[0]):
            flat |= dict(
                zip(names, zip(*sorted(zip(*(flat[n] for n in names), strict=True)), strict=True), strict=True)
            )
    return {"thread_id": flat["thread_id"], "parked": True} if flat.get("parked") is True else flat


def same_rows(text: str, real: list[Any], stand_in: Any) -> None:
    ours = [dict(row) for row in stand_in] if isinstance(stand_in, list) else []
    if real and set(real[0].keys()) - set(ours[0] if ours else ()):
        assert len(real[0]) == 1 or not ours, f"{real} and {ours}"
        assert [plain(row[0]) for row in real] == [plain(next(iter(row.values()))) for row in ours]
        return
    names = list(real[0].keys()) if real else []
    left = [of_row(dict(row)) for row in real]
    right = [of_row({name: row[name] for name in names}) for row in ours] if real else ours
    if "DISTINCT" in text:
        left, right = ([row for n, row in enumerate(rows) if row not in rows[:n]] for rows in (left, right))
    if "ORDER BY" not in text.rsplit(")", 1)[-1]:
        left, right = sorted(left, key=repr), sorted(right, key=repr)
    assert left == right


async def same_tables(connection: Any, tables: Tables) -> None:
    for table, key in KEYS.items():
        real = {
            tuple(row[k] for k in key): of_row(dict(row)) for row in await connection.fetch(f"SELECT * FROM {table}")
        }
        ours = {k: of_row({name: row.get(name) for name in COLUMNS[table]}) for k, row in tables[table].items()}
        assert real == ours, table


IDS = [f"{package}.{file}.{name}" for package, file, name, _, _ in REGISTERED]


@pytest.fixture
async def connection(postgres: EmbeddedPostgres, tmp_path: Path) -> Any:
    settings = isolated(None, tmp_path, {"database_uri": postgres.uri})
    pool = await connect_pool(settings, size=1)
    await ensure_read_model(pool, settings)
    async with pool.acquire() as connection:
        if not COLUMNS:
            for table in KEYS:
                rows = await connection.fetch(
                    "SELECT column_name, data_type, is_nullable = 'YES' AS nullable FROM information_schema.columns "
                    "WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position",
                    settings.projection,
                    table,
                )
                COLUMNS[table] = {row["column_name"]: (row["data_type"], row["nullable"]) for row in rows}
        yield connection
    await pool.close()


async def test_each_stand_in_does_what_its_statement_does(connection: asyncpg.Connection) -> None:
    compared, wrong = 0, dict[str, str]()
    for seed in range(TRIALS):
        transaction = connection.transaction()
        await transaction.start()
        now = await connection.fetchval("SELECT now()")
        domain = Domain(seed, now)
        tables = await filled(connection, domain)
        for (package, file, name, _, writing), id in zip(REGISTERED, IDS, strict=True):
            text = load_sql(f"langlog_{package}", f"{file}.sql")[name]
            server = PostgresServer(now.timestamp, statements())
            server.tables = copy.deepcopy(tables)
            again = connection.transaction()
            await again.start()
            given: list[Any] = []
            try:
                given = arguments(id, text, domain, tables)
                real = await connection.fetch(text, *given)
                stand_in = server.statements[text][0](server, *given)
                if isinstance(stand_in, list):
                    same_rows(text, real, stand_in)
                if writing:
                    await same_tables(connection, server.tables)
            except Exception as error:
                wrong.setdefault(id, f"seed {seed}: {error!r}, arguments {given}")
            await again.rollback()
            compared += 1
        await transaction.rollback()
    if wrong:
        pytest.fail("\n".join(f"{id}: {text}" for id, text in wrong.items()), pytrace=False)
    assert compared == TRIALS * len(IDS)
