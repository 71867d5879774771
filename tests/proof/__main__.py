"""Writes the page; see `tests.proof`."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import msgspec

from .sections import ORDER

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "proof.md"
FIGURES = ROOT / "docs" / "explanation" / "proof"
HEAD = """\
<!-- Written by `python -m tests.proof` from the files in docs/explanation/proof. -->

# What was tried against it

Each section says what was tried, how often, on which commit, and what was found. Figures are those of the last time that somebody ran it;
the commands to run it again stand beside them.
"""


def page() -> str:
    parts = [HEAD]
    for name in ORDER:
        module_name = f"tests.proof.sections.{name}"
        if importlib.util.find_spec(module_name) is None:
            continue
        section = importlib.import_module(module_name)
        file = FIGURES / section.FILE
        if file.exists():
            parts.append(f"## {section.TITLE}\n\n{section.text(msgspec.json.decode(file.read_bytes())).rstrip()}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
