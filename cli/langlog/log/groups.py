"""``langlog log groups``: the readers of the log, their positions and their lag. Joins no group, changes nothing.

Deciders and outside consumers commit positions on the log; projections store theirs in Postgres, beside the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.operation.group_lag import GroupPosition
    from langlog_backbone.process.settings import Settings


@click.command(short_help="Show how far each group of readers is behind.")
@click.option("--partitions", "each", is_flag=True, help="A line for each partition.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line: group, topic, partition, position, end, lag."
)
@options.data_dir
def groups(*, each: bool, as_json: bool, data_dir: Path | None) -> None:
    """Show the position of every group of readers and its lag behind the end of the log.

    Deciders, projections (by their Postgres schema), and on Kafka every other group that reads langlog's topics.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_groups(settings, each=each, as_json=as_json))


async def _groups(settings: Settings, *, each: bool, as_json: bool) -> int:
    import msgspec
    from langlog_backbone.operation.group_lag import gather
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.read_model.same_log import OtherLog, check_same_log

    from ..whereabouts import log_and_read_model

    async with log_and_read_model(settings, compared=False) as (reached, log):
        pool = await connect_pool(reached, size=1)
        try:
            try:
                await check_same_log(pool.fetch, log, reached.projection)
            except OtherLog as error:
                click.echo(f"langlog: {error}", err=True)  # and who is how far all the same
            positions = await gather(log, pool)
        finally:
            await pool.close()
    if as_json:
        for position in positions:
            click.echo(msgspec.json.encode({**position._asdict(), "lag": position.lag}))
    else:
        for line in table(positions, each=each):
            click.echo(line)
    return 0


def table(positions: list[GroupPosition], *, each: bool) -> list[str]:
    """Return a table for people: one line per topic, or per partition."""
    rows: list[tuple[str, ...]] = [("GROUP", "TOPIC", "PARTITIONS", "POSITION", "END", "LAG")]
    if each:
        rows[0] = ("GROUP", "TOPIC", "PARTITION", "POSITION", "END", "LAG")
        rows += [(x.group, x.topic, str(x.partition), f"{x.position:,}", f"{x.end:,}", f"{x.lag:,}") for x in positions]
    else:
        for group, topic in dict.fromkeys((x.group, x.topic) for x in positions):
            of = [x for x in positions if (x.group, x.topic) == (group, topic)]
            behind = sum(x.lag > 0 for x in of)
            count = f"{len(of)}" if not behind else f"{len(of)}, {behind} behind"
            sums = (sum(x.position for x in of), sum(x.end for x in of), sum(x.lag for x in of))
            rows.append((group, topic, count, *(f"{n:,}" for n in sums)))
    widths = [max(len(row[n]) for row in rows) for n in range(6)]
    return [
        "  ".join(
            cell.ljust(width) if n < 3 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
