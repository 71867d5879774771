"""``langlog log state THREAD_ID --as-of …``: a past state of a thread, from the log alone; also of deleted threads.

Its decided events are folded into the aggregate that deciders keep, its checkpoints in memory; where its first events were cut, on
top of its snapshot. Changes nothing.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..ids import as_uuid, other_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langlog_backbone.history.thread_history import History, RecordedEvent
    from langlog_backbone.process.settings import Settings


@click.command(short_help="Show the state of a thread at a past time.")
@click.argument("thread_id")
@click.option(
    "--as-of", "at", type=options.Moment(positions=True), help=f"{options.TIME}; or a position.  [the end of the log]"
)
@options.config
@options.data_dir
def state(thread_id: str, at: int | datetime | None, project: Path | None, data_dir: Path | None) -> None:
    """Show a past state of a thread: status, metadata, runs in flight, and the values of its last checkpoint, as JSON.

    A position is an offset in the thread's partition, as `langlog log show --json` and the API show it.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    thread_id = as_uuid(thread_id, "THREAD_ID")
    settings = read_settings(data_dir=data_dir, project=project)
    configure_logging(settings)
    run(_state(settings, thread_id, at))


async def _state(settings: Settings, thread_id: str, at: int | datetime | None) -> int:
    import msgspec
    from langlog_backbone.history.thread_history import each_step
    from langlog_backbone.postgres.database import connect_pool

    from ..whereabouts import log_and_read_model
    from .histories import history_reader

    async with log_and_read_model(settings) as (reached, log):
        pool = await connect_pool(reached, size=1)
        try:
            # first: a scan of the log takes long, and does not find a thread by a run's id
            hints = await other_kind(pool, thread_id, "thread")
            history = None if hints else await history_reader(log, pool).whole_thread(thread_id)
        finally:
            await pool.close()
    if history is not None and history.cut:
        return 1  # already reported
    folded = None
    if history is not None:
        early = _too_early(history, at)
        if early is not None:
            click.echo(f"langlog: {early}", err=True)
            return 1
        folded = state_of(history, until(each_step(history.entries), at), settings.project)
    if folded is None:
        then = "" if at is None else " then"
        click.echo(f"langlog: there is no thread {thread_id} in the log{then}", err=True)
        for line in hints:
            click.echo(line, err=True)
        return 1
    click.echo(msgspec.json.format(msgspec.json.encode(folded), indent=2))
    return 0


def _too_early(history: History, at: int | datetime | None) -> str | None:
    """Return why the thread cannot be shown as of then, if it was cut."""
    from langlog_backbone.history.as_of import too_early

    if history.base is None or at is None or not history.base.state().exists:
        return None
    since, last = history.base.last_at(), history.last_cut
    early = at < last if isinstance(at, int) else at < since
    return too_early(history.thread_id, last, since) if early else None


def until(entries: Sequence[RecordedEvent], at: int | datetime | None) -> Sequence[RecordedEvent]:
    """Return the events up to a position, or up to the last one that is not after a moment."""
    if at is None:
        return entries
    if isinstance(at, int):
        return [entry for entry in entries if entry.record.offset <= at]
    last = max(
        (n for n, entry in enumerate(entries) if datetime.fromisoformat(entry.record.headers["ce_time"]) <= at),
        default=-1,
    )
    return entries[: last + 1]


def state_of(history: History, entries: Sequence[RecordedEvent], project: Path) -> dict[str, Any] | None:
    """Return the thread after these events, which follow its snapshot if it has one; None when it was not there."""
    from langlog_executor.replay.past_state import values_at
    from langlog_executor.replay.recorded import Recorded
    from langlog_schemas.aggregates.thread import ThreadState, evolve

    base = history.base
    state = ThreadState(thread_id=history.thread_id) if base is None else base.state()
    recorded = Recorded(history.thread_id, [] if base is None else base.rows)
    for entry in entries:
        if entry.event is not None:
            with contextlib.suppress(KeyError):  # of a run whose beginning is no longer in the log
                state = evolve(state, entry.event, entry.record.headers["ce_time"])
            recorded.note(entry.event)
    if not state.exists:
        return None
    position, time = history.last_cut, None if base is None else base.last_at().isoformat()
    if entries:
        position, time = entries[-1].record.offset, entries[-1].record.headers["ce_time"]
    head = recorded.head()
    return {
        "thread_id": history.thread_id,
        "position": position,
        "time": time,
        "status": state.status,
        "metadata": state.metadata,
        "runs": [{"run_id": run.run_id, "attempt": run.attempt} for run in state.runs.values()],
        "checkpoint_id": head,
        "values": {} if head is None else values_at(recorded, head, project),
    }
