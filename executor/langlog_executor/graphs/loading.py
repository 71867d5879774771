"""The project's graphs: loaded by path or module, and opened for one use at a time.

Loading happens once, at the start of a worker process, on its main thread; a graph that does not load stops the start with
`GraphLoadError`, which names file, line and cause. `Graphs.open` returns a compiled graph with this run's checkpointer and store:
a shallow copy of a static graph, or a factory's result. It may be called on any loop; factories run on the caller's.

`langlog_backbone.project.imports` defines the names under which files are imported.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
import traceback
import types
import typing
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langlog_backbone.process import outside_loop
from langlog_backbone.project import imports as project_import
from langlog_backbone.project.config import GraphSpec, Project
from langlog_backbone.project.imports import NotPython, import_file, import_module, prepare_process, way_out

from ..values.error_text import LIBRARIES
from ..values.library_features import SERVER_RUNTIME, AccessContext

DEFAULT_NAME = "LangGraph"
"""The library's name of a graph without a name; clients see the graph id instead."""

AnyGraph = Pregel[Any, Any, Any, Any]


class GraphLoadError(Exception):
    """A graph cannot be used. The message names graph, file, line and cause."""

    def __init__(
        self, spec: GraphSpec, reason: str, file: str | None = None, line: int | None = None, way_out: str = ""
    ) -> None:
        self.graph_id = spec.graph_id
        self.file = file
        self.line = line
        self.reason = reason
        location = "" if file is None else f" ({file}, line {line})" if line else f" ({file})"
        super().__init__(f'graph "{spec.graph_id}" ({spec}) does not load: {reason}{location}{way_out}')


class UnknownGraph(KeyError):
    """The project has no graph with that id."""

    def __init__(self, graph_id: str) -> None:
        super().__init__(graph_id)

    def __str__(self) -> str:
        return f"Graph '{self.args[0]}' is not part of this project"


class Graphs:
    """All graphs of a project, in the order of ``langgraph.json``. Those in JavaScript are named here, and run on the graph host."""

    def __init__(self, specs: Mapping[str, GraphSpec], sources: Mapping[str, AnyGraph | Factory]) -> None:
        self.specs = dict(specs)
        self._sources = dict(sources)

    def is_static(self, graph_id: str) -> bool:
        """Return whether the graph is the same for every config (no factory)."""
        return isinstance(self._sources.get(graph_id), Pregel)

    @contextlib.asynccontextmanager
    async def open(
        self,
        graph_id: str,
        config: RunnableConfig | dict[str, Any] | None = None,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        store: BaseStore | None = None,
        access_context: AccessContext = "threads.create_run",
        context: Any = None,
        user: Any = None,
    ) -> AsyncIterator[AnyGraph]:
        """Yield a graph that is ready to use with this checkpointer and store.

        ``config`` goes to factories; ``access_context``, ``context`` and ``user`` to those that take a ``ServerRuntime``.
        Raises UnknownGraph, or the factory's errors.
        """
        source = self._sources.get(graph_id)
        if source is None:
            raise UnknownGraph(graph_id)
        if isinstance(source, Pregel):
            yield _ready(source, graph_id, checkpointer, store)
            return
        # factories read config["configurable"] without looking whether it is there
        async with source.make({"configurable": {}, **(config or {})}, store, access_context, context, user) as graph:
            yield _ready(graph, graph_id, checkpointer, store)


def _ready(
    graph: AnyGraph, graph_id: str, checkpointer: BaseCheckpointSaver[Any] | None, store: BaseStore | None
) -> AnyGraph:
    # a shallow copy: `Pregel.copy` would validate the whole graph again for every run
    ready = copy.copy(graph)
    ready.checkpointer = checkpointer
    ready.store = store
    if ready.name == DEFAULT_NAME:
        ready.name = graph_id
    return ready


class Factory:
    """A function that makes a graph: plain or async, or a context manager of either kind."""

    def __init__(self, spec: GraphSpec, function: Callable[..., Any]) -> None:
        self._spec = spec
        self._function = _as_context_manager(function)
        self._takes = _parameters(function)

    @contextlib.asynccontextmanager
    async def make(
        self,
        config: RunnableConfig | dict[str, Any],
        store: BaseStore | None,
        access_context: AccessContext,
        context: Any,
        user: Any,
    ) -> AsyncIterator[AnyGraph]:
        arguments: dict[str, Any] = {}
        for name, kind in self._takes.items():
            if kind == "config":
                arguments[name] = config
            elif SERVER_RUNTIME is None:
                raise TypeError(f"{self._spec} takes a ServerRuntime, which langgraph-sdk has since 0.3.6: upgrade it")
            elif access_context == "threads.create_run":
                arguments[name] = SERVER_RUNTIME._ExecutionRuntime(
                    access_context=access_context,
                    user=user,
                    store=store,
                    context=context,
                )
            else:
                arguments[name] = SERVER_RUNTIME._ReadRuntime(
                    access_context=access_context,
                    user=user,
                    store=InMemoryStore() if store is None else store,  # described at start, before there is any
                )
        made = self._function(**arguments)
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, contextlib.AbstractAsyncContextManager):
            async with made as graph:
                yield self._compiled(graph)
        elif isinstance(made, contextlib.AbstractContextManager):
            with made as graph:
                yield self._compiled(graph)
        else:
            yield self._compiled(made)

    def _compiled(self, made: object) -> AnyGraph:
        if isinstance(made, Pregel):
            return made
        if isinstance(made, StateGraph):
            return made.compile()
        raise TypeError(f"{self._spec} gave {_kind(made)}, not a graph")


