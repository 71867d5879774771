"""Records of an attempt that no decider has dispatched."""

from __future__ import annotations

from langlog_executor.runtime.records import RunRecords
from langlog_schemas import events
from msgspec.structs import replace
from typing_extensions import override


class UnfencedRecords(RunRecords):
    """Its checkpoints and writes name no run: the projection would drop those of a run that was never dispatched."""

    @override
    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.CheckpointWritten | events.CheckpointWrites):
            event = replace(event, run_id=None, attempt=0)
        super().emit(event)
