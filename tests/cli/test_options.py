"""Options that several commands share: one spelling and one meaning; accepted values, and confirmations of harmful actions."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from langlog.main import cli
from langlog.options import moment
from langlog_backbone.operation.record_view import type_matches

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHARED = ("--data-dir", "--config", "--key", "--topic", "--type", "--from", "--to")
CARRIED = {"log copy": ("--from", "--to"), "import": ("--from", "--to")}
"""Commands that carry records from a place to another, which these options name."""
LIMIT_S = 120.0


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}".strip(), command


def helped(command: click.Command) -> dict[str, str]:
    """Option as the help shows it -> its text."""
    context = click.Context(command)
    records = (parameter.get_help_record(context) for parameter in command.params)
    return {name: text for record in records if record is not None for names, text in [record] for name in [names]}


@pytest.mark.parametrize("option", SHARED)
def test_an_option_means_the_same_in_every_command(option: str) -> None:
    shown = {
        (names, text)
        for path, command in commands(cli)
        if option not in CARRIED.get(path, ())
        for names, text in helped(command).items()
        if option in names.replace(",", " ").split()
    }
    assert len(shown) == 1, shown


def test_every_command_that_takes_a_project_or_a_data_folder_takes_it_by_the_same_name() -> None:
    for name, command in commands(cli):
        for parameter in command.params:
            if parameter.name == "data_dir":
                assert parameter.opts == ["--data-dir"], name
            if parameter.name == "project":
                assert parameter.opts == ["-c", "--config"], name


def test_an_earlier_spelling_is_taken_and_not_shown() -> None:
    shown = CliRunner().invoke(cli, ["replay", "--help"]).output
    assert "--checkpoint" in shown and "--from" not in shown
    for spelling in ("--checkpoint", "--from"):
        refused = CliRunner().invoke(cli, ["replay", str(datetime.now()), "--dry", spelling, "x"])
        assert refused.exit_code == 2 and "--checkpoint, --graph and --strict" in refused.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("12h", NOW - timedelta(hours=12)),
        ("30d", NOW - timedelta(days=30)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_iso_8601_or_how_long_ago(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize(
    "words", [["cut", "--before"], ["export", "--from"], ["tail", "--to"], ["state", "x", "--as-of"]]
)
def test_what_is_no_time_is_refused_with_the_value_and_what_would_be_one(words: list[str]) -> None:
    refused = CliRunner().invoke(cli, ["log", *words, "yesterday"])
    assert refused.exit_code == 2
    assert "'yesterday' is neither a time in ISO 8601" in refused.output and "90m (minutes)" in refused.output


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ("run.succeeded", True),
        ("run.succeeded.v1", True),
        ("langlog.run.succeeded.v1", True),
        ("run.", True),
        ("run.*", True),
        ("*.succeeded", True),
        ("run", False),
        ("run.failed", False),
        ("thread.*", False),
    ],
)
def test_a_type_is_a_name_a_prefix_or_a_pattern(wanted: str, matches: bool) -> None:
    assert type_matches("run.succeeded.v1", [wanted]) is matches
    assert type_matches("run.succeeded.v1", ["thread.created", wanted]) is matches


@pytest.mark.parametrize("before", ["90m", "23h", datetime.now(UTC).isoformat()])
def test_a_cut_under_a_day_needs_yes_where_nobody_can_be_asked(tmp_path: Path, before: str) -> None:
    refused = CliRunner().invoke(cli, ["log", "cut", "--before", before, "--data-dir", str(tmp_path)])
    assert refused.exit_code == 2
    assert "cuts all but the last" in refused.output and "--yes" in refused.output
    assert list(tmp_path.iterdir()) == []


def test_the_help_of_cut_says_that_m_is_minutes() -> None:
    assert "m is minutes" in " ".join(CliRunner().invoke(cli, ["log", "cut", "--help"]).output.split())


@pytest.mark.parametrize(("answer", "code", "said"), [("n", 1, "Nothing was cut."), ("y", 1, "there is no log in")])
def test_a_cut_under_a_day_asks_on_a_terminal(tmp_path: Path, answer: str, code: int, said: str) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "langlog", "log", "cut", "--before", "90m", "--data-dir", str(tmp_path)],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code
    assert "all but the last 90 minutes of the log" in done.stderr and "Cut? [y/N]" in done.stderr
    assert said in done.stderr
