"""The cron aggregate: its content and its next due time. `evolve` is pure."""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec.structs import replace

from .. import events as ev
from ..events import CronContent


class CronState(msgspec.Struct, frozen=True, kw_only=True):
    cron_id: str
    content: CronContent | None = None
    """Content of the cron, or None if it does not exist."""


def evolve(state: CronState, event: ev.AnyEvent) -> CronState:
    """Return the state after an event. Other events leave it unchanged."""
    match event:
        case ev.CronCreated() | ev.CronChanged():
            return CronState(cron_id=state.cron_id, content=event.content)
        case ev.CronAdvanced():
            return (
                state
                if state.content is None
                else replace(state, content=replace(state.content, next_run_date=event.next_run_date))
            )
        case ev.CronDeleted():
            return CronState(cron_id=state.cron_id)
        case (
            ev.CronRejected()
            | ev.CommandRejected()
            | ev.CommandRepeated()
            | ev.ThreadEvent()
            | ev.AssistantEvent()
            | ev.StoreEvent()
            | ev.GraphRegistered()
            | ev.ParkedReleased()
            | ev.ParkedEventsReleased()
        ):
            return state
        case _:
            assert_never(event)
