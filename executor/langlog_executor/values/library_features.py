"""Features that only some of the supported releases of langgraph, its checkpoint package and its SDK have: detected once, here.

| name | since | without it |
| --- | --- | --- |
| `RunControl`, `GraphDrained` | langgraph 1.2 | a worker that stops waits for its runs, and hands over what has not ended in time |
| ``version="v2"`` of `Pregel.astream` | langgraph 1.1 | protocol streams are read in the first form |
| `DeltaChannelHistory` | langgraph-checkpoint 4.1 | no graph has delta channels |
| `DeltaChannel`, its snapshots | langgraph 1.2 | no graph has delta channels |
| `validate_op_namespace` | langgraph-checkpoint 4.3 | the same rule, written here |
| `langgraph_sdk.runtime` | langgraph-sdk 0.3.6 | no factory of a graph can ask for a `ServerRuntime` |

Pure; imported by workers only, since it imports langgraph.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any, Literal

from langgraph.pregel import Pregel
from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, Op, PutOp, SearchOp
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from langgraph.checkpoint.base import DeltaChannelHistory as DeltaChannelHistory
else:
    try:
        from langgraph.checkpoint.base import DeltaChannelHistory
    except ImportError:
        DeltaChannelHistory = dict

AccessContext = Literal["threads.create_run", "threads.update", "threads.read", "assistants.read"]
"""Purpose for which the server opens a graph, as `langgraph_sdk.runtime` names it."""


def unsupported_releases() -> dict[str, str]:
    """Return the packages of langgraph whose installed releases langlog does not support, and what it supports: pip installs them
    in spite of langlog where a project's requirements are installed later."""
    try:
        needed = [Requirement(line) for line in requires("langlog") or ()]
    except PackageNotFoundError:  # a source tree on the import path
        return {}
    return {
        f"{each.name} {installed}": str(each.specifier)
        for each in needed
        if each.name.startswith("langgraph") and each.marker is None
        if not each.specifier.contains(installed := version(each.name), prereleases=True)
    }


def _optional(module: str, name: str | None = None) -> Any:
    """Return the module, or its member; None if the installed release lacks it."""
    try:
        imported = importlib.import_module(module)
    except ImportError:
        return None
    return imported if name is None else getattr(imported, name, None)


class _NeverMade:
    """The replacement for `DeltaChannel` and its snapshots where langgraph has none."""

    def __init__(self, value: Any) -> None:
        raise NotImplementedError("this release of langgraph has no delta channels")


DeltaChannel: Any = _optional("langgraph.channels.delta", "DeltaChannel") or _NeverMade
DeltaSnapshot: Any = _optional("langgraph.checkpoint.serde.types", "_DeltaSnapshot") or _NeverMade


class _NeverDrained(Exception):
    """The replacement for `GraphDrained` where langgraph never raises it."""


RunControl: Any = _optional("langgraph.runtime", "RunControl")
"""The class that stops a run at its next step boundary, or None."""
GraphDrained: type[Exception] = _optional("langgraph.errors", "GraphDrained") or _NeverDrained
SERVER_RUNTIME: Any = _optional("langgraph_sdk.runtime")
"""Module with the types that factories of graphs may request, or None."""
DRAINS = RunControl is not None
"""Whether runs can be stopped at step boundaries."""
STREAM_VERSION: dict[str, Any] = {"version": "v2"} if "version" in inspect.signature(Pregel.astream).parameters else {}
"""Options of `Pregel.astream` for its second form."""


def check_namespace(op: Op) -> None:
    """Raise InvalidNamespaceError for labels that are empty, not text, or hold a period or NUL."""
    if _validate_op_namespace is not None:
        _validate_op_namespace(op)
        return
    match op:
        case GetOp() | PutOp():
            _check_labels(op.namespace)
        case SearchOp():
            _check_labels(op.namespace_prefix)
        case ListNamespacesOp():
            for condition in op.match_conditions or ():
                _check_labels(condition.path)


_validate_op_namespace: Any = _optional("langgraph.store.base", "validate_op_namespace")


def _check_labels(labels: tuple[Any, ...]) -> None:
    for label in labels:
        if not isinstance(label, str) or not label or "." in label or "\x00" in label:
            raise InvalidNamespaceError(
                f"namespace {labels!r} holds the label {label!r}: a label is text that is not empty, without periods or NUL"
            )
