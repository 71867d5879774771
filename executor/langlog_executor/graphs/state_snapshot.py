"""The State object of the wire contract (§4), from the library's snapshot of a checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from langlog_schemas.states import FieldError, State, Task
from msgspec import UNSET
from msgspec.structs import replace

from ..values import interrupts
from ..values.error_text import written
from ..values.redaction import shown

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.types import PregelTask, StateSnapshot


def state_of(snapshot: StateSnapshot, errors: dict[str, FieldError] | None = None) -> State:
    """Return the snapshot as clients see it, with subgraph states within their tasks.

    ``errors``: field -> ``{error, message}`` of what does not fit the graph's schema; the member is there only then.
    """
    checkpoint = checkpoint_of(snapshot.config)
    parent = checkpoint_of(snapshot.parent_config)
    return State(
        values=snapshot.values,
        next=list(snapshot.next),
        tasks=[_task(task) for task in snapshot.tasks],
        metadata=cast("dict[str, Any] | None", snapshot.metadata),
        created_at=snapshot.created_at,
        checkpoint=checkpoint,
        parent_checkpoint=parent,
        interrupts=[interrupts.shown(i) for i in snapshot.interrupts],
        checkpoint_id=checkpoint["checkpoint_id"] if checkpoint is not None else None,
        parent_checkpoint_id=parent["checkpoint_id"] if parent is not None else None,
        errors=errors or UNSET,
    )


def selected(state: State, select: Sequence[str]) -> State:
    """Return the selected members; ``values.<key>`` selects single keys of the values. No selection: all."""
    if not select:
        return state
    members = {*select, "errors"}  # what is wrong with a state is never left out
    part = replace(state, **{name: UNSET for name in state.__struct_fields__ if name not in members})
    keys = [name.removeprefix("values.") for name in select if name.startswith("values.")]
    if keys and "values" not in members:
        known = state.values if isinstance(state.values, Mapping) else {}
        part.values = {key: known[key] for key in keys if key in known}
    return part


def checkpoint_of(config: RunnableConfig | None) -> dict[str, Any] | None:
    """Return ``{checkpoint_id, thread_id, checkpoint_ns, checkpoint_map?}``; None when the config names no checkpoint."""
    configurable: Mapping[str, Any] = (config or {}).get("configurable") or {}
    if not configurable.get("checkpoint_id"):
        return None
    checkpoint = {
        "checkpoint_id": configurable["checkpoint_id"],
        "thread_id": configurable.get("thread_id"),
        "checkpoint_ns": configurable.get("checkpoint_ns") or "",
    }
    if configurable.get("checkpoint_map"):
        checkpoint["checkpoint_map"] = configurable["checkpoint_map"]
    return checkpoint


def _task(task: PregelTask) -> Task:
    checkpoint: dict[str, Any] | None = None
    state: State | None = None
    if isinstance(task.state, dict):
        configurable = task.state["configurable"]
        checkpoint = {
            name: configurable[name]
            for name in ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
            if configurable.get(name) is not None
        }
    elif task.state is not None:
        state = state_of(task.state)
    error: Any = task.error  # stored errors are restored as text
    return Task(
        id=task.id,
        name=task.name,
        path=list(task.path),
        error=None if error is None else shown(error if isinstance(error, str) else written(error)),
        interrupts=[interrupts.shown(i) for i in task.interrupts],
        checkpoint=checkpoint,
        state=state,
        result=task.result,
    )
