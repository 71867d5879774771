"""``path.py:object`` and ``module:object`` in langgraph.json: checked without executing the project's code.

A file is parsed, and its top level searched for the name. Where a module may bind names that its text does not show (``import *``,
``__getattr__``, ``exec``, ``globals``), a name is taken to be there. A dotted module is looked for, not imported.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib.machinery
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.language import Language, language_of
from langlog_backbone.project.node import missing_bundlers, missing_components, missing_packages

from .exports import exported_names
from .problems import Problem

IN_JAVASCRIPT = ("graphs.", "auth.path", "http.app")
"""Keys, or how they begin, of objects that may be in JavaScript."""
PYTHON_ALONE = "it is JavaScript or TypeScript, and langlog reads this object from Python files alone"
LONGEST_MODULE = 5_000_000
"""Characters. The text of a longer module is not searched for its exports."""


class Reference(NamedTuple):
    key: str
    source: str
    attribute: str

    @property
    def is_file(self) -> bool:
        return "/" in self.source or self.source.endswith(".py") or self.language == "javascript"

    @property
    def language(self) -> Language:
        return language_of(self.source)


def references(project: Project) -> Iterator[Reference]:
    """Yield every object that the project names, graphs first. Texts of another form are left out: other checks report them."""
    for name, spec in project.graphs.items():
        yield Reference(f"graphs.{name}", spec.source, spec.attribute)
    config = project.config
    named = {"worker_lifespan": config.get("worker_lifespan")}
    for section, key in (("auth", "path"), ("http", "app"), ("encryption", "path"), ("store", "path")):
        inner = config.get(section)
        named[f"{section}.{key}"] = inner.get(key) if isinstance(inner, dict) else None
    index = (config.get("store") or {}).get("index") if isinstance(config.get("store"), dict) else None
    named["store.index.embed"] = index.get("embed") if isinstance(index, dict) else None
    for key, text in named.items():
        if not isinstance(text, str):
            continue
        source, _, attribute = text.rpartition(":")
        reference = Reference(key, source, attribute)
        if source and attribute and (key != "store.index.embed" or reference.is_file):
            yield reference


def reference_problems(project: Project, reference: Reference) -> Iterator[Problem]:
    key, source, attribute = reference
    if not reference.is_file:
        if not _is_module(project, source):
            yield Problem(
                "warning",
                key,
                f"there is no module {source.partition('.')[0]!r} here: install what has it, or add its folder to 'dependencies'",
            )
        return
    path = (project.root / source).resolve()
    if reference.language == "javascript" and not key.startswith(IN_JAVASCRIPT):
        yield Problem("error", key, f"{source!r}: {PYTHON_ALONE}")
    elif not path.is_file():
        yield Problem("error", key, f"{source!r} does not exist ({path})")
    elif reference.language == "javascript":
        yield from _export_problems(key, path, source, attribute)
    elif path.suffix != ".py":
        yield Problem("error", key, f"{source!r} is not a Python file: its name does not end in .py")
    else:
        yield from _file_problems(key, path, source, attribute)


def javascript_problems(project: Project) -> Iterator[Problem]:
    """Packages that the project's JavaScript needs and that are not installed here: no image lacks them."""
    for key, fault in missing_packages(project):
        yield Problem("warning", key, fault)


def component_problems(project: Project) -> Iterator[Problem]:
    """Yield the files of `ui` that do not exist, and the bundlers that are not installed here: an image installs them."""
    named = project.config.get("ui") or {}
    if not isinstance(named, dict) or not all(isinstance(source, str) for source in named.values()):
        return  # a wrong type, which is reported as such
    try:
        for key, fault in missing_components(project):
            yield Problem("error", key, fault)
        for key, fault in missing_bundlers(project):
            yield Problem("warning", key, fault)
    except StartError as error:
        yield Problem("error", "ui", str(error))


def _export_problems(key: str, path: Path, source: str, name: str) -> Iterator[Problem]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        yield Problem("error", key, f"{source!r} cannot be read as UTF-8: {error}")
        return
    names = exported_names(text) if len(text) <= LONGEST_MODULE else None
    if names is not None and name not in names:
        yield Problem("error", key, f"{source!r} exports no {name!r}{_hint(name, names)}")


def _hint(name: str, names: set[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _file_problems(key: str, path: Path, source: str, attribute: str) -> Iterator[Problem]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of invalid escapes: the file's business
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        yield Problem("error", key, f"{source!r} is not valid Python: {message} ({path}{line})")
        return
    except OSError as error:
        yield Problem("error", key, f"{source!r} cannot be read: {error.strerror or error}")
        return
    names = bound_names(tree)
    first = attribute.partition(".")[0]
    if names is not None and first not in names:
        yield Problem("error", key, f"there is no {first!r} in {source!r}{_hint(first, names)}")


_OPEN_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def bound_names(tree: ast.Module) -> set[str] | None:  # noqa: C901 - one case a kind of statement
    """Return the names that the module's top level binds; None if they cannot be determined from its text."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef(name="__getattr__"):
                return None
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    if alias.name == "*":
                        return None
                    names.add(alias.asname or alias.name.partition(".")[0])
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Name(id="globals" | "exec" | "setattr" | "vars" | "locals"):
                return None
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                names.add(name)
            case _:
                pass
        if not isinstance(node, _OPEN_SCOPES):
            waiting.extend(ast.iter_child_nodes(node))
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            names.update(inner.names)
    return names


def _is_module(project: Project, name: str) -> bool:
    """Return whether the first part of a dotted name is a module of this machine or of the project. Nothing is imported."""
    first = name.partition(".")[0]
    with contextlib.suppress(ImportError, ValueError):
        if importlib.machinery.PathFinder.find_spec(first) is not None:
            return True
    folders = [str(folder) for folder in (*project.import_paths(), *project.outer_paths())]
    return importlib.machinery.PathFinder.find_spec(first, folders) is not None
