"""Random histories of commands to a few threads, decided as a decider would: the material of the property tests.

A history is a list of decided commands. Commands that a worker or the scheduler sends (finish reports, requeues) are drawn so
that they are sometimes right and sometimes stale.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st
from langlog_executor.decider.decisions.thread_events import fold_thread
from langlog_executor.decider.decisions.threads import decide_thread
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import Cause, CommandMeta
from msgspec import Raw

THREADS = ("t0", "t1", "t2")
RUNS = tuple(f"r{n}" for n in range(8))
BASE_TIME = "2026-01-01T00:{:02d}:{:02d}.000000+00:00"


def at(offset: int) -> str:
    return BASE_TIME.format(offset // 60 % 60, offset % 60)


class Decided(NamedTuple):
    command: Any
    meta: CommandMeta
    before: ThreadState
    events: list[ev.AnyEvent]
    after: ThreadState


def decide_all(history: list[Any]) -> list[Decided]:
    """Decide commands in order, each thread by its own state, all in one partition."""
    states = {t: ThreadState(thread_id=t) for t in THREADS}
    decided = []
    made: set[str] = set()
    for offset, command in enumerate(history):
        if isinstance(command, cmd.CreateRun):
            if command.run_id in made and command.run_id not in states[command.thread_id].runs:
                continue  # the id of a run that is over never comes again
            made.add(command.run_id)
        meta = CommandMeta(id=f"c{offset}", time=at(offset), partition=0, offset=offset)
        before = states[command.thread_id]
        events = decide_thread(before, command, meta)
        after = states[command.thread_id] = fold_thread(before, events, meta.time)
        decided.append(Decided(command, meta, before, events, after))
    return decided


def causes(decided: Decided) -> list[Cause]:
    count = len(decided.events)
    return [Cause(0, decided.meta.offset, index, count) for index in range(count)]


REFUSED = b'{"command":{"resume":{}},"strict_resume":true}'
"""Kwargs of a run that fails as soon as its turn comes."""

threads = st.sampled_from(THREADS)
attempts = st.integers(1, 3)

create_run = st.builds(
    lambda thread, run, strategy, exists, temporary, delay, kwargs: cmd.CreateRun(
        thread_id=thread,
        run_id=f"{thread}-{run}",
        assistant_id="a",
        graph_id="g",
        kwargs=Raw(kwargs),
        metadata={"by": run},
        multitask_strategy=strategy,
        if_not_exists=exists,
        temporary=temporary,
        not_before=at(50) if delay else None,
    ),
    threads,
    st.sampled_from(RUNS),
    st.sampled_from(["enqueue", "interrupt", "rollback", "reject"]),
    st.sampled_from(["create", "reject"]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, True]),
    st.sampled_from([b'{"input":{},"webhook":"http://x/"}', b'{"input":{}}', REFUSED]),
)


def of_run(build: Any) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda thread, run, n: build(thread, f"{thread}-{run}", n), threads, st.sampled_from(RUNS), attempts
    )


finish_run = st.builds(
    lambda thread, run, n, outcome, waits: cmd.FinishRun(
        thread_id=thread,
        run_id=f"{thread}-{run}",
        attempt=n,
        outcome=outcome,
        values=Raw(f'{{"by":"{run}"}}'.encode()),
        next=["node"] if waits else [],
    ),
    threads,
    st.sampled_from(RUNS),
    attempts,
    st.sampled_from(["success", "success", "error", "interrupted", "timeout", "rolled_back"]),
    st.booleans(),
)


def _tried(thread: str, run: str, n: int) -> cmd.RecordWebhookAttempt:
    return cmd.RecordWebhookAttempt(
        thread_id=thread,
        run_id=run,
        attempt=n,
        attempted_at=at(n),
        delivered=n == 2,
        next_attempt_at=at(n + 1) if n == 1 else None,
    )


commands = st.one_of(
    create_run,
    create_run,
    create_run,
    finish_run,
    finish_run,
    of_run(lambda t, r, n: cmd.RequeueRun(thread_id=t, run_id=r, attempt=n, reason="lease_lost", crash=True)),
    of_run(lambda t, r, n: cmd.CancelRuns(thread_id=t, run_ids=[r], action="interrupt" if n > 1 else "rollback")),
    of_run(lambda t, r, n: cmd.StartDueRun(thread_id=t, run_id=r)),
    of_run(lambda t, r, n: cmd.TimeOutRun(thread_id=t, run_id=r, attempt=n)),
    of_run(lambda t, r, n: cmd.DeleteRun(thread_id=t, run_id=r)),
    of_run(_tried),
    of_run(lambda t, r, n: cmd.RecordWebhookAttempt(thread_id=t, run_id=r, attempt=n, attempted_at=at(n))),
    of_run(lambda t, r, n: cmd.SendWebhookAgain(thread_id=t, run_id=r, attempts=n)),
    st.builds(
        lambda t, k, ttl: cmd.CreateThread(thread_id=t, metadata={k: 1}, ttl=ttl),
        threads,
        st.sampled_from("ab"),
        st.sampled_from([None, cmd.Ttl(0.05), cmd.Ttl(0.05, "keep_latest")]),
    ),
    st.builds(lambda t: cmd.ExpireThread(thread_id=t), threads),
    st.builds(lambda t, k: cmd.PatchThread(thread_id=t, metadata={k: 2}), threads, st.sampled_from("ab")),
    st.builds(lambda t: cmd.DeleteThread(thread_id=t), threads),
    st.builds(lambda t: cmd.UpdateState(thread_id=t, checkpoints=[], values=Raw(b'{"by":"update"}')), threads),
)


def created_once(history: list[Any]) -> list[Any]:
    """Run ids are minted: no two commands make a run of the same id."""
    seen: set[str] = set()
    kept = []
    for command in history:
        if isinstance(command, cmd.CreateRun):
            if command.run_id in seen:
                continue
            seen.add(command.run_id)
        kept.append(command)
    return kept


histories = st.lists(commands, max_size=60).map(created_once)
