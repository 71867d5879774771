"""``langlog log state THREAD_ID --as-of …``: a thread as it was, from the log alone; also of threads that are gone.

Its decided events are folded into the aggregate that deciders keep, its checkpoints in memory. Changes nothing.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langlog_backbone.settings import Settings

    from .history import Told


@click.command()
@click.argument("thread_id")
@click.option("--as-of", "text", help="A time in ISO 8601 (UTC without a zone), or a position.  [the end of the log]")
@click.option("--config", "project", type=click.Path(path_type=Path), help="The project file.  [langgraph.json]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Of langlog dev.  [LANGLOG_DATA_DIR]")
def state(thread_id: str, text: str | None, project: Path | None, data_dir: Path | None) -> None:
    """Show a thread as it was: status, metadata, runs in flight, and the values of its last checkpoint, as JSON.

    A position is an offset in the thread's partition, as `langlog log show --json` and the API give it.
    """
    from langlog_backbone.as_of import moment_or_position
    from langlog_backbone.logging import configure_logging
    from langlog_backbone.settings import read_settings

    from .running import run
    from .show import as_uuid

    thread_id = as_uuid(thread_id, "THREAD_ID")
    try:
        at = None if text is None else moment_or_position(text)
    except ValueError:
        raise click.BadParameter("a time in ISO 8601 or a position", param_hint="--as-of") from None
    settings = read_settings(data_dir=data_dir, project=project)
    configure_logging(settings)
    run(_state(settings, thread_id, at))


async def _state(settings: Settings, thread_id: str, at: int | datetime | None) -> int:
    import msgspec
    from langlog_backbone.postgres import connect_pool

    from .history import of_thread
    from .whereabouts import log_and_read_model

    async with log_and_read_model(settings) as (reached, log):
        pool = await connect_pool(reached, size=1)
        try:
            history = await of_thread(log, pool, thread_id)
        finally:
            await pool.close()
    if history is not None and history.cut:
        return 1  # said already
    entries = [] if history is None else until(history.entries, at)
    found = told(thread_id, entries, settings.project) if entries else None
    if found is None:
        click.echo(f"langlog: there was no thread {thread_id} then", err=True)
        return 1
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    return 0


def until(entries: Sequence[Told], at: int | datetime | None) -> Sequence[Told]:
    """Those up to a position, or up to the last one that is not after a moment."""
    if at is None:
        return entries
    if isinstance(at, int):
        return [told for told in entries if told.record.offset <= at]
    last = max(
        (n for n, told in enumerate(entries) if datetime.fromisoformat(told.record.headers["ce_time"]) <= at),
        default=-1,
    )
    return entries[: last + 1]


def told(thread_id: str, entries: Sequence[Told], project: Path) -> dict[str, Any] | None:
    """The thread after these events; None when it was not there."""
    from langlog_executor.past_state import values_at
    from langlog_executor.recorded import Recorded
    from langlog_schemas.thread import ThreadState, evolve

    state, recorded = ThreadState(thread_id=thread_id), Recorded(thread_id)
    for entry in entries:
        if entry.event is not None:
            with contextlib.suppress(KeyError):  # of a run whose beginning is no longer in the log
                state = evolve(state, entry.event, entry.record.headers["ce_time"])
            recorded.note(entry.event)
    if not state.exists:
        return None
    head = recorded.head()
    return {
        "thread_id": thread_id,
        "position": entries[-1].record.offset,
        "time": entries[-1].record.headers["ce_time"],
        "status": state.status,
        "metadata": state.metadata,
        "runs": [{"run_id": run.run_id, "attempt": run.attempt} for run in state.runs.values()],
        "checkpoint_id": head,
        "values": {} if head is None else values_at(recorded, head, project),
    }
