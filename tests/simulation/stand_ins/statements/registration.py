"""Registration of stand-ins: which statement each stands for, and what many of them need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..memory_postgres import PostgresServer

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


def by_column(act: Callable[..., Any]) -> Callable[..., Any]:
    """The function takes rows: the statement's arrays, one for each name of its ``AS n (…)``."""
    act.by_column = True  # type: ignore[attr-defined]
    return act


def now(server: PostgresServer) -> datetime:
    return datetime.fromtimestamp(server.clock(), UTC)


def null_if_null(text: str | None) -> str | None:
    return None if text == "null" else text


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def parked(server: PostgresServer, key: str) -> bool:
    letters = server.tables["dead_letters"]
    return bool(letters) and any(row["key"] == key and row["state"] in OPEN for row in letters.values())
