"""Links and promises in the documentation lead somewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from docs.site.generated import PAGES as WRITTEN

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
GUARANTEE = re.compile(r"\[`(?:tests/[\w/]+\.py::)?(test_\w+)`\]\((?:\.\./)+(tests/[\w/]+\.py)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda x: x.name)
def test_every_link_to_a_file_finds_it(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" not in link:
            file = Path(os.path.normpath(page.parent / link))
            assert file.exists(), f"{page.name}: {link}"


def test_a_page_that_the_site_writes_and_others_link_to_says_so_in_a_clone() -> None:
    for name in WRITTEN:
        if (DOCS / name).exists():
            assert "`make docs`" in (DOCS / name).read_text(), name


def test_every_guarantee_names_a_test_that_exists() -> None:
    rows = [x for x in (ROOT / "docs" / "explanation" / "guarantees.md").read_text().splitlines() if x.startswith("| ")]
    for row in rows:
        if row in ("| guarantee | test |", "| --- | --- |"):
            continue
        result = GUARANTEE.findall(row)
        assert result, row
        for name, file in result:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), name


def test_the_readme_names_the_commands_that_make_knows() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert name in targets


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert 'exec make "${1:-test}"' in script.read_text()
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_what_was_tried_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "explanation" / "tried.md").read_text()
    for name in re.findall(r"`(tests/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name
