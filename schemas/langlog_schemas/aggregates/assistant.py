"""The assistant aggregate: its versions and which of them is the latest. `evolve` is pure."""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec.structs import replace

from .. import events as ev
from ..events import AssistantVersion


class AssistantState(msgspec.Struct, frozen=True, kw_only=True):
    assistant_id: str
    current: AssistantVersion | None = None
    """The latest version, or None if the assistant does not exist."""
    versions: dict[int, AssistantVersion] = {}


def evolve(state: AssistantState, event: ev.AnyEvent) -> AssistantState:
    """Return the state after an event. Other events leave it unchanged."""
    match event:
        case ev.AssistantCreated():
            if event.existed:
                return state
            return AssistantState(
                assistant_id=state.assistant_id, current=event.content, versions={event.content.version: event.content}
            )
        case ev.AssistantVersioned():
            versions = {**state.versions, event.content.version: event.content}
            return replace(state, current=event.content, versions=versions)
        case ev.AssistantLatestSet():
            return replace(state, current=event.content)
        case ev.AssistantDeleted():
            return AssistantState(assistant_id=state.assistant_id)
        case (
            ev.AssistantRejected()
            | ev.CommandRejected()
            | ev.CommandRepeated()
            | ev.ThreadEvent()
            | ev.CronEvent()
            | ev.StoreEvent()
            | ev.GraphRegistered()
            | ev.ParkedReleased()
            | ev.ParkedEventsReleased()
        ):
            return state
        case _:
            assert_never(event)
