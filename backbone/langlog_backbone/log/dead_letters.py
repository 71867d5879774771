"""Dead letters: records that could not be handled, as the topic ``dead-letters`` holds them (docs/how-to/dead-letters.md)."""

from __future__ import annotations

import asyncpg
import msgspec
from langlog_schemas import events as ev

from ..time.clock import now_iso
from .port import NewRecord, Record


def dead_letter(record: Record, error: str | None) -> NewRecord:
    """Return the record with its origin in the headers. ``error`` None: it only waits behind another record of its key."""
    headers = {
        **record.headers,
        "dead_origin": f"{record.topic}-{record.partition}-{record.offset}",
        "dead_time": now_iso(),
    }
    if error is not None:
        headers["dead_error"] = error
    return NewRecord(ev.DEAD_LETTERS, record.key, record.value, headers)


def error_text(error: Exception) -> str:
    """Return the error as text without the record's content, which messages of Postgres and of conversions may quote."""
    name = type(error).__name__
    if isinstance(error, msgspec.MsgspecError | KeyError):
        return f"{name}: {error}"[:1000]
    if isinstance(error, asyncpg.PostgresError):
        table = getattr(error, "table_name", None)
        return f"{name} ({error.sqlstate}{f', table {table}' if table else ''})"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return name if trace is None else f"{name} in {trace.tb_frame.f_code.co_qualname}"
