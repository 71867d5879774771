"""Texts that users and operators read keep to plain English: phrases of an old dialect, each with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from langlog.main import cli
from langlog_gateway.openapi.document import WORDS
from langlog_gateway.openapi.operations import OPERATIONS

ROOT = Path(__file__).parents[2]

INSTEAD = {
    r"(?<!there )\bis none\b": "does not exist, or is not a …",
    r"\bsuch a one\b": "such a …, by its name",
    r"\bfor ever\b": "permanently, or without limit",
    r"\bcomes? of it\b": "results from it",
    r"\b(is|are) told of\b": "receives, or is notified of",
    r"\b(cannot|not to) be had\b": "is not available, or cannot bind …",
    r"\bwhoever\b": "the caller, the operator, …: name the actor",
    r"\bwhat is asked of\b": "the request for",
    r"\bsays so no more\b": "no longer reports",
    r"\bgoes another way\b": "diverges",
    r"\bas asked\b": "as requested",
    r"\bis not as it must be\b": "is not valid",
    r"\blet go of\b": "deleted, or released",
}
"""Pattern -> better words (docs/reference/glossary.md has the terms)."""

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def found(text: str) -> list[str]:
    without_tests = re.sub(r"\[`test_\w+`\]\([^)]*\)", "", text)
    return [
        f"{match.group(0)!r}: write {instead!r}"
        for pattern, instead in INSTEAD.items()
        for match in re.finditer(pattern, without_tests, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_in_plain_english(page: Path) -> None:
    assert found(page.read_text()) == []


def test_the_openapi_document_is_in_plain_english() -> None:
    assert found("\n".join(WORDS.values())) == []
    assert found("\n".join(operation.summary for operation in OPERATIONS.values())) == []


def commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [(name, command), *(pair for n, c in inner for pair in commands(c, f"{name} {n}"))]


@pytest.mark.parametrize(
    ("name", "command"), commands(cli, "langlog"), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_help_of_a_command_is_in_plain_english(name: str, command: click.Command) -> None:
    with click.Context(command, info_name=name) as context:
        assert found(command.get_help(context)) == []
