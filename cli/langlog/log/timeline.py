"""A run's events as a timeline for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langlog_backbone.history.thread_history import RecordedEvent
    from langlog_backbone.log import Record

SHOWN_CHANNELS = 6
"""Maximum number of named channels of a checkpoint; the others are counted."""
TEXT_WIDTH = 120
AXIS_WIDTH = 20
"""Width of the time axis beside the lines, on a terminal."""
GAP_S, GAP_SHARE = 0.1, 0.1
"""Minimum length of a marked gap, in seconds and as a share of the whole; both must be exceeded."""
INTERRUPT, RESUME, ERROR = "__interrupt__", "__resume__", "__error__"
NULL_TASK = "00000000-0000-0000-0000-000000000000"
"""LangGraph's id for writes that no node made."""
BOOKKEEPING = ("__pregel_tasks", "branch:to:", "__start__")
"""Internal channels, which are not shown."""


def timeline(entries: Sequence[RecordedEvent]) -> Iterator[str]:
    """Yield one line per event: seconds since the first, time of day, description."""
    first: datetime | None = None
    for recorded in entries:
        time = datetime.fromisoformat(recorded.record.headers["ce_time"])
        first = first or time
        what, rest = describe(recorded)
        line = f"+{(time - first).total_seconds():>9.3f} s  {time.strftime('%H:%M:%S.%f')[:-3]}  {what:<13} {rest}"
        yield line.rstrip()


def bars(entries: Sequence[RecordedEvent], width: int = AXIS_WIDTH) -> list[str]:
    """Return for each event the time between it and the one before, on one axis of ``width`` characters from the first to the last."""
    seconds = _seconds(entries)
    total = max(seconds, default=0.0) or 1e-9
    columns = [min(width - 1, max(0, int(second / total * (width - 1)))) for second in seconds]
    lines = []
    for before, column in zip([0, *columns], columns, strict=False):
        start, length = min(before, column), max(1, abs(column - before))
        lines.append(f"{' ' * start}{'━' * length}"[:width].ljust(width))
    return lines


def gaps(entries: Sequence[RecordedEvent]) -> dict[int, str]:
    """Return index of an event → label of the gap before it: more than `GAP_S`, and `GAP_SHARE` of the whole."""
    seconds = _seconds(entries)
    total = max(seconds, default=0.0)
    named = {}
    for index in range(1, len(entries)):
        took = seconds[index] - seconds[index - 1]
        if took > max(GAP_S, GAP_SHARE * total):
            named[index] = f"{_duration(took)}: {_waited(describe(entries[index - 1])[0], *describe(entries[index]))}"
    return named


def _waited(before: str, what: str, rest: str) -> str:
    match before, what:
        case "queued", _:
            return "waited for its turn on the thread"
        case "dispatched", _:
            return "waited for a worker"
        case _, "webhook":
            return "waited for the webhook"
        case _, "webhook due":
            return "given up, until an operator sent it again"
        case _, "node done":
            return f"ran {rest.partition(':')[0]}"
        case _, "node failed" | "interrupt":
            return f"ran {rest}"
        case _:
            return "the graph ran"


def _seconds(entries: Sequence[RecordedEvent]) -> list[float]:
    """Return seconds since the first event; clocks of several processes may go back a little."""
    times = [datetime.fromisoformat(recorded.record.headers["ce_time"]) for recorded in entries]
    return [(time - times[0]).total_seconds() for time in times]


def _duration(seconds: float) -> str:
    return (
        f"{seconds * 1000:.0f} ms"
        if seconds < 1
        else f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
    )


def style_of(recorded: RecordedEvent) -> dict[str, Any]:
    """Return the style of a line on a terminal: for ends by outcome, interrupts, and repetitions."""
    from langlog_schemas import events as ev

    what, _ = describe(recorded)
    match recorded.event:
        case ev.RunSucceeded():
            return {"fg": "green"}
        case ev.RunFailed() | ev.RunTimedOut():
            return {"fg": "red"}
        case ev.RunEnded() | ev.RunCancelRequested():
            return {"fg": "yellow"}
        case ev.CheckpointWritten() | ev.CheckpointPart() | ev.RunFrames():
            return {"dim": True}
        case _:
            return (
                {"fg": {"interrupt": "yellow", "node failed": "red"}[what]}
                if what in ("interrupt", "node failed")
                else {}
            )


def title(entries: Sequence[RecordedEvent], run_id: str, thread_id: str) -> str:
    """Return the title: run, thread, graph and assistant."""
    from langlog_schemas import events as ev

    created = next((t.event for t in entries if isinstance(t.event, ev.RunCreated)), None)
    at = entries[0].record.headers["ce_time"]
    graph = "" if created is None else f", graph {created.graph_id}, assistant {created.assistant_id}"
    return f"run {run_id} on thread {thread_id}{graph}, {at}"


