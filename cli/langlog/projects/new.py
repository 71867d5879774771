"""``langlog new``: a project from one of the templates in this package. Nothing is downloaded."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import click

TEMPLATES = {
    "chat": "an agent that gives refunds, each after a human has approved it",
    "chat-ts": "the same in TypeScript",
    "retrieval": "answers from documents in the store, found by meaning",
    "team": "a supervisor who hands tasks to a researcher and a writer",
}
COMMON = "common"
COMMON_TYPESCRIPT = "common-ts"
"""Folders of files for every project: in Python, and in TypeScript."""
HIDDEN = "dot"
"""A template's ``dot.gitignore`` is a project's ``.gitignore``."""


NAMED = ("README.md", "package.json")
"""Files that hold the project's name, as ``$name``."""


@click.command("new", short_help="Make a project from a template.")
@click.argument("path", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option(
    "--template", type=click.Choice(list(TEMPLATES)), help="What it is; without one, the command prompts for it."
)
def new(path: Path | None, template: str | None) -> None:
    """Create a project in the folder PATH, which must be empty or not exist. It runs without a model's key.

    \b
    chat       an agent that gives refunds, each after a human has approved it
    chat-ts    the same in TypeScript
    retrieval  answers from documents in the store, found by meaning
    team       a supervisor who hands tasks to a researcher and a writer
    """
    if path is None or template is None:
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"give PATH and --template ({', '.join(TEMPLATES)}): there is no terminal for a prompt."
            )
        path = path or click.prompt("Folder of the project", type=click.Path(path_type=Path), default=Path())
        if template is None:
            for name, text in TEMPLATES.items():
                click.echo(f"  {name:<10} {text}")
            template = click.prompt("Template", type=click.Choice(list(TEMPLATES)), default="chat")
    assert path is not None and template is not None
    try:
        written = create(path, template)
    except OSError as error:
        raise click.ClickException(f"{error.filename or path} cannot be written: {error.strerror or error}") from None
    for file in written:
        click.echo(f"wrote {file}")
    install = "npm install && " if _is_typescript(template) else ""
    click.echo(f"start it by: cd {shlex.quote(str(path))} && {install}langlog dev")


def create(path: Path, template: str) -> list[Path]:
    """Write a template's files into a folder. Raises click.ClickException for one that holds something, OSError."""
    if path.exists() and any(path.iterdir()):
        raise click.ClickException(
            f"the folder {path} is not empty: name another, so that nothing in it is overwritten"
        )
    path.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().name.lower()).strip("-._") or "project"
    written: list[Path] = []
    common = COMMON_TYPESCRIPT if _is_typescript(template) else COMMON
    for source in (*_files(common), *_files(template)):
        text = source.read_text(encoding="utf-8")
        if source.name in NAMED:
            text = Template(text).substitute(name=name)
        target = path / source.name.removeprefix(HIDDEN if source.name.startswith(f"{HIDDEN}.") else "")
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return sorted(written)


def _is_typescript(template: str) -> bool:
    return template.endswith("-ts")


def _files(folder: str) -> Iterator[Traversable]:
    for file in (files("langlog.projects") / "templates" / folder).iterdir():
        if file.is_file() and not file.name.endswith(".pyc"):
            yield file
