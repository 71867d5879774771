"""Thread aggregates from rows of the read model: typed, from Postgres, or text, from snapshots. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from langlog_schemas.aggregates.thread import RunInFlight, ThreadState
from langlog_schemas.commands import Ttl
from msgspec import Raw

from ..time.clock import iso

Row = Mapping[str, Any]
TRUE = (True, "true")
_json = msgspec.json.decode


def thread_state(row: Row, open_interrupts: Iterable[str], runs: Iterable[RunInFlight]) -> ThreadState:
    """Return the aggregate of a row of ``threads``. ``runs``: those in flight, in order of creation."""
    return ThreadState(
        thread_id=row["thread_id"],
        exists=True,
        created_at=_moment(row["created_at"]),
        updated_at=_moment(row["updated_at"]),
        metadata=_json(row["metadata"]),
        config=_json(row["config"]),
        ttl=None if row["ttl_minutes"] is None else Ttl(float(row["ttl_minutes"]), row["ttl_strategy"]),
        status=row["status"],
        status_when_idle=row["status_when_idle"],
        has_checkpoints=row["has_checkpoints"] in TRUE,
        frame_ms=int(row["frame_ms"]),
        seq=int(row["seq"]),
        open_interrupts=tuple(open_interrupts),
        runs={run.run_id: run for run in runs},
    )


def run_in_flight(row: Row) -> RunInFlight:
    """Return the run in flight of a row of ``runs`` that is pending or running."""
    return RunInFlight(
        run_id=row["run_id"],
        ordinal=int(row["ordinal"]),
        assistant_id=row["assistant_id"],
        graph_id=row["graph_id"],
        kwargs=Raw(row["kwargs"].encode()),
        metadata=_json(row["metadata"]),
        created_at=_moment(row["created_at"]),
        not_before=None if row["not_before"] is None else _moment(row["not_before"]),
        temporary=row["temporary"] in TRUE,
        attempt=int(row["attempt"]),
        crashes=int(row["crashes"]),
        cancel=row["cancel"],
        superseded_by=row["superseded_by"],
    )


def _moment(value: datetime | str) -> str:
    return iso(datetime.fromisoformat(value) if isinstance(value, str) else value)
