"""``langlog validate``: checks a langgraph.json before anything starts."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from .problems import Problem

COLOURS = {"error": "red", "warning": "yellow", "note": None}


@click.command(short_help="Check langgraph.json: keys, types, files, graphs, and what an image needs.")
@options.config
@click.option("--strict", is_flag=True, help="Fail for warnings too.")
@click.option("--load", is_flag=True, help="Execute the project's code too: every graph and object must load.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: file, valid, graphs, problems.")
def validate(project: Path | None, *, strict: bool, load: bool, as_json: bool) -> None:
    """Check langgraph.json: unknown keys, wrong types, files and names that do not exist, what an image needs.

    Exit code 0: langlog serves it, and builds an image of it; 1: it does not. The project's code is read, and not executed without
    --load.
    """
    import msgspec
    from langlog_backbone.process.environment import read_settings

    from .check import check, load_problems

    file = project if project is not None else read_settings().project
    checked, problems = check(file)
    if load and checked is not None and not any(problem.level == "error" for problem in problems):
        with contextlib.redirect_stdout(sys.stderr):  # what the project prints is not our answer
            problems += load_problems(checked)
    failing = {"error", "warning"} if strict else {"error"}
    valid = not any(problem.level in failing for problem in problems)
    graphs = [] if checked is None else list(checked.graphs)
    if as_json:
        answer = {"file": str(file), "valid": valid, "graphs": graphs, "problems": problems}
        click.echo(msgspec.json.encode(answer).decode())
    else:
        _print(file, graphs, problems, valid=valid)
    sys.exit(0 if valid else 1)


def _print(file: Path, graphs: list[str], problems: list[Problem], *, valid: bool) -> None:
    for problem in problems:
        click.echo(f"{click.style(problem.level, fg=COLOURS[problem.level])}: {_with_key(problem)}", err=True)
    if valid:
        click.echo(f"{file} is valid: {len(graphs)} graph{'' if len(graphs) == 1 else 's'} ({', '.join(graphs)})")
    else:
        click.echo(f"{file} is not valid", err=True)


def _with_key(problem: Problem) -> str:
    """Return the text, after its key unless it names that itself."""
    named = not problem.key or problem.text.startswith(
        (f"{problem.key}:", f"the key {problem.key!r}", "graph ", f"'{problem.key}")
    )
    return problem.text if named else f"{problem.key}: {problem.text}"