def describe(recorded: RecordedEvent) -> tuple[str, str]:  # noqa: C901 - one case an event
    """Return a label of the event, and its details."""
    from langlog_schemas import checkpoints as cp
    from langlog_schemas import events as ev

    event, record = recorded.event, recorded.record
    match event:
        case None:
            return "?", f"{record.headers.get('ce_type', '')}: sealed, or of a newer langlog"
        case ev.RunCreated():
            return "queued", _joined(_by(record), _created(event))
        case ev.RunDispatched():
            crashes = f"; its worker was lost {event.crashes} times" if event.crashes else ""
            return "dispatched", f"attempt {event.attempt} ({event.reason.replace('_', ' ')}){crashes}"
        case ev.RunStarted():
            return "started", f"attempt {event.attempt} on worker {event.worker}"
        case ev.CheckpointWritten():
            return "checkpoint", _checkpoint(cp.decode_checkpoint(event.body))
        case ev.CheckpointWrites():
            return _writes(cp.decode_writes(event.body))
        case ev.CheckpointPart():
            return "part", f"{event.index + 1} of {event.count} of a body over the record limit, {len(event.body):,} B"
        case ev.RunFrames():
            return "frames", _frames(event)
        case ev.RunCancelRequested():
            by = f" by run {event.superseded_by}" if event.superseded_by else ""
            alone = "no worker has it" if event.orphaned else ""
            return "stop requested", _joined(_by(record), f"{event.action}{by}", alone)
        case ev.RunEnded():
            return event.TYPE.split(".")[1].replace("_", " "), _joined(_by(record), _ended(event))
        case ev.RunDeleted():
            return "removed", _by(record)
        case ev.WebhookAttempted():
            return "webhook", _webhook(event)
        case ev.WebhookDueAgain():
            return "webhook due", _joined(_by(record), f"again, given up after {event.attempts} attempts")
        case _:
            return event.TYPE.rpartition(".v")[0], _by(record)


def _created(event: Any) -> str:
    import msgspec

    kwargs = msgspec.json.decode(event.kwargs)
    source = "resume" if kwargs.get("command") else "input"
    text = msgspec.json.encode(kwargs.get("command") or kwargs.get("input")).decode()
    delay = f"not before {event.not_before}" if event.not_before else ""
    strategy = "" if event.multitask_strategy == "enqueue" else event.multitask_strategy
    return _joined(strategy, delay, f"{source} {_cut(text)}")


def _checkpoint(body: Any) -> str:
    import msgspec

    metadata = msgspec.json.decode(body.metadata or b"{}")
    namespace = f" in {body.namespace}" if body.namespace else ""
    changed = [b for b in body.blobs if not b.channel.startswith(BOOKKEEPING)]
    named = ", ".join(f"{b.channel} ({len(b.data):,} B)" for b in changed[:SHOWN_CHANNELS])
    more = f" and {len(changed) - SHOWN_CHANNELS} more" if len(changed) > SHOWN_CHANNELS else ""
    what = f"changed {named}{more}" if changed else "nothing changed"
    return f"{body.checkpoint_id} step {metadata.get('step')} ({metadata.get('source')}){namespace}: {what}"


def _writes(body: Any) -> tuple[str, str]:
    from langlog_backbone.history.event_view import node_of

    # writes of the empty task are the command's: an answer to an interrupt, or values for the state
    outside = body.task_id == NULL_TASK
    node = "the run" if outside else node_of(body.task_path) or f"task {body.task_id}"
    channels = [w.channel for w in body.writes]
    for channel, what in ((INTERRUPT, "interrupt"), (ERROR, "node failed"), (RESUME, "resumed")):
        if channel in channels:
            return what, node
    shown = [f"{w.channel} ({len(w.data):,} B)" for w in body.writes if not w.channel.startswith(BOOKKEEPING)]
    what = ", ".join(shown) if shown else "nothing written"
    return ("command", what) if outside else ("node done", f"{node}: {what}")


def _frames(event: Any) -> str:
    from collections import Counter

    from langlog_schemas import frames

    batch = frames.decode(event.frames)
    kinds = ", ".join(f"{name} {n}" for name, n in Counter(f.event for f in batch.frames).items())
    return f"{len(batch.frames)} recorded ({kinds}), {len(event.frames):,} B"


def _ended(event: Any) -> str:
    from langlog_backbone.process.activity import shown_in_line

    error = f"{event.error.error}: {shown_in_line(event.error.message, TEXT_WIDTH)}" if event.error is not None else ""
    frames = f"{event.frame_count} frames" if event.frame_count else ""
    by = f"superseded by run {event.superseded_by}" if event.superseded_by else ""
    hook = "a webhook is due" if event.webhook else ""
    attempt = f"attempt {event.attempt}" if event.attempt else ""
    return _joined(attempt, error, by, f"thread {event.status}", frames, hook)


def _webhook(event: Any) -> str:
    how = f"delivered ({event.status_code})" if event.delivered else f"failed ({event.status_code or event.error})"
    again = f", again at {event.next_attempt_at}" if event.next_attempt_at else ""
    return f"try {event.attempt} {how} in {event.duration_ms} ms{again}"


def _by(record: Record) -> str:
    actor = record.headers.get("ce_actor")
    return f"by {actor}" if actor else ""


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_WIDTH else f"{text[: TEXT_WIDTH - 1]}…"
