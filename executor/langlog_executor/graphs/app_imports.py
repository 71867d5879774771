"""Modules that the project's web application shares with its graphs, found in the sources without importing them.

A lifespan often stores resources in a third module (``db.pool = …``) that graphs import as well, or graphs import the
application's module only when a node runs. Files are followed through the project's folders by the imports in their
sources, including those in functions: from the application to the files that mention a lifespan, and from modules that this
process has imported to those it may import. Pure but for reading files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

FILES_MAX = 1_000
"""Maximum number of files that a search reads."""
FILE_BYTES_MAX = 1_000_000
IMPORT = re.compile(
    r"^[ \t]*(?:import[ \t]+(?P<modules>[\w., \t]+)"
    r"|from[ \t]+(?P<dots>\.*)[ \t]*(?P<module>[\w.]*)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[\w*, \t]+))",
    re.MULTILINE,
)
LIFESPAN = re.compile(rb"lifespan|on_startup|on_event|add_event_handler")
"""Text in the source of a module that prepares resources at the start of an application."""


class Shared(NamedTuple):
    """Modules through which graphs may use an application's lifespan."""

    files: list[Path]
    """Sources with a lifespan, or modules that one imports, which graphs import too."""
    app_name: str | None
    """Name under which graphs import the application's module; None: they do not."""


def shared_with_lifespan(app: Path, roots: Sequence[Path], loaded: Iterable[str]) -> Shared:
    """Return the shared modules. ``app``: file of the application. ``roots``: folders of the import path that hold the
    project's code. ``loaded``: files of the modules that this process has imported.
    """
    app = app.resolve()
    starts = [Path(name).resolve() for name in loaded if any(Path(name).is_relative_to(root) for root in roots)]
    graphs, names = _reached(starts, roots)
    files: dict[Path, None] = {}
    for file, imports in _reached([app], roots)[0].items():
        if LIFESPAN.search(_source(file) or b""):
            files.update((each, None) for each in (file, *imports) if each in graphs and _holds_something(each))
    return Shared(list(files), names.get(app))


def _reached(starts: Iterable[Path], roots: Sequence[Path]) -> tuple[dict[Path, list[Path]], dict[Path, str]]:
    """Return file -> the project's files that it imports, for the starts and all files reached from them; and file -> a
    name that it is imported by."""
    seen: dict[Path, list[Path]] = {}
    names: dict[Path, str] = {}
    waiting = list(starts)
    while waiting and len(seen) < FILES_MAX:
        file = waiting.pop()
        if file in seen:
            continue
        source = _source(file)
        imports = {} if source is None else dict(_imports(file, source, roots))
        seen[file] = list(imports)
        names.update({path: name for path, name in imports.items() if name})
        waiting.extend(imports)
    return seen, names


def _source(file: Path) -> bytes | None:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            return None
        return file.read_bytes()
    except OSError:
        return None


def _imports(file: Path, source: bytes, roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield files of the project that a file imports, with the packages that they are in, and the name that it uses; empty:
    a relative one.

    Lines that begin with an import count anywhere in the file: parsing a large project would take seconds of each start.
    """
    text = source.decode("utf-8", "replace").replace("\\\n", " ")
    for match in IMPORT.finditer(text):
        if match["modules"] is not None:
            for name in _names(match["modules"]):
                for root in roots:
                    yield from _files(root, name.split("."))
            continue
        level = len(match["dots"])
        module = match["module"].split(".") if match["module"] else []
        relative = 0 < level <= len(file.parents)
        for start in [file.parents[level - 1]] if relative else roots:
            for inner in ([], *([each] for each in _names(match["names"]))):
                for path, dotted in _files(start, [*module, *inner]):
                    yield path, "" if relative else dotted


def _names(listed: str) -> list[str]:
    """Return the names in ``a, b as c``: a, b."""
    bare = re.sub(r"#[^\n]*", "", listed).strip("()")
    return [words[0] for part in bare.split(",") if (words := part.split()) and re.fullmatch(r"[\w.]+", words[0])]


def _files(start: Path, parts: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files of the module and of the packages above it."""
    folder = start
    for depth, part in enumerate(parts, 1):
        folder = folder / part
        for file in (folder.with_name(f"{part}.py"), folder / "__init__.py"):
            if file.is_file():
                yield file.resolve(), ".".join(parts[:depth])
        if not folder.is_dir():
            return


def _holds_something(file: Path) -> bool:
    """Return whether a module has any code: an empty ``__init__.py`` shares nothing."""
    source = _source(file)
    return source is not None and bool(re.sub(rb"#[^\n]*", b"", source).strip())
