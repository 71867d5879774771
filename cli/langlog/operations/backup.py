"""``langlog backup``: backs up the log and data outside it, while langlog runs. See ``docs/how-to/backup.md``."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings
    from langlog_backbone.transfer.backup_files import Archive, Folder, Manifest


@click.command(short_help="Back up the log and its keys.")
@click.argument("where", metavar="DIRECTORY|FILE.tar|-")
@click.option(
    "--log-only", is_flag=True, help="Leave out what is in Postgres alone: keys of threads, credentials of runs."
)
@click.option("--with-secrets", is_flag=True, help="Also the deployment's secret, and keys that no master key wraps.")
@click.option(
    "--compression",
    type=click.Choice(("zstd", "none")),
    default="zstd",
    show_default=True,
    help="Of the files' contents.",
)
@options.data_dir
def backup(where: str, *, log_only: bool, with_secrets: bool, compression: str, data_dir: Path | None) -> None:
    """Back up a langlog, running or not, embedded or on Kafka.

    Into a folder: everything the first time, later the records appended since. Into a file, or to stdout (-): one tar archive with
    everything.

    All other data is folded from the log. The backup also holds the keys of encrypted threads, as wrapped by
    LANGLOG_MASTER_KEY, and sealed credentials of runs under way. Neither LANGLOG_MASTER_KEY nor LANGLOG_SECRET is in it: keep them
    elsewhere. It contains everything that was acknowledged before the command began, and each thread as of one moment.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_backup(settings, where, log_only=log_only, secrets=with_secrets, compressed=compression == "zstd"))


async def _backup(settings: Settings, where: str, *, log_only: bool, secrets: bool, compressed: bool) -> int:
    from langlog_backbone.log import LogFault, started_log
    from langlog_backbone.transfer.backup import back_up
    from langlog_backbone.transfer.backup_files import BackupFault
    from langlog_backbone.transfer.digests import Gap
    from langlog_backbone.transfer.targets import raw

    from ..progress import Phases
    from ..whereabouts import postgres_of_folder, with_log

    settings = with_log(settings)
    try:
        async with contextlib.AsyncExitStack() as stack:
            if not log_only:
                settings = await stack.enter_async_context(postgres_of_folder(settings))
            log = await stack.enter_async_context(started_log(raw(settings, settings.log_uri)))
            store = stack.enter_context(_store(where))
            phases = stack.enter_context(Phases())
            taken = await back_up(
                log, settings, store, phases.show, beside=not log_only, secrets=secrets, compressed=compressed
            )
    except OSError as error:
        raise BackupFault(f"the backup {where} cannot be written: {error.strerror or error}") from None
    except Gap as error:
        raise LogFault(str(error)) from None
    before = f", after {taken.before:,} of earlier backups" if taken.before else ""
    click.echo(
        f"Backed up {taken.records:,} records{before}, to {'stdout' if where == '-' else where}.", err=where == "-"
    )
    for line in _keys(taken.manifest):
        click.echo(line, err=where == "-")
    return 0


@contextlib.contextmanager
def _output(where: str) -> Iterator[IO[bytes]]:
    """Open the archive's file; it gets its name when it is complete."""
    if where == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(where)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).rename(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _store(where: str) -> Iterator[Folder | Archive]:
    from langlog_backbone.transfer.backup_files import Archive, BackupFault, Folder

    if where != "-" and not where.endswith(".tar"):
        with Folder(Path(where)) as folder:
            yield folder
        return
    if where == "-" and sys.stdout.isatty():
        raise click.UsageError("a backup is no text: lead stdout into a file or a pipe")
    if where != "-" and Path(where).exists():
        raise BackupFault(f"{where} exists: name another file (a folder is continued)")
    with (
        _output(where) as out,
        Archive(out, Path(tempfile.gettempdir() if where == "-" else Path(where).parent)) as archive,
    ):
        yield archive


def _keys(manifest: Manifest) -> list[str]:
    """Return lines about the keys that must be kept elsewhere."""
    keys = manifest.keys
    lines = []
    if keys.threads:
        lines.append(f"{keys.threads:,} keys of threads are in it.")
    for master in keys.masters:
        check = f"the one with check value {master.check}" if master.check else "one that is not in LANGLOG_MASTER_KEY"
        lines.append(f"Not in it: the master key that wraps {master.keys:,} of them, {check}.")
    if keys.secret_check and not keys.secret_included:
        lines.append(
            f"Not in it: the secret of the deployment, check value {keys.secret_check} (LANGLOG_SECRET, or --with-secrets)."
        )
    return lines
