"""The fenced blocks of the documentation, and the instructions for tests in their comments.

A comment ``<!-- test: … -->`` on the line before a block defines how the block is tested, unless it is executed unchanged:

- ``skip REASON``: checked, not run, and why;
- ``shown by tests/…``: another test runs it;
- ``served``: the command starts the server that all pages share;
- ``exit N``: the exit code that is expected;
- ``with NAME``: Python that is part of a larger program, which `tests.docs.around` defines;
- ``fits NAME``: JSON that is a value of this schema of the OpenAPI document (``NAME[]``: an array of them), or a ``langgraph.json``.

A block with a ``title`` is a file. It is written into the page's folder under that name, and not run by itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

BLOCK = re.compile(
    r"(?:^ *<!-- test: (?P<how>[^\n]*?) -->\n\s*?)?"
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>\S*)(?P<rest>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
TITLE = re.compile(r'title="([^"]+)"')
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Block(NamedTuple):
    page: str
    """Path of the page in the repository."""
    line: int
    language: str
    title: str | None
    how: str
    """Instruction in its comment; empty: run it."""
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def says(self, word: str) -> str | None:
        """Return the rest of the comment after ``word``, if it begins with it."""
        first, _, rest = self.how.partition(" ")
        return rest if first == word else None


def pages() -> list[Path]:
    """Return every page of the documentation, and the README."""
    return [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "contracts" not in p.parts)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order. Indentation of a block within a list is taken away."""
    text = page.read_text()
    collected = []
    for match in BLOCK.finditer(text):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["text"].splitlines(keepends=True)]
        title = TITLE.search(match["rest"])
        collected.append(
            Block(
                page.relative_to(ROOT).as_posix(),
                text.count("\n", 0, match.start("fence")) + 1,
                match["language"],
                title[1] if title else None,
                match["how"] or "",
                "".join(lines),
            )
        )
    return collected


def inline_commands(page: Path) -> list[str]:
    """Commands of langlog in a page's text: `langlog why RUN_ID`."""
    text = BLOCK.sub("", page.read_text())
    return [code for code in INLINE.findall(text) if code.startswith("langlog ")]
