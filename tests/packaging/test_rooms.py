"""The layout: no folder has too many files, each describes its content, and ARCHITECTURE.md names existing files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.stack.syntax import parsed

ROOT = Path(__file__).parents[2]
MODULES_MAX = 14
PACKAGES = sorted(
    path.parent
    for top in ("gateway", "executor", "backbone", "projector", "scheduler", "cli", "schemas")
    for path in (ROOT / top).rglob("__init__.py")
)


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_holds_few_modules_and_says_what_they_are(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if not path.name.startswith("__")]
    assert len(modules) <= MODULES_MAX, f"{len(modules)} modules: divide the folder by what they are for"
    room = folder.parents[1] != ROOT
    assert not room or ast.get_docstring(parsed((folder / "__init__.py").read_text())), (
        "say in __init__.py what it holds"
    )


def test_the_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(
        re.findall(r"`((?:gateway|executor|backbone|projector|scheduler|schemas)/[a-z_0-9/]+\.(?:py|sql))`", text)
    )
    assert len(named) > 20
    missing = []
    for path in sorted(named):
        top, _, rest = path.partition("/")
        if not (ROOT / top / f"langlog_{top}" / rest).is_file():
            missing.append(path)
    assert not missing
