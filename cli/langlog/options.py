"""Options that several commands have: one spelling, one meaning and one help text each. Earlier spellings go on working, unshown.

========== ============================================================================
--thread   one thread, by its id
--key      a key of records: the id of a thread, an assistant or a cron, or a namespace
--topic    one topic of the log
--type     one type of record: ``run.succeeded``, ``run.succeeded.v1``, ``run.`` or ``'run.*'``
--from     nothing older than a time;  --to: nothing younger
--json     one JSON object a line
--config   the project file (``-c``);  --data-dir: the data folder of ``langlog dev``
========== ============================================================================

Times are ISO 8601 (UTC without a zone), or how long ago: ``30d``, ``12h``, ``90m`` (m is minutes).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from langlog_backbone.time.sources import machine_now

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
TIME = "A time in ISO 8601 (UTC without a zone), or how long ago: 30d, 12h, 90m (m is minutes)"
TOPICS = (
    "commands",
    "run-events",
    "assistant-events",
    "cron-events",
    "store-events",
    "graph-events",
    "dead-letters",
    "snapshots",
)


class Renamed(click.Option):
    """An option with hidden former names: ``former`` are accepted like the others."""

    def __init__(self, param_decls: Sequence[str], *, former: Sequence[str], **more: Any) -> None:
        super().__init__([*param_decls, *former], **more)
        self._shown = [name for name in self.opts if name not in former]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        every, self.opts = self.opts, self._shown
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every

    def get_error_hint(self, ctx: click.Context | None) -> str:
        return " / ".join(f"'{name}'" for name in self._shown)


class Moment(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """A parameter of a time. ``positions``: also accepts an offset, as int; ``past``: refuses future times."""

    name = "time"

    def __init__(self, *, positions: bool = False, past: bool = False) -> None:
        self._positions, self._past = positions, past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | int:
        if isinstance(value, datetime | int):
            return value
        if self._positions and value.isdecimal():
            return int(value)
        now = machine_now()
        try:
            time = moment(value, now)
        except (ValueError, OverflowError):
            position = " or a position" if self._positions else ""
            self.fail(
                f"{value!r} is neither a time in ISO 8601{position} nor how long ago, such as 30d, 12h or 90m (minutes).",
                param,
                ctx,
            )
        if self._past and time > now:
            self.fail(f"{value!r} is yet to come: it is {now.isoformat(timespec='seconds')} now.", param, ctx)
        return time


def moment(text: str, now: datetime) -> datetime:
    """Return a time, given as such or as a duration before ``now``. Raises ValueError, OverflowError."""
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if ago:
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Data folder of langlog dev.  [LANGLOG_DATA_DIR; .langlog]"
)
config = click.option(
    "-c",
    "--config",
    "project",
    type=click.Path(path_type=Path),
    help="Project file.  [LANGLOG_PROJECT; langgraph.json]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
types = click.option(
    "--type", "types", multiple=True, help="Only this type: run.succeeded, run. or 'run.*'; may be repeated."
)
topics = click.option(
    "--topic", "topics", multiple=True, type=click.Choice(TOPICS), help="Only this topic; may be repeated."
)
keys = click.option(
    "--key", "keys", multiple=True, help="Only this key (a thread id, an assistant id …); may be repeated."
)
since = click.option("--from", "since", type=Moment(), help=f"Only what is not older. {TIME}.")
until = click.option("--to", "until", type=Moment(), help="Only what is not younger; as --from.")
thread_of_run = click.option(
    "--thread", "thread_id", help="The run's thread, if the read model no longer knows it: scanning reads less then."
)
yes = click.option("--yes", is_flag=True, help="Continue without confirmation.")


def confirmed(question: str, *, yes: bool, what: str) -> bool:
    """Return whether the user confirms. Raises click.UsageError if there is neither a terminal for a prompt nor ``--yes``.

    ``what``: the action, as the beginning of a sentence.
    """
    if yes:
        return True
    check_terminal(what)
    return click.confirm(question, err=True)


def check_terminal(what: str) -> None:
    """Raise click.UsageError if there is no terminal for a prompt. ``what``: the action, as the beginning of a sentence."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}: confirm with --yes (there is no terminal for a prompt).")
