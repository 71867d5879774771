"""The ``langlog`` command. Errors at the start end here as one line on stderr and exit code 1 (usage: 2).

Commands import what they need when they run, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import NoReturn

import click

from .images.commands import build, dockerfile
from .images.up import up
from .imports.command import import_
from .lists.commands import runs, threads
from .log.copy import copy
from .log.export import export
from .log.groups import groups
from .log.show import show
from .log.state import state
from .log.tail import log
from .operations.backup import backup
from .operations.cut import cut
from .operations.dead import dead
from .operations.keys import keys
from .operations.rebuild import rebuild, verify
from .operations.replay import replay
from .operations.restore import restore
from .operations.webhooks import webhooks
from .operations.why import why
from .projects.new import new
from .projects.validate import validate
from .services.dev import dev
from .services.health import health
from .services.serve import executor, gateway, projector, scheduler


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("langlog"), prog_name="langlog")
@click.pass_context
def cli(context: click.Context) -> None:
    """A self-hosted server for LangGraph agents, event-sourced on a message log."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        context.color = False


for command in (
    dev, dead, webhooks, gateway, executor, projector, scheduler, threads, runs, log, health, why, rebuild, verify, replay, keys, validate,
    new, dockerfile, build, up, import_,
):  # fmt: skip
    cli.add_command(command)

for command in (backup, restore):
    cli.add_command(command)

for command in (show, state, export, copy, groups, cut):
    log.add_command(command)


def main() -> NoReturn:
    """Run the console script."""
    try:
        cli(prog_name="langlog")
    except Exception as error:
        from langlog_backbone.log import LogFault, LogUnavailable
        from langlog_backbone.process.service import StartError
        from langlog_backbone.process.setting_files import SettingError

        if isinstance(error, StartError | SettingError | LogFault | LogUnavailable):
            click.echo(f"langlog: {error}", err=True)
        else:
            import structlog

            structlog.get_logger(__name__).error("failed", exc_info=error)
            click.echo(f"langlog: unexpected {type(error).__name__}: {error}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
