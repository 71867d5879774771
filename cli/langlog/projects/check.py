"""Checks of a langgraph.json without executing the project's code. `langlog validate` prints it.

Sections are converted into the types that the services read them into, so that what passes here is what starts there.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import FORMS, GRAPHS, Project, given_in_environment, path_faults, read_project
from langlog_backbone.project.node import find_node
from langlog_backbone.project.store_index import StoreIndex
from langlog_backbone.project.ttl import StoreTtl, ThreadTtl
from langlog_backbone.project.webhook_policy import WebhookSection, webhook_headers
from langlog_gateway.http.options import AuthOptions, HttpOptions

from .folders import UNSOUND, folder_problems
from .image_keys import image_keys, image_problems, wording
from .keys import key_problems
from .problems import Problem
from .references import Reference, component_problems, javascript_problems, reference_problems, references

Modules = bool | list[Annotated[list[str], msgspec.Meta(min_length=1)]] | None


class _Serde(msgspec.Struct):
    allowed_json_modules: Modules = None
    allowed_msgpack_modules: Modules = None
    pickle_fallback: bool = True


class _Path(msgspec.Struct):
    path: str | None = None


class _UiConfig(msgspec.Struct):
    shared: list[str] = []


class _Encryption(msgspec.Struct):
    path: str
    json: str | None = None


READERS: dict[str, Any] = {
    "env": dict[str, str | int | float | bool | None] | list[str] | str | None,
    "worker_lifespan": str | None,
    "ui": dict[str, str] | None,
    "ui_config": _UiConfig | None,
    "store": dict[str, Any] | None,
    "store.path": str | None,
    "store.index": StoreIndex | None,
    "store.ttl": StoreTtl | None,
    "checkpointer": dict[str, Any] | None,
    "checkpointer.path": str | None,
    "checkpointer.ttl": ThreadTtl | None,
    "checkpointer.serde": _Serde | None,
    "auth": AuthOptions | None,
    "encryption": _Encryption | None,
    "priority": _Path | None,
    "http": HttpOptions | None,
    "webhooks": WebhookSection | None,
}
"""Dotted key -> type of its value. Keys of images have their own type (`image_keys.ImageKeys`)."""
OBJECTS = ("auth.path", "http.app", "store.path", "worker_lifespan")
"""Keys that must be ``path.py:object`` or ``module:object``."""


def check(file: Path) -> tuple[Project | None, list[Problem]]:
    """Return the project, or None if no graph of it can be named; and its problems, errors first, each once."""
    try:
        config = _config(file)
    except StartError as error:
        return None, [Problem("error", "", str(error))]
    problems = [*key_problems(config), *image_problems(config), *_type_problems(config), *_graph_problems(config)]
    problems += [Problem("error", key, text) for key, text in path_faults(file.parent, config)]
    project: Project | None = None
    try:
        project = read_project(file)
    except StartError as error:
        if not any(problem.level == "error" for problem in problems):
            problems.append(Problem("error", "", str(error)))
    if project is not None:
        problems += _project_problems(project)
    order = {"error": 0, "warning": 1, "note": 2}
    return project, sorted(dict.fromkeys(problems), key=lambda problem: order[problem.level])


def _config(file: Path) -> dict[str, Any]:
    """Return the object in the file. Raises StartError, with the text of `read_project`."""
    try:
        config = msgspec.json.decode(file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return read_project(file).config  # which reports the fault; or the environment holds the graphs
    if not isinstance(config, dict):
        raise StartError(f"{file} must hold a JSON object")
    return config


def _type_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    for key, kind in READERS.items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            continue
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield Problem("error", key, f"{key}: {wording(error, key)}")
    for key in OBJECTS:
        section, _, name = key.rpartition(".")
        inner = config.get(section) if section else config
        text = inner.get(name) if isinstance(inner, Mapping) else None
        if isinstance(text, str) and not all(text.rpartition(":")):
            yield Problem("error", key, f'{key}: {text!r} is not of the form "path.py:object" or "module:object"')


def _graph_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each entry without a graph; a start would stop at the first."""
    graphs = config.get("graphs")
    if given_in_environment(GRAPHS) is not None:
        return
    if not isinstance(graphs, dict) or not graphs:
        yield Problem(
            "error", "graphs", '\'graphs\' must be an object with at least one graph: {"agent": "./agent.py:graph"}'
        )
        return
    for name, entry in graphs.items():
        path = entry.get("path") if isinstance(entry, dict) else entry
        description = entry.get("description") if isinstance(entry, dict) else None
        if isinstance(entry, dict):
            for unknown in sorted(set(entry) - {"path", "description"}):
                yield Problem(
                    "warning", f"graphs.{name}.{unknown}", f"the key {unknown!r} of graph {name!r} is not known"
                )
        if not isinstance(path, str) or not isinstance(description, str | None):
            yield Problem(
                "error", f"graphs.{name}", f'graph {name!r} must be "path.py:object" or {{"path": …, "description": …}}'
            )
        elif not all(path.rpartition(":")):
            yield Problem(
                "error",
                f"graphs.{name}",
                f"graph {name!r}: {path!r} is not of the form {FORMS}",
            )


