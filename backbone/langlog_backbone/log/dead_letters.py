"""Dead letters: records that could not be handled, as the topic ``dead-letters`` holds them (docs/how-to/dead-letters.md)."""

from __future__ import annotations

import asyncpg
import msgspec
from langlog_schemas import events as ev

from ..time.clock import now_iso
from .foreign_records import storable_headers, storable_text
from .port import NewRecord, Record


def dead_letter(record: Record, error: str | None, max_bytes: int) -> NewRecord:
    """Return the record with its origin in the headers. ``error`` None: it only waits behind another record of its key.

    ``max_bytes``: maximum size of a record. The broker may have taken a larger one from another producer: its body stays where it is.
    """
    origin, value = f"{record.topic}-{record.partition}-{record.offset}", record.value
    if len(value) > max_bytes:
        error, value = f"a body of {len(value)} bytes, which no dead letter holds: it is in the log at {origin}", b""
    headers = storable_headers(record.headers) | {"dead_origin": origin, "dead_time": now_iso()}
    if error is not None:
        headers["dead_error"] = storable_text(error)
    return NewRecord(ev.DEAD_LETTERS, record.key, value, headers)


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
