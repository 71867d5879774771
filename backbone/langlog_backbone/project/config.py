"""The user's project: the content of ``langgraph.json`` (wire contract §16), read without importing the project's code.

Read by several services: the worker to load graphs, the gateway for ``http`` and ``auth``, the scheduler for ``webhooks`` and
TTLs. Read once at start; a change means a restart (``langlog dev`` applies changes of ``graphs``, ``dependencies`` and ``env``).
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..process.service import StartError
from ..process.settings import Settings
from .language import Language, language_of

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_EXPORT = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
"""A name that a JavaScript module can export (ECMA-262, IdentifierName), without escapes."""


class GraphSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``graphs``. ``source`` is a path inside the project or a dotted module; ``attribute`` the object in it.

    Of a graph in JavaScript or TypeScript ``source`` is always a path, and ``attribute`` the name of an export.
    """

    graph_id: str
    position: int
    source: str
    attribute: str
    description: str | None = None
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}
    """Context of the graph's default assistant, from ``LANGGRAPH_CONFIG``; ``config.configurable`` and ``context`` are the same."""

    @property
    def is_file(self) -> bool:
        return "/" in self.source or self.source.endswith(".py") or self.language == "javascript"

    @property
    def language(self) -> Language:
        return language_of(self.source)

    def __str__(self) -> str:
        return f"{self.source}:{self.attribute}"


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed ``langgraph.json``. ``config`` is the whole object, for the sections that others own."""

    file: Path
    graphs: dict[str, GraphSpec]
    config: dict[str, Any]

    @property
    def root(self) -> Path:
        """Return the folder that relative paths start from."""
        return self.file.parent

    def section(self, name: str) -> dict[str, Any]:
        """Return a member that is an object; empty when absent. Raises StartError when it is something else."""
        section = self.config.get(name)
        if section is None:
            return {}
        if not isinstance(section, dict):
            raise StartError(f"{self.file}: {name!r} must be an object")
        return section

    def import_paths(self) -> list[Path]:
        """Return the folders for the import path, in order: each dependency that is a folder (and its ``src``), then the project's own.

        Names of packages are left out: they are installed beforehand, not by a running server.
        """
        folders = [(self.root / name).resolve() for name in self._dependencies()]
        folders.append(self.root)
        paths = [x for folder in folders for x in (folder, folder / "src") if x.is_dir()]
        return list(dict.fromkeys(paths))

    def package_folders(self) -> list[Path]:
        """Return those of the folders of `import_paths` that are packages by themselves: with an ``__init__.py``, and without a
        ``pyproject.toml`` or ``setup.py`` to install them by. Code imports them by the folder's name."""
        return [
            folder
            for folder in self.import_paths()
            if folder.name.isidentifier()
            and (folder / "__init__.py").is_file()
            and not any((folder / name).is_file() for name in ("pyproject.toml", "setup.py"))
        ]

    def outer_paths(self) -> list[Path]:
        """Return folders above the project for the end of the import path: those of `package_folders`, and the working folder if
        the project is in it (``--config apps/bot/langgraph.json``). What else is in them is not the project's."""
        outer = [folder.parent for folder in self.package_folders()]
        with contextlib.suppress(OSError):  # the working folder was removed
            if (folder := Path.cwd()) in self.root.parents and folder != folder.parent:
                outer.append(folder)
        return list(dict.fromkeys(outer))

    def environment(self) -> dict[str, str]:
        """Return the variables of ``env``: a map, or a dotenv file's content; none for a list, which names variables of the shell.

        Empty if the dotenv file does not exist: it is usually ignored by git, and the variables are set elsewhere
        (`warnings` names it). Raises StartError for anything else, and for names or values that a process cannot have.
        """
        env = self.config.get("env")
        if not env or isinstance(env, list):
            return {}
        if isinstance(env, Mapping):
            return self._variables({str(k): "" if v is None else str(v) for k, v in env.items()})
        if not isinstance(env, str):
            raise StartError(f"{self.file}: 'env' must be an object, a list of names or the path of a dotenv file")
        path = self.root / env
        if not path.is_file():
            return {}
        from dotenv import dotenv_values

        try:
            values = dotenv_values(path, encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"{self.file}: the env file {env!r} cannot be read as UTF-8: {error}") from None
        return self._variables({k: v for k, v in values.items() if v is not None})

    def _variables(self, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if not name or "=" in name or "\0" in name:
                raise StartError(f"{self.file}: 'env' has {name!r}, which cannot be the name of a variable")
            if "\0" in value:
                raise StartError(
                    f"{self.file}: 'env' gives {name} a value with a null byte, which no variable can hold"
                )
        return values

    def warnings(self) -> list[str]:
        """Return one line for each thing that the file names and this machine lacks; the server starts without it."""
        warnings = [
            f"dependency {name!r} is not a folder: nothing is added to the import path"
            for name in self._dependencies()
            if (name == "." or name.startswith(("./", "../", "/"))) and not (self.root / name).is_dir()
        ]
        env = self.config.get("env")
        if isinstance(env, str) and not (self.root / env).is_file():
            warnings.append(
                f"the env file {env!r} does not exist: variables come from this process's environment alone"
            )
        if isinstance(env, list):
            missing = [str(name) for name in env if str(name) not in os.environ]
            if missing:
                warnings.append(f"'env' names variables that are not set: {', '.join(missing)}")
        return warnings

    def _dependencies(self) -> list[str]:
        names = self.config.get("dependencies") or ["."]
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else ["."]

    def path_of(self, spec: GraphSpec) -> Path:
        return (self.root / spec.source).resolve()


FORMS = '"path.py:object", "module:object" or "path.ts:export"'
"""How an object of the project is named."""
SECTIONS = ("store", "checkpointer", "auth", "encryption", "priority", "http", "webhooks", "ui", "ui_config")
"""Members that can be set as JSON in ``LANGGRAPH_<SECTION>`` instead (wire contract §16)."""
GRAPHS = "LANGSERVE_GRAPHS"
"""Variable that sets ``graphs`` as JSON."""


CONFIG = "LANGGRAPH_CONFIG"
"""Graph id -> the config of the graph's default assistant, which may have a ``context`` beside it."""


def read_project(file: Path) -> Project:
    """Parse a ``langgraph.json``. Raises StartError with one line that names file and fault.

    Sections in the environment take precedence. With graphs in the environment the file may be missing: paths then start
    at its folder.
    """
    graphs_given = given_in_environment(GRAPHS)
    try:
        data = file.read_bytes().removeprefix(codecs.BOM_UTF8)  # some editors on Windows write one
    except FileNotFoundError:
        if graphs_given is not None:
            return _project(file, {"graphs": graphs_given})
        raise StartError(f"{file} does not exist (give it with --config)") from None
    except OSError as error:
        raise StartError(f"{file} cannot be read: {error.strerror or error}") from None
    try:
        config = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StartError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise StartError(f"{file} must hold a JSON object")
    return _project(file, config if graphs_given is None else {**config, "graphs": graphs_given})


def required_project(settings: Settings) -> Project | None:
    """Return the project of a service that must not start without one. None: the file is missing, and `Settings.no_project` allows that.

    Raises StartError for a file that is missing or unreadable; `Settings.no_project` excuses the one at the default place
    that is not there.
    """
    named = settings.project != Settings().project
    if settings.no_project and not named and not settings.project.exists() and given_in_environment(GRAPHS) is None:
        return None
    try:
        return read_project(settings.project)
    except StartError as error:
        hint = "name it by --config or LANGLOG_PROJECT, or start without a project, and so without its auth, by --no-project"
        raise (
            error if named or settings.project.exists() else StartError(f"{settings.project} does not exist: {hint}")
        ) from None


def _project(file: Path, config: dict[str, Any]) -> Project:
    for name in SECTIONS:
        if (given := given_in_environment(f"LANGGRAPH_{name.upper()}")) is not None:
            config[name] = given
    _check_encryption(file, config.get("encryption"))
    graphs = config.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise StartError(f"{file}: 'graphs' must be an object with at least one graph")
    specs = {name: _spec(file, position, name, entry) for position, (name, entry) in enumerate(graphs.items())}
    for _, fault in path_faults(file.parent, config):
        raise StartError(f"{file}: {fault}")
    for name, given in (given_in_environment(CONFIG) or {}).items():
        if name not in specs:
            raise StartError(f"{CONFIG} names graph {name!r}, which is not one of the project's: {', '.join(specs)}")
        specs[name] = msgspec.structs.replace(specs[name], **_defaults(name, given))
    return Project(file=file.resolve(), graphs=specs, config=config)


def path_faults(root: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, fault) of each path that cannot be resolved: a null byte, a name too long, links in a circle."""
    for key, text in _paths(config):
        try:
            (root / text).resolve().is_dir()
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            shown = text if len(text) <= 100 else f"{text[:100]}…"
            reason = error.strerror if isinstance(error, OSError) else str(error).partition(" from ")[0]
            yield key, f"{key}: {shown!r} is a path that cannot be followed: {reason}"


def _paths(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    def inner(*keys: str) -> object:
        value: object = config
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    graphs, names = inner("graphs"), inner("dependencies")
    objects = {f"graphs.{name}": entry for name, entry in graphs.items()} if isinstance(graphs, Mapping) else {}
    for keys in _OBJECTS:
        objects[".".join(keys)] = inner(*keys)
    for key, entry in objects.items():
        text = entry.get("path") if isinstance(entry, Mapping) else entry
        if isinstance(text, str):
            yield key, text.rpartition(":")[0]
    for keys in (("env",), ("pip_config_file",), ("source", "root")):
        if isinstance(text := inner(*keys), str):
            yield ".".join(keys), text
    yield from (("dependencies", name) for name in (names if isinstance(names, list) else []) if isinstance(name, str))


_OBJECTS = (
    ("auth", "path"),
    ("http", "app"),
    ("encryption", "path"),
    ("store", "path"),
    ("store", "index", "embed"),
    ("checkpointer", "path"),
    ("priority", "path"),
    ("worker_lifespan",),
)
"""Members that name an object as ``path.py:object``, besides ``graphs``."""


def _check_encryption(file: Path, section: object) -> None:
    """Raise StartError for an invalid section: a typing error must not lead to values stored in clear."""
    if not section:
        return
    path = section.get("path") if isinstance(section, dict) else None
    source, _, attribute = path.rpartition(":") if isinstance(path, str) else ("", "", "")
    if not source.endswith(".py") or not _MODULE.fullmatch(attribute):
        raise StartError(f'{file}: \'encryption\' must be {{"path": "file.py:object"}}, not {section!r}')


def _defaults(graph_id: str, given: object) -> dict[str, dict[str, Any]]:
    """Return ``config`` and ``context`` of a graph's entry in ``LANGGRAPH_CONFIG``. Raises StartError."""
    unknown = sorted(set(given) - set(_Defaults.__struct_fields__)) if isinstance(given, dict) else []
    if unknown:
        raise StartError(
            f"{CONFIG}: graph {graph_id!r}: {', '.join(map(repr, unknown[:10]))} would have no effect; what has one is "
            f"{', '.join(_Defaults.__struct_fields__)}"
        )
    try:
        entry = msgspec.convert(given, _Defaults)
    except msgspec.ValidationError as error:
        raise StartError(f"{CONFIG}: graph {graph_id!r}: {error}") from None
    if entry.configurable and entry.context and entry.configurable != entry.context:
        raise StartError(f"{CONFIG}: graph {graph_id!r}: give either 'configurable' or 'context', they are the same")
    assert isinstance(given, dict)
    context = entry.context or entry.configurable
    config = {name: value for name, value in given.items() if name != "context"}
    return {"config": {**config, "configurable": context} if context else config, "context": context}


class _Defaults(msgspec.Struct):
    """An entry in ``LANGGRAPH_CONFIG``: the members of a config that a run takes over from its assistant, and ``context``."""

    configurable: dict[str, Any] = {}
    context: dict[str, Any] = {}
    tags: list[str] = []
    run_name: str | None = None
    recursion_limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None


def given_in_environment(variable: str) -> dict[str, Any] | None:
    """Return the JSON object in a variable; None when it is not set. Raises StartError for anything else."""
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StartError(f"{variable} is not valid JSON: {error}") from None
    if value is None:
        return None
    if not isinstance(value, dict):
        raise StartError(f"{variable} must hold a JSON object")
    return value


class Configuration(msgspec.Struct, frozen=True):
    """The parts of the project that services without graph code use: sections and environment variables.

    A section may be set as JSON in ``LANGGRAPH_<SECTION>`` instead (wire contract §16); these services need not have the project.
    """

    project: Project | None

    def section(self, name: str) -> dict[str, Any]:
        """Return a section; empty if neither the environment nor the project sets it. Raises StartError."""
        given = given_in_environment(f"LANGGRAPH_{name.upper()}")
        if given is not None:
            return given
        return {} if self.project is None else self.project.section(name)

    def environment(self) -> dict[str, str]:
        """Return this process's variables, completed by the project's."""
        return {**({} if self.project is None else self.project.environment()), **os.environ}


def read_configuration(file: Path) -> Configuration:
    """Return the project's configuration; without the file, the environment's. Raises StartError."""
    return Configuration(read_project(file) if file.is_file() else None)


def _spec(file: Path, position: int, name: str, entry: object) -> GraphSpec:
    description = None
    if isinstance(entry, dict):
        description = entry.get("description")
        entry = entry.get("path")
    if not isinstance(entry, str) or not isinstance(description, str | None):
        raise StartError(f'{file}: graph {name!r} must be "path:object" or {{"path": …, "description": …}}')
    source, colon, attribute = entry.rpartition(":")
    pattern = _EXPORT if language_of(source) == "javascript" else _MODULE
    if not colon or not source or not pattern.fullmatch(attribute):
        raise StartError(f"{file}: graph {name!r}: {entry!r} is not of the form {FORMS}")
    spec = GraphSpec(graph_id=name, position=position, source=source, attribute=attribute, description=description)
    if not spec.is_file and not _MODULE.fullmatch(source):
        raise StartError(f"{file}: graph {name!r}: {source!r} is neither a path nor a module")
    return spec
