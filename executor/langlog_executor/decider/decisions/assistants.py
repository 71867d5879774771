"""Deciding of assistants (wire contract §2): ``(state, command, meta) -> events``, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates import assistant as assistant_aggregate
from langlog_schemas.aggregates.assistant import AssistantState
from langlog_schemas.envelope import CommandMeta
from msgspec import UNSET
from msgspec.structs import replace

from .access import assistant_refusal
from .sizes import metadata_refusal

Events = list[ev.AnyEvent]


def decide_assistant(state: AssistantState, command: cmd.AnyAssistantCommand, meta: CommandMeta) -> Events:
    """Return the events of a command to an assistant (wire contract §2)."""
    current, id = state.current, state.assistant_id
    refusal = assistant_refusal(state, command)
    if refusal is not None:
        return _rejected(id, *refusal)
    match command:
        case cmd.CreateAssistant():
            return _create(state, command, meta)
        case cmd.PatchAssistant():
            if current is None:
                return _rejected(id, 404, f"Assistant {id} not found")
            return _patch(state, current, command, meta)
        case cmd.SetLatestAssistant():
            content_then = None if command.version is None else state.versions.get(command.version)
            if content_then is None:
                return _rejected(id, 404, f"Version {command.version} not found for assistant {id}")
            return [ev.AssistantLatestSet(assistant_id=id, content=content_then, provenance=command.provenance)]
        case cmd.DeleteAssistant():
            if current is None:
                return _rejected(id, 404, f"Assistant with ID {id} not found")
            return [ev.AssistantDeleted(assistant_id=id)]
        case _:
            assert_never(command)


def _create(state: AssistantState, command: cmd.CreateAssistant, meta: CommandMeta) -> Events:
    current, id = state.current, state.assistant_id
    if current is not None:
        match command.if_exists:
            case "do_nothing":
                return [ev.AssistantCreated(assistant_id=id, content=current, existed=True)]
            case "update":
                return _updated(state, current, command, meta)
            case "raise":
                return _rejected(id, 409, f"Assistant {id} already exists")
            case _:
                assert_never(command.if_exists)
    content = ev.AssistantVersion(
        version=1,
        graph_id=command.graph_id,
        config=command.config,
        context=command.context,
        metadata=command.metadata,
        name=command.name,
        description=command.description,
        created_at=_time(command, meta),
    )
    return [ev.AssistantCreated(assistant_id=id, content=content, provenance=command.provenance)]


def _patch(
    state: AssistantState, current: ev.AssistantVersion, command: cmd.PatchAssistant, meta: CommandMeta
) -> Events:
    given = {
        name: value
        for name in ("graph_id", "config", "context", "name", "description")
        if (value := getattr(command, name)) is not UNSET
    }
    metadata = {**current.metadata, **({} if command.metadata is UNSET else command.metadata)}
    if (too_large := metadata_refusal(current.metadata, metadata, command.metadata_limit)) is not None:
        return _rejected(state.assistant_id, *too_large)
    content = replace(
        current, version=max(state.versions) + 1, created_at=_time(command, meta), metadata=metadata, **given
    )
    return [ev.AssistantVersioned(assistant_id=state.assistant_id, content=content, provenance=command.provenance)]


def _updated(
    state: AssistantState, current: ev.AssistantVersion, command: cmd.CreateAssistant, meta: CommandMeta
) -> Events:
    """Return the events that set the command's config and context on an existing assistant."""
    if (current.config, current.context) == (command.config, command.context):
        return [ev.AssistantCreated(assistant_id=state.assistant_id, content=current, existed=True)]
    content = replace(
        current,
        version=max(state.versions) + 1,
        config=command.config,
        context=command.context,
        created_at=meta.time,
    )
    return [ev.AssistantVersioned(assistant_id=state.assistant_id, content=content)]


def _time(command: cmd.CreateAssistant | cmd.PatchAssistant, meta: CommandMeta) -> str:
    """Return the creation time of a version: the source's if it is imported."""
    return (command.provenance and command.provenance.created_at) or meta.time


def fold_assistant(state: AssistantState, events: Sequence[ev.AnyEvent]) -> AssistantState:
    for event in events:
        state = assistant_aggregate.evolve(state, event)
    return state


def _rejected(assistant_id: str, status: int, detail: str) -> Events:
    return [ev.AssistantRejected(assistant_id=assistant_id, status=status, detail=detail)]
