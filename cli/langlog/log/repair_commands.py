"""``langlog log repair-commands``: makes ``commands`` usable again where the topic was deleted. See ``docs/how-to/kafka.md``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings


@click.command(name="repair-commands", short_help="Repair a topic of commands that was deleted.")
@click.option("--yes", is_flag=True, help="Repair without confirmation.")
@options.data_dir
def repair_commands(*, yes: bool, data_dir: Path | None) -> None:
    """Make offsets of the topic `commands` continue behind the last command that was decided, on Kafka.

    Where the topic was deleted and made again, or has lost its end, services refuse to start: deciders would pass over new commands.
    Restoring a backup is better, because commands that were acknowledged and not decided yet are lost otherwise. All that was decided is
    kept: threads, runs, their state. Commands that the new topic holds are carried out.

    Stop all services first. Uses LOG_URI and DATABASE_URI, or the Postgres of the data folder.
    """
    from ..operations.connected import run_with_settings

    if not options.confirmed(
        "Commands that were not decided before the topic was deleted are lost. Repair it?",
        yes=yes,
        what="langlog log repair-commands gives up commands that were not decided",
    ):
        click.echo("Nothing was changed.", err=True)
        raise SystemExit(1)
    run_with_settings(_repair, data_dir)


async def _repair(settings: Settings) -> int:
    from langlog_backbone.log import LogFault
    from langlog_backbone.log.kafka.copy_target import CopyTarget
    from langlog_backbone.read_model.passed_commands import last_commands, not_folded
    from langlog_backbone.transfer.at_rest import held
    from langlog_backbone.transfer.repair import repair_commands
    from langlog_backbone.transfer.targets import KAFKA

    from ..operations.connected import postgres
    from ..whereabouts import postgres_of_folder

    if not settings.log_uri.startswith(KAFKA):
        raise LogFault(
            "langlog log repair-commands is for topics of Kafka (LOG_URI=kafka://…); restore an embedded log"
        )
    async with (
        held(settings, settings.log_uri),
        postgres_of_folder(settings) as reached,
        postgres(reached) as pool,
    ):
        log = CopyTarget(settings.log_uri.removeprefix(KAFKA), settings)
        await log.start()
        try:
            if (behind := await not_folded(pool.fetch, log)) is not None:
                raise LogFault(behind)
            repaired = await repair_commands(log, await last_commands(pool.fetch))
        finally:
            await log.stop()
    if not repaired.partitions:
        click.echo("Nothing to repair: each partition of commands holds the last command that was decided.")
        return 0
    click.echo(f"Repaired {repaired.partitions} partitions. {repaired.copied} commands of theirs will be carried out.")
    return 0
