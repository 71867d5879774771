"""Converts pages for the site.

Pages are written to be read in the repository: links are relative and may lead to any file of it, and diagrams are Mermaid text.
In the site, a link to a page of the site stays a link, one to another file of the repository becomes the file's name, and each
diagram is drawn as an SVG file when the site is built: a reader's browser loads nothing from elsewhere. Pictures of ``docs/pictures``
are copied; one with a ``NAME-dark.png`` beside it is replaced by that on a dark page.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import mmdr

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PICTURES = DOCS / "pictures"
INCLUDED = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "bench/RESULTS.md": "explanation/measurements.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "AGENTS.md": "house-rules.md",
    "SECURITY.md": "security.md",
}
"""Files outside of ``docs`` that are pages of the site -> their path there."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^( *)(```+)([^\n]*)\n(.*?)^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
DRAWING = """%%{init: {"theme": "neutral", "htmlLabels": false, "flowchart": {"htmlLabels": false}, "fontFamily": "sans-serif",
"themeVariables": {"fontFamily": "sans-serif", "edgeLabelBackground": "#ffffff"}}}%%
""".replace("\n", " ", 1)
"""Options of every diagram: labels are SVG text, because the room of HTML labels is measured in fonts that a reader may not have."""
SIZE = re.compile(r'width="100%"(?=[^>]*viewBox="\S+ \S+ (\S+) (\S+)")')
TITLE = re.compile(r"^\s*accTitle: *(.+)$", re.MULTILINE)


class Pages:
    """Writes adapted pages into ``folder``."""

    def __init__(self, sources: Mapping[str, Path], generated: Collection[str], folder: Path) -> None:
        self.sources = sources
        self._generated = set(generated)
        self._target_of = {file.resolve(): target for target, file in sources.items()}
        self._folder = folder

    def write(self, target: str, text: str, file: Path | None = None) -> None:
        """Write a page. ``file``: its path in the repository, if its links are relative to that."""
        base = (file or DOCS / target).parent
        parts, end = [], 0
        for fence in FENCE.finditer(text):
            parts.append(self._links(text[end : fence.start()], target, base))
            parts.append(self._diagram(fence, target) if fence[3].strip() == "mermaid" else fence[0])
            end = fence.end()
        parts.append(self._links(text[end:], target, base))
        path = self._folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(parts))

    def _links(self, text: str, target: str, base: Path) -> str:
        def adapted(link: re.Match[str]) -> str:
            image, words, address = link.groups()
            path, mark, anchor = address.partition("#")
            if image:
                return self._picture(words, address, Path(os.path.normpath(base / path)), target)
            if "://" in address or not path or address.startswith("mailto:"):
                return link[0]
            file = Path(os.path.normpath(base / path))
            page = self._target_of.get(file)
            inside = file.relative_to(DOCS).as_posix() if file.is_relative_to(DOCS) else ""
            if page is None and (inside in self._generated or (inside.startswith("contracts/") and file.is_file())):
                page = inside
            if page is None:
                name = html.escape(file.relative_to(ROOT).as_posix())
                return f'<span class="file" title="{name}">{words}</span>'
            return f"[{words}]({os.path.relpath(page, Path(target).parent)}{mark}{anchor})"

        return LINK.sub(adapted, text)

    def _picture(self, words: str, link: str, file: Path, target: str) -> str:
        """Return a picture of ``docs/pictures``, in both colour schemes if it has two. Raises ValueError for any other file."""
        if file.parent != PICTURES or not file.is_file():
            raise ValueError(f"{target}: {link} is no picture of docs/pictures; take it with `make pictures`")
        if not words.strip():
            raise ValueError(f"{target}: the picture {file.name} has no text for people who do not see it")
        dark = file.with_name(f"{file.stem}-dark{file.suffix}")
        both = {"only-light": file, "only-dark": dark} if dark.is_file() else {"": file}
        shown = []
        for scheme, one in both.items():
            path = self._folder / "pictures" / one.name
            path.parent.mkdir(exist_ok=True)
            shutil.copy(one, path)
            address = os.path.relpath(path, (self._folder / target).parent)
            # the theme shows one of two by the fragment of the address
            shown.append(f"![{words}]({address}{'#' if scheme else ''}{scheme}){{ .picture }}")
        return " ".join(shown)

    def _diagram(self, fence: re.Match[str], target: str) -> str:
        """Return the diagram as an image file. Its ``accTitle`` is the alternative text."""
        text = fence[4]
        title = TITLE.search(text)
        if title is None:
            raise ValueError(f"{target}: a diagram without an accTitle line")
        name = f"pictures/{hashlib.sha256(text.encode()).hexdigest()[:16]}.svg"
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        drawn = mmdr.render(DRAWING + text).svg()
        path.write_text(
            SIZE.sub(lambda size: f'width="{float(size[1]):.0f}" height="{float(size[2]):.0f}"', drawn, count=1)
        )
        return f"![{title[1].strip()}]({os.path.relpath(name, Path(target).parent)}){{ .diagram }}"
