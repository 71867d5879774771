"""A graph's interrupts, as the API shows them (wire contract §4, §5.2, §9.2). Pure.

If an interrupt declares the answer it expects, ``response_schema`` holds it as JSON Schema. States, threads and protocol
events omit
the member otherwise; outputs and streams show null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph import errors
from langlog_schemas.runs.errors import Refusal
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from langgraph.types import Interrupt, StateSnapshot

INTERRUPT = "__interrupt__"


def schema_of(interrupt: Interrupt) -> dict[str, Any] | None:
    """Return the JSON Schema of the expected answer. `interrupt()` derives it from a type; an interrupt that was raised directly may hold
    the type."""
    given: Any = getattr(interrupt, "response_schema", None)
    if given is None or isinstance(given, dict):
        return given
    try:
        return TypeAdapter(given).json_schema()
    except Exception:  # a class of the graph's own may be anything
        return None


def shown(interrupt: Interrupt) -> dict[str, Any]:
    """Return the interrupt as states and threads show it."""
    return {"id": interrupt.id, "value": interrupt.value, **_response_schema(interrupt)}


def requested(interrupt: Interrupt) -> dict[str, Any]:
    """Return the data of the protocol's ``input.requested``."""
    return {"interrupt_id": interrupt.id, "payload": interrupt.value, **_response_schema(interrupt)}


def interrupt_list(interrupts: Sequence[Interrupt]) -> list[dict[str, Any]]:
    """Return ``__interrupt__`` of outputs and streamed values."""
    return [{"value": i.value, "id": i.id, "response_schema": schema_of(i)} for i in interrupts]


def interrupts_of(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """Return task id -> its open interrupts, as threads show them."""
    return {task.id: [shown(i) for i in task.interrupts] for task in snapshot.tasks if task.interrupts}


def refusal_of(error: BaseException) -> Refusal | None:
    """Return why langgraph refused the answer of a strict run; None for any other error."""
    kind = getattr(errors, "UnknownInterruptError", None)  # since 1.2.20 or so
    if kind is None or not isinstance(error, kind):
        return None
    refused: Any = error
    return Refusal(refused.reason, list(refused.interrupt_ids), list(refused.pending_ids))


def _response_schema(interrupt: Interrupt) -> dict[str, Any]:
    schema = schema_of(interrupt)
    return {} if schema is None else {"response_schema": schema}
