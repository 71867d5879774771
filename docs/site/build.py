"""The site, from the pages to HTML: every page is adapted into a folder of its own, which Zensical turns into the site."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import generated
from .pages import DOCS, INCLUDED, ROOT, Pages

CONFIG = Path(__file__).with_name("zensical.toml")
STYLE = Path(__file__).with_name("extra.css")
COPIED = ("contracts",)
"""Folders of ``docs`` that the site offers as files."""


class BuildError(Exception):
    """The site could not be built. The text holds every warning and error of Zensical."""


def sources() -> dict[str, Path]:
    """Return path of each hand-written page in the site -> its file."""
    own = {
        path.relative_to(DOCS).as_posix(): path
        for path in sorted(DOCS.rglob("*.md"))
        if path.relative_to(DOCS).parts[0] not in (*COPIED, "site")
    }
    return own | {target: ROOT / source for source, target in INCLUDED.items()}


def build(folder: Path) -> Path:
    """Write the site into ``folder`` and return the folder of its HTML. Raises `BuildError` on any warning."""
    folder = folder.resolve()
    source = folder / "source"
    shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    pages = Pages(sources(), generated.PAGES.keys(), source)
    for target, file in pages.sources.items():
        pages.write(target, file.read_text(), file)
    for target, write in generated.PAGES.items():
        pages.write(target, write())
    for name in COPIED:
        shutil.copytree(DOCS / name, source / name)
    shutil.copy(STYLE, source / STYLE.name)
    shutil.copy(CONFIG, folder / CONFIG.name)
    done = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict", "--config-file", folder / CONFIG.name],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(done.stdout + done.stderr)
    return folder / "site"