def _project_problems(project: Project) -> Iterator[Problem]:
    # warnings about folders are errors here: no image can be built without them
    for text in project.warnings():
        if not text.startswith("dependency "):
            yield Problem("warning", "env", text)
    environment: dict[str, str] = {}
    try:
        environment = project.environment()
    except StartError as error:
        if isinstance(project.config.get("env"), dict | str):  # of another type, which `_type_problems` reports
            yield Problem("error", "env", str(error))
    yield from folder_problems(project)
    yield from _file_problems(project)
    for reference in references(project):
        yield from reference_problems(project, reference)
    yield from javascript_problems(project)
    yield from component_problems(project)
    yield from _webhook_problems(project, environment)


def _file_problems(project: Project) -> Iterator[Problem]:
    """Yield problems of the files that the build of an image reads."""
    try:
        keys = image_keys(project.config)
    except msgspec.ValidationError:
        return
    if keys.pip_config_file:
        file = (project.root / keys.pip_config_file).resolve()
        if not file.is_file():
            yield Problem("error", "pip_config_file", f"{keys.pip_config_file!r} does not exist ({file})")
        elif not file.is_relative_to(project.root):
            yield Problem(
                "error", "pip_config_file", f"{keys.pip_config_file!r} must be in the folder of {project.file.name}"
            )
        elif UNSOUND.search(keys.pip_config_file) or re.search(r"[\s,]", keys.pip_config_file):
            yield Problem(
                "error",
                "pip_config_file",
                f"{keys.pip_config_file!r} has a character in its name that no Dockerfile can hold: rename it",
            )
    if keys.source is not None:
        root = (project.root / keys.source.root).resolve()
        for name in ("pyproject.toml", "uv.lock"):
            if not (root / name).is_file():
                yield Problem(
                    "error", "source.root", f"there is no {name} in {root}: make it by `uv lock`, or name its folder"
                )
        if not project.root.is_relative_to(root):
            yield Problem("error", "source.root", f"{keys.source.root!r} does not hold {project.file.name}")


class _AnyVariable(dict[str, str]):
    """An environment in which every variable is set."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "x"


def _webhook_problems(project: Project, environment: Mapping[str, str]) -> Iterator[Problem]:
    """Yield headers that cannot be sent; and as a warning, variables that they need and that are not set here."""
    try:
        section = msgspec.convert(project.config.get("webhooks") or {}, WebhookSection)
        webhook_headers(section, _AnyVariable())
    except msgspec.ValidationError:
        return
    except StartError as error:
        yield Problem("error", "webhooks.headers", str(error))
        return

    try:
        webhook_headers(section, {**environment, **os.environ})
    except StartError as error:
        yield Problem("warning", "webhooks.headers", str(error))


def load_problems(project: Project) -> Iterator[Problem]:
    """Execute the project's code: each graph, and each other object that it names. Changes the process."""
    from langlog_backbone.project.imports import load_object
    from langlog_executor.graphs.loading import GraphLoadError, load_graphs
    from msgspec.structs import replace

    for name, spec in project.graphs.items():
        alone = replace(project, graphs={name: spec})
        try:
            if spec.language == "javascript":
                _load_javascript_graphs(alone)
            else:
                load_graphs(alone)
        except (GraphLoadError, StartError) as error:
            yield Problem("error", f"graphs.{name}", str(error))
    for reference in references(project):
        if reference.key.startswith("graphs."):
            continue
        try:
            if reference.language == "javascript":
                _load_javascript_code(project, reference)
                continue
            load_object(project, reference.key, f"{reference.source}:{reference.attribute}", shared=True)
        except StartError as error:
            yield Problem("error", reference.key, str(error))


def _load_javascript_graphs(project: Project) -> None:
    """Load the graphs in a process of Node, as a worker does. Raises StartError."""
    from langlog_executor.worker.process import graph_hosts

    settings = read_settings()
    hosts = graph_hosts(Path(find_node(settings.node).executable), project, settings)

    async def load() -> None:
        try:
            await hosts.start()
        finally:
            await hosts.stop()

    asyncio.run(load())


def _load_javascript_code(project: Project, reference: Reference) -> None:
    """Load `auth` or `http.app` in a process of Node, as a gateway does. Raises StartError."""
    from langlog_backbone.project.hosted_code import HostedCode

    settings = read_settings()
    named = f"{reference.source}:{reference.attribute}"
    auth, app = (named if reference.key == key else None for key in ("auth.path", "http.app"))
    hosted = HostedCode(find_node(settings.node), project, auth, app, settings.worker_start_s)
    hosted.start()
    hosted.end()
