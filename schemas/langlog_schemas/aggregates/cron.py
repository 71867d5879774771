"""The cron aggregate: what it asks for and when it is due next. `evolve` is pure."""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec.structs import replace

from .. import events as ev
from ..events import CronContent


class CronState(msgspec.Struct, frozen=True, kw_only=True):
    cron_id: str
    content: CronContent | None = None
    """None: there is no such cron."""


def evolve(state: CronState, event: ev.AnyEvent) -> CronState:
    """The state after an event. Events that don't concern it leave it as it is."""
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