def _as_context_manager(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return contextlib.asynccontextmanager(function)
    if inspect.isgeneratorfunction(function):
        return contextlib.contextmanager(function)
    return function


def _parameters(function: Callable[..., Any]) -> dict[str, str]:
    """Return the name of each parameter that gets an argument, and whether that is the config or the runtime."""
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function)
    except Exception:
        hints = {}
    roles: dict[str, str] = {}
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        hint = _without_none(hints.get(parameter.name, parameter.annotation))
        if _is_runtime(hint) or (parameter.name == "runtime" and hint is parameter.empty):
            roles[parameter.name] = "runtime"
        elif (
            parameter.name == "config"
            or hint is RunnableConfig
            or _names(hint, "RunnableConfig")
            or (parameter.default is parameter.empty and "config" not in roles.values())
        ):
            roles[parameter.name] = "config"
    return roles


def _without_none(hint: object) -> object:
    """Return ``X`` of ``X | None`` and ``Optional[X]``: a factory that projects call themselves may leave its parameters out."""
    if isinstance(hint, str):
        inner = hint.strip("'\" ")
        if inner.partition("[")[0].rpartition(".")[2] == "Optional" and inner.endswith("]"):
            return inner.partition("[")[2][:-1]
        alternatives = [part.strip() for part in inner.split("|") if part.strip() != "None"]
        return alternatives[0] if len(alternatives) == 1 else hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else hint
    return hint


def _is_runtime(hint: object) -> bool:
    if isinstance(hint, str):
        return _names(hint, "ServerRuntime")
    origin = typing.get_origin(hint) or hint
    if SERVER_RUNTIME is None:
        return False
    if origin is SERVER_RUNTIME.ServerRuntime:
        return True
    return isinstance(origin, type) and issubclass(origin, SERVER_RUNTIME._ServerRuntimeBase)


def _names(hint: object, name: str) -> bool:
    """Return whether an annotation that cannot be resolved (imported for type checkers only) is of this class,
    ``sdk.Name[Context]`` too."""
    return isinstance(hint, str) and hint.strip("'\" ").partition("[")[0].rpartition(".")[2] == name


# --- loading ---------------------------------------------------------------------------------


def load_graphs(project: Project) -> Graphs:
    """Import every graph of the project that is in Python. Raises GraphLoadError for the first that does not load, StartError for bad settings.

    Changes the process: sets import path and environment of the project. Variables that are already set stay.
    """
    prepare_process(project)
    modules: dict[Path, types.ModuleType] = {}
    own = {name: spec for name, spec in project.graphs.items() if spec.language == "python"}
    return Graphs(project.graphs, {name: _load(project, spec, modules) for name, spec in own.items()})


def _load(project: Project, spec: GraphSpec, modules: dict[Path, types.ModuleType]) -> AnyGraph | Factory:
    if spec.is_file:
        path = project.path_of(spec)
        if not path.is_file():
            raise GraphLoadError(spec, "the file does not exist", str(path))
        module = modules.get(path)
        if module is None:
            module = modules[path] = _import_file(spec, path)
        where = str(path)
    else:
        try:
            module = import_module(spec.source)
        except BaseException as error:
            raise _failure(spec, error, None) from error
        where = getattr(module, "__file__", None) or spec.source
    target: Any = module
    for part in spec.attribute.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise GraphLoadError(spec, f"there is no {spec.attribute!r} in it", where) from None
    return _usable(spec, target, where)


def _usable(spec: GraphSpec, target: object, where: str) -> AnyGraph | Factory:
    if isinstance(target, Pregel):
        return target
    if isinstance(target, StateGraph):
        try:
            return target.compile()
        except Exception as error:
            raise _failure(spec, error, where) from error
    if callable(target):
        try:
            return Factory(spec, target)
        except (TypeError, ValueError) as error:
            raise GraphLoadError(spec, f"{spec.attribute!r} cannot be called: {error}", where) from None
    raise GraphLoadError(
        spec, f"{spec.attribute!r} is {_kind(target)}, not a graph or a function that makes one", where
    )


def _import_file(spec: GraphSpec, path: Path) -> types.ModuleType:
    try:
        return import_file(path)
    except KeyboardInterrupt:
        raise
    except NotPython as error:
        raise GraphLoadError(spec, str(error), str(path)) from None
    except BaseException as error:
        raise _failure(spec, error, str(path)) from error


_LOADERS = (__file__, project_import.__file__, outside_loop.__file__)


def _failure(spec: GraphSpec, error: BaseException, where: str | None) -> GraphLoadError:
    """Return the innermost line of the project's own code that led to the error; of the error's own place for a syntax error."""
    if isinstance(error, SyntaxError) and error.filename:
        return GraphLoadError(spec, f"{type(error).__name__}: {error.msg}", error.filename, error.lineno)
    file, line = where, None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith("<") or frame.filename.startswith(LIBRARIES) or frame.filename in _LOADERS:
            continue
        file, line = frame.filename, frame.lineno
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return GraphLoadError(spec, reason, file, line, _way_out(error))


def _way_out(error: BaseException) -> str:
    """Return the advice for an error that projects often meet, or for a missing package; empty for other errors, including a missing
    module of an installed package."""
    if reason := way_out(error):
        return reason
    if not isinstance(error, ModuleNotFoundError) or not error.name or "." in error.name:
        return ""
    return (
        f": install what has it into the environment that langlog runs in ({sys.prefix}); "
        'if it is the project\'s own, add its folder to "dependencies" in langgraph.json'
    )


def _kind(value: object) -> str:
    return f"an object of type {type(value).__name__}"
