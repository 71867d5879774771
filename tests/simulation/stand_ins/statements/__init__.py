"""langlog's statements on the tables in memory: one function for each text of the ``.sql`` files that worlds use.

`tests/simulation/test_statements.py` compares each of them (`REGISTERED`) with its statement on a real Postgres, over generated rows and
arguments. Not compared: the three texts of other modules that `statements` adds, the log of a webhook's tries (texts joined instead of JSON),
the age of a run (the clock of the statement), the order of rows where the text leaves it open, and plans, locks and speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, zip_longest
from typing import Any

import asyncpg
from langlog_backbone.postgres.database import load_sql
from langlog_projector.apply import INDEX_AND_CLAIM, TOGETHER, claiming, together
from langlog_projector.apply import SQL as APPLY

from ..memory_postgres import PostgresServer, Statement
from . import decider, gateways, projector, scheduler, workers  # noqa: F401 - each registers its own
from .registration import REGISTERED

__all__ = ["REGISTERED", "statements"]


@cache
def statements() -> dict[str, tuple[Statement, bool]]:
    """Text -> what it does, and whether it writes. Raises KeyError for a statement that is no longer there."""
    known: dict[str, tuple[Statement, bool]] = {}
    for package, file, name, act, writing in REGISTERED:
        text = load_sql(f"langlog_{package}", f"{file}.sql")[name]
        names = re.findall(r"\bAS n \(([\w\s,\"]+)\)", text)
        columns = tuple(column.strip().strip('"') for column in names[0].split(",")) if names else ()
        known[text] = (_with_columns(act, columns) if columns and getattr(act, "by_column", False) else act, writing)
    known |= dict(_executed_together(known))
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


def _executed_together(known: dict[str, tuple[Statement, bool]]) -> Iterator[tuple[str, tuple[Statement, bool]]]:
    """Yield each statement that the projector composes of several, which do not depend on each other."""
    for count in range(2, len(TOGETHER) + 1):
        for names in (*combinations(TOGETHER, count), *([INDEX_AND_CLAIM] if count == 2 else [])):
            parts = [(known[APPLY[name]][0], len(set(re.findall(r"\$\d+", APPLY[name])))) for name in names]
            yield together(*names), (_in_turn(parts), True)
    for count in range(1, len(TOGETHER) + 1):
        for names in combinations(TOGETHER, count):
            parts = [(known[APPLY[name]][0], len(set(re.findall(r"\$\d+", APPLY[name])))) for name in names]
            yield claiming(*names), (_claiming(known[APPLY["claim_positions"]][0], _in_turn(parts)), True)


def _claiming(claim: Statement, others: Statement) -> Statement:
    """As `claiming`: the statement fails as a whole, so the positions are compared before any row is written."""

    def run(server: PostgresServer, *arguments: Any) -> Any:
        columns, count, rows = arguments[:7], arguments[7], arguments[8:]
        positions = server.tables["positions"]
        found = [positions.get((topic, part)) for topic, part in zip(*columns[:2], strict=True)]
        if [row and row["offset"] for row in found] != list(columns[2]):
            raise asyncpg.DivisionByZeroError("division by zero")
        assert claim(server, *columns) == count
        return others(server, *rows)

    return run


def _in_turn(parts: list[tuple[Statement, int]]) -> Statement:
    def run(server: PostgresServer, *arguments: Any) -> Any:
        for act, width in parts:
            done = act(server, *arguments[:width])
            arguments = arguments[width:]
        return done

    return run


def _with_columns(act: Callable[..., Any], columns: tuple[str, ...]) -> Callable[..., Any]:
    width = len(columns)

    def run(server: PostgresServer, *arrays: Any) -> Any:
        # as unnest does, which fills up shorter arrays
        rows = [dict(zip(columns, values, strict=True)) for values in zip_longest(*arrays[:width])]
        return act(server, rows, *arrays[width:])

    return run
