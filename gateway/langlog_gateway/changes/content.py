"""Content of one message of the feed for one kind of objects, shared by readers with an equal sight: rows, deletions, or a stale list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, assert_never

from langlog_backbone.postgres.database import load_sql
from msgspec import UNSET, Struct

from ..auth.sight import Sight
from ..auth.visibility import Parameters
from ..http.backends import Reads
from ..responses.assistants import assistant
from ..responses.crons import cron
from ..responses.failures import stored_error
from ..responses.members import Row, encode
from ..responses.runs import run
from ..responses.threads import selected_thread
from .gathering import Gathering, Kind

SQL = load_sql("langlog_gateway", "changes.sql")
MEMBER_BYTES_MAX = 32_768
"""Maximum size of interrupts, and of an error, in a row, in bytes; larger ones are read with the thread."""
BYTES_MAX = 2_000_000
"""Maximum size of the rows of one kind in a message, in bytes; beyond it, the kind is stale."""
THREAD_MEMBERS = (
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "status",
    "interrupts",
)
RUN_MEMBERS = (
    "run_id",
    "thread_id",
    "assistant_id",
    "metadata",
    "status",
    "multitask_strategy",
    "created_at",
    "updated_at",
    "cancel_reason",
)


class Content(NamedTuple):
    rows: list[str]
    """JSON objects."""
    deleted: list[str]
    stale: bool


STALE = Content([], [], stale=True)


async def content_of(reads: Reads, kind: Kind, changes: Gathering, sight: Sight) -> Content:
    """Read the content of a message. Raises ApiError 503, FilterError."""
    if kind in changes.stale:
        return STALE
    rows = await _rows(reads, kind, list(changes.changed[kind]), sight)
    if sum(len(row) for row in rows.values()) > BYTES_MAX:
        return STALE
    gone: dict[str, Any] = {
        "threads": changes.removed_threads,
        "runs": changes.removed_runs,
        "assistants": changes.removed["assistants"],
        "crons": changes.removed["crons"],
    }
    deleted, hidden = await _deleted(reads, kind, changes, list(gone[kind]), sight)
    # a thread that a client has changed and that is not there for this caller may have been there before
    hidden = hidden or (kind == "threads" and not sight.everything and not changes.relabelled <= rows.keys())
    return Content(list(rows.values()), [id for id in deleted if id not in rows], hidden)


async def _rows(reads: Reads, kind: Kind, ids: list[str], sight: Sight) -> dict[str, str]:
    """Return id -> JSON of the objects that the caller may see."""
    if not ids:
        return {}
    parameters = Parameters(ids) if kind != "threads" else Parameters(ids, MEMBER_BYTES_MAX)
    column = "t.metadata" if kind == "runs" else "metadata"
    visible = " AND ".join(sight.conditions(parameters, column)) or "TRUE"
    rows = await reads.rows(SQL[kind].replace("{visible}", visible), *parameters.values)
    return dict(_presented(kind, rows))


def _presented(kind: Kind, rows: list[Row]) -> Iterator[tuple[str, str]]:
    for row in rows:
        shown: Struct
        match kind:
            case "threads":
                id = row["thread_id"]
                shown = selected_thread(row, THREAD_MEMBERS)
                if row["cut"]:
                    shown.interrupts = UNSET
                if row["error"] is not None:
                    shown.error = stored_error(row["error"])
            case "runs":
                id, shown = row["run_id"], run(row, RUN_MEMBERS)
            case "assistants":
                id, shown = row["assistant_id"], assistant(row)
            case "crons":
                id, shown = row["cron_id"], cron(row)
            case _:
                assert_never(kind)
        yield id, encode(shown).decode()


async def _deleted(
    reads: Reads, kind: Kind, changes: Gathering, gone: list[str], sight: Sight
) -> tuple[list[str], bool]:
    """Return the ids of deleted objects that the caller could see; and whether something is gone of which that is not known."""
    if not gone or sight.everything:
        return gone, False
    if kind == "assistants" or kind == "crons":
        return [], True
    if kind == "threads":
        known = {id: metadata for id, metadata in changes.removed_threads.items() if metadata is not None}
        parameters, column = Parameters(list(known), list(known.values())), "(n.metadata::jsonb)"
        hidden = len(known) < len(gone)
    else:
        parameters, column = Parameters(gone, [changes.removed_runs[id] for id in gone]), "t.metadata"
        hidden = False
    visible = " AND ".join(sight.conditions(parameters, column)) or "TRUE"
    rows = await reads.rows(SQL[f"removed_{kind}"].replace("{visible}", visible), *parameters.values)
    return [row[0] for row in rows], hidden
