"""States that do not fit their graph: of another type than the schema's, or with writes that a reducer refuses.

A node, an update or an earlier version of the project has written them. The library raises for such a state before it shows any of
it, and before an update could mend it. Here it is read through more lenient copies of the graph: without the coercion of the values that
nodes get, then also without the writes of the current step. Errors are reported by field.

Concurrency: called on the graph loop; the copies share the graph's channels and nodes, which reading does not change.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from langgraph.channels.base import BaseChannel
from langgraph.pregel import Pregel
from langlog_schemas.states import FieldError
from pydantic import ValidationError

from ..values.error_text import described
from ..values.redaction import shown

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
    from langgraph.types import StateSnapshot

    from .loading import AnyGraph

Errors = dict[str, FieldError]
"""Field -> reason why it does not fit; `WHOLE`: not about one field."""
WHOLE = "__root__"
CONTROL = ("__error__", "__interrupt__", "__resume__", "__scheduled__")
"""Channels with the outcomes of tasks, whose writes pass no reducer."""
FIELDS_MAX = 100
"""Maximum number of fields in a report; further ones are left out."""


async def read_state(
    graph: AnyGraph, config: RunnableConfig, *, subgraphs: bool = False
) -> tuple[StateSnapshot, Errors]:
    """Return the state, and its errors. Raises what the graph raises for one that cannot be shown at all."""
    try:
        return await graph.aget_state(config, subgraphs=subgraphs), {}
    except Exception as error:
        for lenient in lenient_copies(graph):
            for deep in {subgraphs, False}:
                try:
                    snapshot = await lenient.aget_state(config, subgraphs=deep)
                    return snapshot, await _errors(graph, snapshot) or {WHOLE: _description(error)}
                except Exception:  # noqa: S112 -- the first error is the one that says what is wrong
                    continue
        raise


async def read_history(graph: AnyGraph, **options: Any) -> AsyncIterator[tuple[StateSnapshot, Errors]]:
    """Yield the states of the thread, the newest first, like `read_state`. ``options``: those of ``aget_state_history``."""
    given = 0
    try:
        async for snapshot in graph.aget_state_history(**options):
            given += 1
            yield snapshot, {}
    except Exception:
        for lenient in lenient_copies(graph):
            try:
                skipped = given
                async for snapshot in lenient.aget_state_history(**options):
                    if skipped:
                        skipped -= 1
                        continue
                    given += 1
                    yield snapshot, await _errors(graph, snapshot)
            except Exception:  # noqa: S112 -- as above
                continue
            return
        raise


def lenient_copies(graph: object) -> Iterable[AnyGraph]:
    """Yield more and more lenient copies of the graph; none of a remote graph."""
    if not isinstance(graph, Pregel):
        return
    nodes = {
        name: node.copy({"mapper": None}) if node.mapper is not None else node for name, node in graph.nodes.items()
    }
    uncoerced = copy.copy(graph)
    uncoerced.nodes = nodes
    yield uncoerced
    if graph.checkpointer:
        unwritten = copy.copy(uncoerced)
        unwritten.checkpointer = _without_writes(cast("BaseCheckpointSaver[Any]", graph.checkpointer))
        yield unwritten


def _without_writes(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Return a saver that leaves out the channel writes of tasks under way."""
    quiet = copy.copy(saver)

    async def aget_tuple(config: RunnableConfig) -> CheckpointTuple | None:
        return _quiet(await saver.aget_tuple(config))

    async def alist(*args: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        async for checkpoint in saver.alist(*args, **options):
            yield cast("CheckpointTuple", _quiet(checkpoint))

    quiet.aget_tuple = aget_tuple  # type: ignore[method-assign]  # of this copy alone
    quiet.alist = alist  # type: ignore[method-assign]  # as above
    return quiet


def _quiet(checkpoint: CheckpointTuple | None) -> CheckpointTuple | None:
    if checkpoint is None or not checkpoint.pending_writes:
        return checkpoint
    return checkpoint._replace(pending_writes=[write for write in checkpoint.pending_writes if write[1] in CONTROL])


async def _errors(graph: AnyGraph, snapshot: StateSnapshot) -> Errors:
    """Return the errors of a state: of its values for the next nodes, and of its pending writes for their channels."""
    assert isinstance(graph, Pregel)
    errors: Errors = {}
    values = snapshot.values if isinstance(snapshot.values, Mapping) else {}
    for node in (graph.nodes[name] for name in dict.fromkeys(snapshot.next) if name in graph.nodes):
        if node.mapper is None or not isinstance(node.channels, list):
            continue
        try:
            node.mapper({name: values[name] for name in node.channels if name in values})
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False, include_input=False):
                field, *inside = [str(step) for step in fault["loc"]] or [WHOLE]
                where = f"{'.'.join(inside)}: " if inside else ""
                errors.setdefault(field, FieldError("ValidationError", shown(f"{where}{fault['msg']}")))
        except Exception as error:
            errors.setdefault(WHOLE, _description(error))
    if graph.checkpointer:
        saved = await cast("BaseCheckpointSaver[Any]", graph.checkpointer).aget_tuple(snapshot.config)
        for name, value in _writes(saved):
            channel = graph.channels.get(name)
            if not isinstance(channel, BaseChannel):
                continue
            try:
                saved_values = saved.checkpoint["channel_values"] if saved is not None else {}
                channel.from_checkpoint(saved_values.get(name, channel.checkpoint())).update([value])
            except Exception as error:
                errors.setdefault(name, _description(error))
    return dict(list(errors.items())[:FIELDS_MAX])


def _writes(saved: CheckpointTuple | None) -> list[tuple[str, Any]]:
    writes = (saved.pending_writes or []) if saved is not None else []
    return [(name, value) for _, name, value in writes if name not in CONTROL]


def _description(error: Exception) -> FieldError:
    description = described(error)
    return FieldError(description.error, description.message)
