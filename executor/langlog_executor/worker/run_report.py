"""The report of an attempt's end, as the command that a worker appends.

It and the event that follows from it are one record each: a state that is too large is split off or becomes an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from langlog_backbone.log import PART_BYTES, NewRecord
from langlog_backbone.log.records import encoded_command_record
from langlog_backbone.values.lone_surrogates import encodable
from langlog_schemas import commands
from langlog_schemas.commands import ABSENT, FinishRun, RequeueRun, RunError
from langlog_schemas.runs.results import RunResult
from msgspec import Raw

from ..values.error_text import class_name
from .graph_attempt import Ended

if TYPE_CHECKING:
    from langlog_schemas.messages import Task

    from ..frames.publisher import FramesOut
    from ..runtime.io_loop import IoLoop
    from ..runtime.records import RunRecords

SOURCE = "/langlog/worker"
ENVELOPE_BYTES = 8_192
"""Bytes of a record for the report's members besides values, output and interrupts."""


class RunReport:
    """``frames``: None if the attempt ended before it could publish any; ``started_at``: time of the attempt's start."""

    def __init__(self, io: IoLoop, task: Task, records: RunRecords, frames: FramesOut | None, started_at: str) -> None:
        self._io, self._task, self._records, self._frames, self._started_at = io, task, records, frames, started_at

    def fitting(self, ended: Ended) -> Ended:
        """Replace the end by an error if its state exceeds the limit of responses, or its interrupts do not fit into a record."""
        backbone = self._io.backbone
        size, interrupts_bytes = len(ended.values or b"") + len(ended.output or b""), len(ended.interrupts)
        limit, interrupts_limit = backbone.settings.max_answer_bytes, backbone.log.max_record_bytes - ENVELOPE_BYTES
        if size <= limit and interrupts_bytes <= interrupts_limit:
            return ended
        if size > limit:
            what, setting = f"The state of the run is {size} bytes as JSON, over the limit of {limit}", "MAX_ANSWER"
        else:
            what = (
                f"The interrupts of the run are {interrupts_bytes} bytes as JSON, over the limit of {interrupts_limit}"
            )
            setting = "MAX_RECORD"
        error = RunError(
            error="StateTooLarge",
            message=f"{what}. The checkpoints are kept; LANGLOG_{setting}_BYTES raises the limit.",
        )
        if self._frames is not None:
            self._frames.emit("error", msgspec.json.encode(error))
        return Ended(outcome="error", error=error, next=ended.next)

    def record(self, ended: Ended) -> NewRecord:
        """Return the record of the report. Raises the encoder's errors, and those of the decider's decoder."""
        command = self._command(ended)
        task = self._task
        value = commands.encode(command)
        commands.decode(command.TYPE, value)
        suffix = "finish" if isinstance(command, FinishRun) else "lost" if command.crash else "drained"
        return encoded_command_record(
            command.TYPE,
            command.key,
            value,
            id=f"{task.run_id}-{task.attempt}-{suffix}",
            source=SOURCE,
            traceparent=self._records.traceparent,
        )

    def _command(self, ended: Ended) -> FinishRun | RequeueRun:
        task = self._task
        if ended.stopped == "drain":
            return RequeueRun(thread_id=task.thread_id, run_id=task.run_id, attempt=task.attempt, reason="drained")
        if ended.stopped == "lost":  # as the scheduler reports it for a lost worker
            return RequeueRun(
                thread_id=task.thread_id,
                run_id=task.run_id,
                attempt=task.attempt,
                reason="lease_lost",
                crash=True,
                max_attempts=self._io.backbone.settings.max_attempts,
            )
        return self._split(self._finish(ended))

    def _finish(self, ended: Ended) -> FinishRun:
        task, frames = self._task, self._frames
        return FinishRun(
            thread_id=task.thread_id,
            run_id=task.run_id,
            attempt=task.attempt,
            outcome=ended.outcome,
            values=_raw(ended.values),
            output=_raw(ended.output),
            next=[encodable(name) for name in ended.next],
            interrupts=Raw(ended.interrupts),
            state_known=ended.state_known,
            error=ended.error,
            started_at=self._started_at,
            frame_count=frames.frame_count if frames is not None else 0,
            last_frame_ms=frames.last_ms if frames is not None else 0,
            last_event_number=frames.last_event_number if frames is not None else 0,
        )

    def _split(self, report: FinishRun) -> FinishRun:
        """Split a report: it and its event are one record each, so a result that does not fit is appended in earlier records."""
        size = len(bytes(report.values)) + len(bytes(report.output)) + len(bytes(report.interrupts))
        if size <= min(self._io.backbone.log.max_record_bytes, PART_BYTES) - ENVELOPE_BYTES:
            return report
        result = RunResult(bytes(report.values), bytes(report.output))
        blob_id = self._records.emit_result(report.run_id, report.attempt, result)
        return msgspec.structs.replace(report, values=ABSENT, output=ABSENT, result=blob_id)


def unreported(error: Exception) -> Ended:
    """Return the end of an attempt whose own end cannot be reported. It contains nothing from the graph."""
    message = (
        f"The end of the run could not be stored: {class_name(error)}. The state is that of the last checkpoint stored."
    )
    return Ended(outcome="error", error=RunError(error="ReportError", message=message), state_known=False)


def _raw(data: bytes | None) -> Raw:
    return ABSENT if data is None else Raw(data)
