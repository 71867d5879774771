"""Strategies that draw journals: commands of every family and workers' records, right and stale, incomplete, repeated, or about things
that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

from hypothesis import strategies as st
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from msgspec import Raw
from msgspec.structs import replace

from .histories import RUNS, THREADS, at
from .journal import Journal, Repeatable, Reported, Said

NAMESPACES = (["n"], ["n", "m"])
ASSISTANTS = ("a1", "a1", "b1")
TTLS = (None, cmd.Ttl(0.05), cmd.Ttl(0.05, "keep_latest"))


def _checkpoint(n: int, run_id: str | None = None, blob: int = 0) -> cp.CheckpointBody:
    return cp.CheckpointBody(
        namespace="" if n % 3 else "sub",
        checkpoint_id=f"k{n}",
        parent_id=f"k{n - 1}" if n else None,
        type="msgpack",
        data=f"{run_id}{blob}".encode(),
        metadata=b'{"counters_since_delta_snapshot":{}}' if n % 4 == 3 else b'{"step":%d}' % n,
        versions={"x": f"v{blob}"},
        blobs=[cp.ChannelBlob("x", f"v{blob}", "msgpack", f"{run_id}".encode())] if blob != 2 else [],
        run_id=run_id,
    )


def _writes(n: int, index: int, text: str) -> cp.WritesBody:
    return cp.WritesBody("" if n % 3 else "sub", f"k{n}", "task", "", [cp.Write(index, "x", "msgpack", text.encode())])


def _record(kind: str, n: int, m: int, thread_id: str, run_id: str, attempt: int) -> ev.AnyEvent:
    of = {"thread_id": thread_id, "run_id": run_id, "attempt": attempt}
    match kind:
        case "started":
            return ev.RunStarted(**of, worker="w")
        case "frames":
            return ev.RunFrames(**of, first_sequence=n, frames=b"f")
        case "checkpoint":
            return ev.CheckpointWritten(**of, body=cp.encode(_checkpoint(n, run_id, m)))
        case "steps":
            steps = [
                ev.Step(True, 0, cp.encode(_writes(n, m - 1, run_id))),
                ev.Step(False, m, cp.encode(_checkpoint(n + 1, run_id, m))),
            ]
            return ev.CheckpointSteps(**of, steps=steps)
        case "writes":
            return ev.CheckpointWrites(**of, body=cp.encode(_writes(n, m - 1, run_id)))
        case _:
            body = cp.encode(_checkpoint(n, run_id, m // 2))
            half = len(body) // 2
            return ev.CheckpointPart(
                **of,
                blob_id=f"{run_id}-{attempt}-{n}{m // 2}",
                index=m % 2,
                count=2,
                whole="checkpoint.written.v1",
                body=body[half:] if m % 2 else body[:half],
            )


SHORT_RUNS = RUNS[:4]
SOMETIMES = (False, False, False, True)


def all_of(build: Callable[..., Any], *choices: Iterable[Any]) -> list[Any]:
    """Return one value of each combination."""
    return [build(*chosen) for chosen in product(*choices)]


def _create(thread: str, run: str, strategy: Any, make: bool, temporary: bool, delayed: bool, hooked: bool) -> Any:
    return cmd.CreateRun(
        thread_id=thread,
        run_id=f"{thread}-{run}",
        assistant_id="a",
        graph_id="g",
        kwargs=Raw(b'{"input":{},"webhook":"http://x/"}' if hooked else b'{"input":{}}'),
        metadata={"by": run},
        multitask_strategy=strategy,
        if_not_exists="create" if make else "reject",
        temporary=temporary,
        not_before=at(50) if delayed else None,
    )


def _answer(thread: str, run: str, asked: str) -> Any:
    return cmd.CreateRun(
        thread_id=thread,
        run_id=f"{thread}-{run}",
        assistant_id="a",
        graph_id="g",
        kwargs=Raw(b'{"command":{"resume":{"%b":1}}}' % asked.encode()),
        answers=[asked],
    )


def _strict(thread: str, run: str, strategy: Any, temporary: bool, resume: str) -> Any:
    return cmd.CreateRun(
        thread_id=thread,
        run_id=f"{thread}-{run}",
        assistant_id="a",
        graph_id="g",
        kwargs=Raw(f'{{"command":{{"resume":{resume}}},"strict_resume":true,"webhook":"http://x/"}}'.encode()),
        multitask_strategy=strategy,
        if_not_exists="create",
        temporary=temporary,
    )


def _tried(thread: str, run: str, n: int) -> Any:
    return cmd.RecordWebhookAttempt(
        thread_id=thread,
        run_id=f"{thread}-{run}",
        attempt=n,
        attempted_at=at(n) if n < 3 else "2026-01-09T00:00:00.000000+00:00",
        delivered=n == 2,
        next_attempt_at=at(n + 1) if n == 1 else None,
    )


def _given_up(thread: str, run: str, n: int) -> Any:
    return cmd.RecordWebhookAttempt(thread_id=thread, run_id=f"{thread}-{run}", attempt=n, attempted_at=at(n))


def _again(thread: str, run: str, n: int) -> Any:
    return cmd.SendWebhookAgain(thread_id=thread, run_id=f"{thread}-{run}", attempts=n)


def _finish(outcome: Any, thread: str, run: str, attempt: int) -> Any:
    return cmd.FinishRun(
        thread_id=thread,
        run_id=run,
        attempt=attempt,
        outcome=outcome,
        values=Raw(b'{"by":"run"}'),
        interrupts=Raw(
            b'{"t2":[{"id":"i2"}],"t1":[{"id":"i1","value":{"a":1}}]}' if outcome == "interrupted" else b"{}"
        ),
        last_frame_ms=attempt,
    )


def _finish_large(outcome: Any, thread: str, run: str, attempt: int) -> Any:
    report = _finish(outcome, thread, run, attempt)
    return replace(report, values=cmd.ABSENT, result=f"{run}-{attempt}-result")


def _said(thread: str, run: str, attempt: int, rightly: bool, kind: str, n: int, m: int) -> Said:
    return Said(thread, f"{thread}-{run}", attempt, rightly, partial(_record, kind, n, m))


creations = all_of(
    _create,
    THREADS,
    SHORT_RUNS,
    ("enqueue", "interrupt", "rollback", "reject"),
    (True, False),
    SOMETIMES,
    SOMETIMES,
    (True, False),
)
answers = all_of(_answer, THREADS, SHORT_RUNS, ("i1", "i2", "i2", "i3"))
strict = all_of(
    _strict,
    THREADS,
    SHORT_RUNS,
    ("enqueue", "interrupt"),
    SOMETIMES,
    ('"yes"', "{}", '{"0123456789abcdef0123456789abcdef":1}'),
)
of_threads = [
    *all_of(lambda t, k, ttl: cmd.CreateThread(thread_id=t, metadata={k: 1}, ttl=ttl), THREADS, "ab", TTLS),
    *all_of(lambda t, k: cmd.PatchThread(thread_id=t, metadata={k: 2}), THREADS, "ab"),
    *all_of(lambda t: cmd.DeleteThread(thread_id=t), THREADS),
    *all_of(lambda t: cmd.ExpireThread(thread_id=t), THREADS),
]
of_runs = [
    *all_of(lambda t, r: cmd.DeleteRun(thread_id=t, run_id=f"{t}-{r}"), THREADS, SHORT_RUNS),
    *all_of(lambda t, r: cmd.StartDueRun(thread_id=t, run_id=f"{t}-{r}"), THREADS, SHORT_RUNS),
    *all_of(
        lambda t, r, n: cmd.RequeueRun(thread_id=t, run_id=f"{t}-{r}", attempt=n, reason="lease_lost", crash=True),
        THREADS,
        SHORT_RUNS,
        (1, 2),
    ),
    *all_of(
        lambda t, r, of: cmd.CancelRuns(thread_id=t, run_ids=[f"{t}-{r}"], action=of[0], reason=of[1]),
        THREADS,
        SHORT_RUNS,
        (("interrupt", "taken: m"), ("rollback", None)),
    ),
]
tries = all_of(_tried, THREADS, SHORT_RUNS, (1, 2, 3))
given_up = [*all_of(_given_up, THREADS, SHORT_RUNS, (1, 1, 2)), *all_of(_again, THREADS, SHORT_RUNS, (1, 1, 2))]
reports = all_of(
    Reported,
    THREADS,
    (
        *(partial(_finish, outcome) for outcome in ("success", "success", "error", "interrupted", "rolled_back")),
        *(partial(_finish_large, outcome) for outcome in ("success", "interrupted", "rolled_back")),
        lambda t, r, n: cmd.RequeueRun(thread_id=t, run_id=r, attempt=n, reason="drained"),
        lambda t, r, n: cmd.CancelRuns(thread_id=t, run_ids=[r], action="interrupt"),
        lambda t, r, n: cmd.CancelRuns(thread_id=t, run_ids=[r], action="rollback"),
        lambda t, r, n: cmd.TimeOutRun(thread_id=t, run_id=r, attempt=n),
    ),
)
worker_records = all_of(
    _said,
    THREADS,
    SHORT_RUNS[:2],
    (1, 2),
    (True, True, True, False),
    ("started", "frames", "checkpoint", "checkpoint", "steps", "writes", "part", "part"),
    range(5),
    range(4),
)
of_checkpoints = [
    *all_of(lambda t, r: cmd.DeleteCheckpoints(thread_id=t, run_ids=[f"{t}-{r}"]), THREADS, SHORT_RUNS[:3]),
    *all_of(lambda t, keep: cmd.DeleteCheckpoints(thread_id=t, keep_latest=keep), THREADS, (True, True, False)),
    *all_of(
        lambda t, n, m, only: cmd.UpdateState(
            thread_id=t,
            checkpoints=[cp.encode(cp.Bundle(_checkpoint(n, None, m), [_writes(n, m - 1, "by hand")]))],
            values=Raw(b'{"by":"hand"}'),
            checkpoints_only=only,
        ),
        THREADS,
        range(3),
        range(3),
        (True, False),
    ),
]
of_assistants = [
    *all_of(
        lambda id, n: cmd.CreateAssistant(assistant_id=id, graph_id="g", name=f"n{n}", if_exists="do_nothing"),
        ASSISTANTS,
        (1, 2),
    ),
    *all_of(lambda id, n: cmd.PatchAssistant(assistant_id=id, metadata={"n": n}), ASSISTANTS, range(4)),
    *all_of(lambda id, n: cmd.SetLatestAssistant(assistant_id=id, version=n), ASSISTANTS, (1, 2, 3)),
    *all_of(lambda id: cmd.DeleteAssistant(assistant_id=id), ASSISTANTS),
]
of_crons = [
    *all_of(
        lambda id: cmd.CreateCron(cron_id=id, assistant_id="a1", schedule="* * * * *", payload={}, timezone="UTC"), "xy"
    ),
    *all_of(lambda id, n: cmd.PatchCron(cron_id=id, payload={"n": n}), "xy", range(3)),
    *all_of(
        lambda id, n: cmd.AdvanceCron(cron_id=id, due="2026-01-01T00:01:00.000000+00:00", next_run_date=at(60 * n)),
        "xy",
        (1, 2, 3),
    ),
    *all_of(lambda id: cmd.DeleteCron(cron_id=id), "xy"),
]
of_store = [
    *all_of(
        lambda ns, key, n, ttl: cmd.WriteStore(
            namespace=ns, ops=[cmd.StoreOp(key=key, value=Raw(b'{"n":%d}' % n), ttl=ttl)]
        ),
        NAMESPACES,
        "xxy",
        (1, 2),
        (None, 0.05, 0.5),
    ),
    *all_of(lambda ns, key: cmd.WriteStore(namespace=ns, ops=[cmd.StoreOp(key=key)]), NAMESPACES, "xy"),
    *all_of(
        lambda ns, key, n: cmd.WriteStore(namespace=ns, ops=[cmd.StoreOp(key=key, expired_by=at(n))]),
        NAMESPACES,
        "xy",
        (5, 30, 59),
    ),
    *all_of(lambda ns, key, n: cmd.RefreshStore(namespace=ns, keys=[key], read_at=at(n)), NAMESPACES, "xy", (3, 20)),
]

FAMILIES: list[list[Any]] = [
    creations,
    creations,
    answers,
    strict,
    reports,
    reports,
    worker_records,
    worker_records,
    worker_records,
    of_runs,
    of_threads,
    of_checkpoints,
    tries,
    given_up,
    of_assistants,
    of_crons,
    of_store,
    [Repeatable(command) for command in creations],
]


def _made_first(history: list[Any]) -> list[Any]:
    """Something to talk about: every thread has a run in flight before the rest happens."""
    first: list[Any] = [
        cmd.CreateAssistant(assistant_id="a1", graph_id="g"),
        cmd.CreateCron(cron_id="x", assistant_id="a1", schedule="* * * * *", payload={}),
    ]
    first.append(cmd.CreateThread(thread_id=THREADS[0], metadata={"made": True}))
    for thread in THREADS:
        first.append(
            cmd.CreateRun(
                thread_id=thread,
                run_id=f"{thread}-{RUNS[0]}",
                assistant_id="a",
                graph_id="g",
                kwargs=Raw(b"{}"),
                if_not_exists="create",
                multitask_strategy="enqueue",
            )
        )
    return first + history


# two small decisions an entry: drawn field by field, long histories would be too large for hypothesis
journals = (
    st.lists(st.sampled_from(FAMILIES).flatmap(st.sampled_from), min_size=10, max_size=60)
    .map(_made_first)
    .map(lambda history: Journal().play(history))
)
