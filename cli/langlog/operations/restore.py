"""``langlog restore``: restores a backup into an empty deployment. See ``docs/how-to/backup.md``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings


@click.command(short_help="Restore a backup into an empty deployment.")
@click.argument("backup", type=click.Path(path_type=Path), metavar="DIRECTORY|FILE.tar")
@click.option("--check-only", is_flag=True, help="Only check the backup and the keys that it needs.")
@click.option("--log-only", is_flag=True, help="Only the log: no Postgres is needed, and no read model is made.")
@click.option("--add", is_flag=True, help="The target holds the beginning of this backup: add the rest.")
@options.data_dir
def restore(backup: Path, *, check_only: bool, log_only: bool, add: bool, data_dir: Path | None) -> None:
    """Restore a backup of `langlog backup`, and fold the read model from it.

    Into the data folder (--data-dir), or into LOG_URI and DATABASE_URI where they are set; a backup of an embedded langlog may go to
    Kafka, and the other way round. First the whole backup is checked: the manifest, the checksum of each file, each record's place, and
    that LANGLOG_MASTER_KEY has the keys which wrap those of the threads. A target that holds records is refused. At the end the log is
    read again and compared with the backup.

    Interrupted, run it again: it continues. No service starts on a log whose restore is unfinished.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_restore(settings, backup, check_only=check_only, log_only=log_only, add=add))


async def _restore(settings: Settings, path: Path, *, check_only: bool, log_only: bool, add: bool) -> int:
    from langlog_backbone.embedded.servers import LOG_FILE, data_folder_lock
    from langlog_backbone.log import LogFault
    from langlog_backbone.transfer.at_rest import held
    from langlog_backbone.transfer.backup_files import Backup, BackupFault
    from langlog_backbone.transfer.digests import Gap
    from langlog_backbone.transfer.restore import check, restore
    from langlog_backbone.transfer.targets import opened_target
    from msgspec.structs import replace

    from ..progress import Phases
    from ..whereabouts import postgres_of_folder

    folder = settings.data_dir.absolute()
    try:
        async with contextlib.AsyncExitStack() as stack:
            phases = stack.enter_context(Phases())
            backup = stack.enter_context(Backup(path))
            manifest = backup.manifest
            for warning in await check(backup, settings, phases.show):
                click.echo(f"langlog: {warning}", err=True)
            click.echo(
                f"{path}: {manifest.records:,} records, {manifest.keys.threads:,} keys of threads; made by {manifest.made_by} from "
                f"{manifest.began} to {manifest.ended}. It is whole."
            )
            if check_only:
                return 0
            folder_held = not settings.log_uri or (not settings.database_uri and not log_only)
            if folder_held:
                stack.enter_context(data_folder_lock(folder))
            if settings.log_uri and not (folder_held and _folder_of(settings.log_uri) == folder):
                if (parent := _folder_of(settings.log_uri)) is not None:
                    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                await stack.enter_async_context(held(settings, settings.log_uri))
            settings = replace(settings, log_uri=settings.log_uri or f"sqlite://{folder / LOG_FILE}")
            if not log_only:
                settings = await stack.enter_async_context(postgres_of_folder(settings, locked=True))
                await _refuse_read_model(settings, add=add)
            target = await stack.enter_async_context(opened_target(settings, settings.log_uri))
            restored = await restore(backup, target, settings, phases.show, beside=not log_only, add=add)
            before = f" {restored.before:,} records were there before." if restored.before else ""
            click.echo(f"Restored {restored.records:,} records.{before} Compared all of them: no differences.")
            if not log_only:
                await _fold(settings)
    except OSError as error:
        raise BackupFault(f"the backup {path} cannot be restored: {error.strerror or error}") from None
    except Gap as error:
        raise LogFault(str(error)) from None
    return 0


def _folder_of(log_uri: str) -> Path | None:
    """Return the folder of an embedded log; None on Kafka."""
    return Path(log_uri.removeprefix("sqlite://")).parent if log_uri.startswith("sqlite://") else None


async def _refuse_read_model(settings: Settings, *, add: bool) -> None:
    """Refuse to restore beside a read model of another log, which services would continue."""
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.process.service import StartError
    from langlog_projector.rebuild.rebuild import live_positions

    if add:
        return
    pool = await connect_pool(settings, size=1)
    try:
        positions = await live_positions(pool)
    finally:
        await pool.close()
    if positions is not None and any(positions.values()):
        raise StartError(
            f"the database holds a read model {settings.projection} already: restore into an empty database, or drop that schema first"
        )


async def _fold(settings: Settings) -> None:
    """Fold the read model from the restored log."""
    from langlog_backbone.log import started_log
    from langlog_projector.rebuild import swap

    from ..progress import shown_progress

    async with started_log(settings) as log:
        with shown_progress("folding") as progress:
            report = await swap.rebuild(log, settings, progress, lambda _: True)
    click.echo(f"Folded {report.folded:,} records into the read model {settings.projection}.")
    if report.refused:
        click.echo(f"{report.refused} of them cannot be folded: see `langlog dead`.", err=True)
