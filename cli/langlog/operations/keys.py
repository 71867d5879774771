"""``langlog keys``: the keys of threads (docs/how-to/erasure.md), rewrapped by another master key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings


@click.group()
def keys() -> None:
    """Keys of threads, where LANGLOG_ENCRYPTION is on."""


@keys.command()
@options.data_dir
def rewrap(data_dir: Path | None) -> None:
    """Wrap every key by the first of the keys in LANGLOG_MASTER_KEY; the others may be removed afterwards.

    Services may run meanwhile; all of them must have been started with the same LANGLOG_MASTER_KEY before. If interrupted, run it
    again. Uses DATABASE_URI, or the data folder of langlog dev, running or not.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_rewrap(settings))


async def _rewrap(settings: Settings) -> int:
    from langlog_backbone.log.encryption.keys import ThreadKeys

    from ..progress import shown_progress
    from ..whereabouts import log_and_read_model

    if settings.encryption == "off":
        click.echo(
            "langlog: LANGLOG_ENCRYPTION is off, so there are no keys to wrap: set it as services have it", err=True
        )
        return 1
    async with log_and_read_model(settings, compared=False) as (reached, _):
        at_work = ThreadKeys(reached)
        await at_work.start()
        try:
            with shown_progress("wrapping keys") as progress:
                done, before = await at_work.rewrap(progress)
        finally:
            await at_work.stop()
    click.echo(
        f"{done:,} keys were wrapped with the present master key; {before:,} were wrapped by the first master key before."
    )
    return 0
