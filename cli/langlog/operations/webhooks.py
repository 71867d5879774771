"""``langlog webhooks``: deliveries of webhooks that wait or were given up, and how to send these again.

What sending again does is `langlog_backbone.operation.webhooks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options
from ..ids import as_uuid
from .connected import read_model, read_model_and_log, run_with_settings

if TYPE_CHECKING:
    from langlog_backbone.operation.webhooks import State
    from langlog_backbone.process.settings import Settings

    from ..lists.table import Column, Row, Times

STATES: tuple[State, ...] = ("given up", "waiting")
LIMIT = 100
thread = click.option("--thread", "thread_id", help="Only of this thread.")


@click.group(short_help="Webhooks that were not delivered.")
def webhooks() -> None:
    """Webhooks that wait for their next attempt, and those that were given up."""


@webhooks.command("list", short_help="List the webhooks that are not delivered.")
@click.option(
    "--state", type=click.Choice([state.replace(" ", "-") for state in STATES]), help="Only those in this state."
)
@thread
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="Print at most so many.")
@click.option("--wide", is_flag=True, help="Cut nothing, whatever the terminal's width.")
@options.as_json
@options.data_dir
def list_(
    state: str | None, thread_id: str | None, limit: int, *, wide: bool, as_json: bool, data_dir: Path | None
) -> None:
    """List the webhooks that were given up, the last one first, and then those that wait, the next one first.

    Addresses are printed without credentials and query.
    """
    states = [one for one in STATES if state in (None, one.replace(" ", "-"))]
    of = thread_id and as_uuid(thread_id, "--thread")
    run_with_settings(_list, data_dir, states, of, limit, wide=wide, as_json=as_json)


@webhooks.command(short_help="Send webhooks that were given up again.")
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@click.option("--all", "every", is_flag=True, help="All that were given up until now.")
@thread
@options.yes
@options.data_dir
def retry(run_ids: tuple[str, ...], *, every: bool, thread_id: str | None, yes: bool, data_dir: Path | None) -> None:
    """Attempt the webhooks of these runs again, as often as new ones. Receivers get the same body and the same webhook-id as before.

    Exit code 1: a run's webhook was not given up, or its content is gone; the others are sent all the same.
    """
    if every == bool(run_ids):
        raise click.UsageError("name the runs whose webhooks are sent again, or all of them with --all")
    if thread_id is not None and not every:
        raise click.UsageError("--thread belongs to --all: a run is named by its id alone")
    if every and not yes:
        options.check_terminal("langlog webhooks retry --all sends webhooks again")
    ids = [as_uuid(run_id, "RUN_ID") for run_id in run_ids]
    of = thread_id and as_uuid(thread_id, "--thread")
    run_with_settings(_retry, data_dir, ids, of, yes=yes)


async def _list(
    settings: Settings, states: Sequence[State], thread_id: str | None, limit: int, *, wide: bool, as_json: bool
) -> int:
    import msgspec
    from langlog_backbone.operation.webhooks import counts, undelivered

    from ..lists.listing import terminal_width
    from ..lists.table import Table

    width = None if wide else terminal_width()
    table = Table(columns("iso" if width is None else "age"), width)
    left = limit
    async with read_model(settings) as pool:
        numbers = await counts(pool, thread_id)
        for state in states:
            async for page in undelivered(pool, state, thread_id, limit=left):
                left -= len(page)
                rows = [msgspec.to_builtins(one) for one in page]
                for line in (msgspec.json.encode(row).decode() for row in rows) if as_json else table.lines(rows):
                    click.echo(line)
    there = {"given up": numbers.given_up, "waiting": numbers.waiting}
    more = sum(there[state] for state in states) - (limit - left)
    if not as_json and left == limit:
        click.echo("No webhook waits or was given up." if len(states) > 1 else "No webhook is in that state.")
    elif left == 0 and more > 0:
        click.echo(f"{more:,} more {'is' if more == 1 else 'are'} not shown: see --limit.", err=True)
    return 0


def columns(times: Times) -> Sequence[Column]:
    """Return the columns of the list."""
    from langlog_backbone.time.sources import machine_now

    from ..lists.table import Column, shown_time

    def time(name: str) -> Column:
        return Column(
            name.upper(), lambda row: shown_time(row.get(f"{name}_at".replace(" ", "_")), times, machine_now())
        )

    return [
        Column("RUN", lambda row: str(row["run_id"]), "id"),
        Column("STATUS", lambda row: str(row["status"])),
        Column("ATTEMPTS", lambda row: str(row["attempts"])),
        time("last attempt"),
        Column("NEXT ATTEMPT", lambda row: _next(row, times)),
        Column("THREAD", lambda row: str(row["thread_id"]), "id"),
        Column("URL", lambda row: str(row["url"]), "cut"),
        Column("ERROR", lambda row: str(row["error"] or ""), "cut"),
    ]


def _next(row: Row, times: Times) -> str:
    """Return how long until the next attempt, or its time."""
    from datetime import datetime

    from langlog_backbone.time.sources import machine_now

    from ..lists.table import shown_time, span

    if row["next_attempt_at"] is None:
        return "never" if row["kept"] else "never, content gone"
    if times != "age":
        return shown_time(row["next_attempt_at"], times, machine_now())
    return f"in {span((datetime.fromisoformat(row['next_attempt_at']) - machine_now()).total_seconds())}"


async def _retry(settings: Settings, run_ids: Sequence[str], thread_id: str | None, *, yes: bool) -> int:
    from langlog_backbone.operation.webhooks import counts, send_again, send_all_again

    from .why import existing

    async with read_model_and_log(existing(settings)) as (pool, log):
        if run_ids:
            sent, refused = await send_again(pool, log, run_ids)
            for one in refused:
                click.echo(f"langlog: run {one.run_id} is left out: {one.reason}", err=True)
            _report(sent)
            return 1 if refused else 0
        numbers = await counts(pool, thread_id)
        if numbers.sendable == 0:
            click.echo("No webhook was given up that could be sent again.")
            return 0
        what = f"{numbers.sendable:,} webhook{'s' if numbers.sendable > 1 else ''}"
        if not options.confirmed(f"Send {what} again?", yes=yes, what=f"langlog webhooks retry sends {what} again"):
            return 1
        sent = 0
        async for count in send_all_again(pool, log, numbers.at, thread_id):
            sent += count
        _report(sent)
        return 0


def _report(sent: int) -> None:
    if sent:
        click.echo(
            f"{sent:,} webhook{'s are' if sent > 1 else ' is'} due again: langlog webhooks list shows the result."
        )
