"""Appends the scheduler's commands. Their ids are derived from their subject, so that two schedulers append the same."""

from __future__ import annotations

from collections.abc import Sequence

from langlog_backbone.log import Log
from langlog_backbone.log.records import command_record
from langlog_backbone.time.clock import now_iso
from langlog_schemas import commands as cmd

SOURCE = "/langlog/scheduler"


async def append(log: Log, commands: Sequence[tuple[str, cmd.Body]], *, retry: bool = False) -> None:
    """Append ``(command id, command)`` pairs together. Raises LogUnavailable.

    ``retry``: of commands with the same id only the first is carried out, ever.
    """
    if not commands:
        return
    time = now_iso()
    await log.append(
        [command_record(command, id=id, source=SOURCE, time=time, retry=retry) for id, command in commands]
    )
