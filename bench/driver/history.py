"""A generated log: finished runs, as gateway, decider and worker would have written them.

Commands are appended first, so that events have true causes; a langlog that is started on the log folds it and continues it.
Checkpoints and frames are left out: these are lifecycle events.
"""

from __future__ import annotations

import msgspec
from langlog_backbone.log import Log, NewRecord, started_log
from langlog_backbone.log.records import command_record, event_record
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id, now_iso
from langlog_executor.decider.decisions.thread_events import fold_thread
from langlog_executor.decider.decisions.threads import decide_thread
from langlog_executor.decider.effects import Decided, event_records
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import CommandMeta
from msgspec import Raw

SOURCE = "/bench"
RUNS_PER_THREAD = 4
"""Default number of runs per thread."""
EVENTS_PER_RUN = 4
"""Events per run: created, dispatched, started, succeeded."""
THREADS_AT_ONCE = 2_000

KWARGS = Raw(
    msgspec.json.encode(
        {
            "input": {"text": "hello"},
            "command": None,
            "config": {"configurable": {"langgraph_auth_user": None, "langgraph_auth_user_id": "", "graph_id": "echo"}},
            "context": {},
            "stream_mode": ["values"],
            "interrupt_before": None,
            "interrupt_after": None,
            "webhook": None,
            "feedback_keys": None,
            "temporary": False,
            "subgraphs": False,
            "resumable": False,
            "checkpoint_during": True,
            "durability": "async",
        }
    )
)
VALUES = Raw(b'{"text":"HELLO"}')


async def fill(settings: Settings, events: int, runs_per_thread: int = RUNS_PER_THREAD) -> int:
    """Append this many lifecycle events (or a few more) to the log, with their commands; return their number."""
    async with started_log(settings) as log:
        written = 0
        while written < events:
            threads = min(THREADS_AT_ONCE, -(-(events - written) // (runs_per_thread * EVENTS_PER_RUN)))
            written += await _lives(log, [ThreadState(thread_id=new_id()) for _ in range(threads)], runs_per_thread)
        return written


async def _lives(log: Log, states: list[ThreadState], runs_per_thread: int) -> int:
    written = 0
    for _ in range(runs_per_thread):
        runs = [new_id() for _ in states]
        for finishing in (False, True):
            commands: list[cmd.Command] = [
                _finished(state, run) if finishing else _created(state, run)
                for state, run in zip(states, runs, strict=True)
            ]
            written += await _decided(log, states, commands, finishing=finishing)
    return written


async def _decided(log: Log, states: list[ThreadState], commands: list[cmd.Command], *, finishing: bool) -> int:
    time = now_iso()
    requested = [command_record(command, id=new_id(), source=SOURCE, time=time) for command in commands]
    positions = await log.append(requested)
    follow_ups: list[NewRecord] = []
    for n, (command, record, position) in enumerate(zip(commands, requested, positions, strict=True)):
        meta = CommandMeta(record.headers["ce_id"], time, position.partition, position.offset)
        events = decide_thread(states[n], command, meta)
        states[n] = fold_thread(states[n], events, time)
        if finishing:
            assert isinstance(command, cmd.FinishRun)
            follow_ups.append(_started(command, time))
        follow_ups += event_records(Decided(meta, events, None, None))
    await log.append(follow_ups)
    return len(follow_ups)


def _created(state: ThreadState, run_id: str) -> cmd.CreateRun:
    return cmd.CreateRun(
        thread_id=state.thread_id,
        run_id=run_id,
        assistant_id="echo",
        graph_id="echo",
        kwargs=KWARGS,
        metadata={"created_by": "bench"},
        if_not_exists="create",
    )


def _finished(state: ThreadState, run_id: str) -> cmd.FinishRun:
    return cmd.FinishRun(
        thread_id=state.thread_id, run_id=run_id, attempt=1, outcome="success", values=VALUES, last_frame_ms=1
    )


def _started(command: cmd.FinishRun, time: str) -> NewRecord:
    event = ev.RunStarted(thread_id=command.thread_id, run_id=command.run_id, attempt=command.attempt, worker="bench")
    return event_record(event, id=new_id(), source=SOURCE, time=time)
