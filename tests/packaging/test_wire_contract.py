"""Citations of the wire contract lead to a section of docs/reference/wire-contract.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "wire-contract.md"
SECTIONS = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", PAGE.read_text(), re.MULTILINE))
CITATION = re.compile(r"§(\d+(?:\.\d+)?)")
READ = {".py", ".sql", ".md", ".js", ".txt", ".json"}


def cited() -> Iterator[tuple[str, str]]:
    """Place and section of every citation in files under version control."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        path = ROOT / name
        if path.suffix not in READ or "recordings" in path.parts or not path.exists():
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if path == PAGE or "wire contract" in line:
                yield from ((f"{name}:{number}", section) for section in CITATION.findall(line))


def test_every_cited_section_exists() -> None:
    citations = list(cited())
    assert len(citations) > 150
    assert [(place, section) for place, section in citations if section not in SECTIONS] == []


def test_sections_are_numbered_without_gaps() -> None:
    chapters = sorted(int(section) for section in SECTIONS if "." not in section)
    assert chapters == list(range(1, len(chapters) + 1))
