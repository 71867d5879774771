"""Reference page of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
from langlog.main import cli

from .http_api import cell


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Return the command and every command below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        for word, inner in sorted(command.commands.items()):
            if not inner.hidden:
                yield from commands(inner, f"{name} {word}")


def page() -> str:
    lines = [
        "# Command line\n",
        "Every command and option, as `--help` shows them. What the commands have in common is on the page [Terminal](terminal.md).\n",
        "| command | |",
        "| --- | --- |",
    ]
    leaves = [(name, command) for name, command in commands(cli, "langlog") if not isinstance(command, click.Group)]
    lines += [
        f"| [`{name}`](#{name.replace(' ', '-')}) | {cell(command.get_short_help_str(200))} |"
        for name, command in leaves
    ]
    for name, command in leaves:
        lines += section(name, command)
    return "\n".join(lines) + "\n"


def section(name: str, command: click.Command) -> Iterator[str]:
    with click.Context(command, info_name=name) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"\n## `{name}` {{ #{name.replace(' ', '-')} }}\n"
        yield f"```text\n{name} {usage}\n```\n"
        yield markdown(command.help or "") + "\n"
        options = [x for x in command.params if isinstance(x, click.Option) and not x.hidden]
        if not options:
            return
        yield "| option | meaning |\n| --- | --- |"
        for option in options:
            record = option.get_help_record(context)
            if record is not None:
                yield f"| `{cell(record[0])}` | {cell(record[1])} |"


def markdown(text: str) -> str:
    """Return a command's help as paragraphs."""
    text = inspect.cleandoc(text).replace("\b", "")
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
