"""``langlog replay RUN_ID``: replays a past run in a sandbox, against today's code; or, with ``--dry``, folds its events
again and compares.

The graph runs in a process of its own (`langlog_executor.replay.run`). Nothing is appended to the log, and the read model is not
changed: ``--dry`` folds into a temporary schema. Exit code 0: the same, 1: different, 2: not possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options
from ..ids import as_uuid, other_kind

if TYPE_CHECKING:
    from langlog_backbone.history.thread_history import History
    from langlog_backbone.process.settings import Settings
    from langlog_executor.replay.request import Difference, Replayed, StepDiff


SAME, DIFFERENT, FAILED = 0, 1, 2
STORE_EVENTS = "store-events"


@click.command(short_help="Replay a past run in a sandbox and show where it diverges.")
@click.argument("run_id")
@click.option(
    "--checkpoint",
    cls=options.Renamed,
    former=["--from"],
    help="Start from this checkpoint of the run instead of its input.",
)
@click.option("--graph", help="Another graph: path.py:object or module:object.")
@click.option(
    "--dry", is_flag=True, help="Run nothing: fold the thread's events again and compare with the read model."
)
@click.option("--strict", is_flag=True, help="Compare generated ids of messages and interrupts too.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as one JSON object.")
@click.option("--timeout", "limit_s", type=float, default=300.0, show_default=True, help="Seconds for the graph.")
@options.thread_of_run
@options.config
@options.data_dir
def replay(
    run_id: str,
    checkpoint: str | None,
    graph: str | None,
    *,
    dry: bool,
    strict: bool,
    as_json: bool,
    limit_s: float,
    thread_id: str | None,
    project: Path | None,
    data_dir: Path | None,
) -> None:
    """Run a past run again in a sandbox and show, step by step as they are done, where it diverges.

    The thread is as it was when the run began, the store as of then. Nothing is appended and no write to the store is applied; but
    what the graph does to the world outside (models, tools), it does again.

    Exit code 0: the same; 1: different; 2: it could not be run.
    """
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    if dry and (checkpoint or graph or strict):
        raise click.UsageError("--dry runs nothing: --checkpoint, --graph and --strict have no meaning with it")
    run_id = as_uuid(run_id, "RUN_ID")
    thread_id = thread_id and as_uuid(thread_id, "--thread")
    settings = read_settings(data_dir=data_dir, project=project)
    configure_logging(settings)
    if dry:
        run(_dry(settings, run_id, thread_id, as_json=as_json))
    run(_replay(settings, run_id, thread_id, checkpoint, graph, strict=strict, as_json=as_json, limit_s=limit_s))


def _declined(history: History, run_id: str) -> bool:
    """Return whether required events of the run were cut from the log; reports it on stderr."""
    from langlog_schemas import events as ev

    if history.base is None:
        return history.cut > 0  # already reported
    if any(recorded.run_id == run_id and isinstance(recorded.event, ev.RunCreated) for recorded in history.entries):
        return False
    since = history.base.last_at().isoformat()
    click.echo(
        f"langlog: the beginning of run {run_id} was cut from the log, as all of its thread up to position {history.last_cut} ({since}): "
        "only later runs can be replayed",
        err=True,
    )
    return True


# --- running it again -------------------------------------------------------------------------


async def _replay(
    settings: Settings,
    run_id: str,
    thread_id: str | None,
    checkpoint: str | None,
    graph: str | None,
    *,
    strict: bool,
    as_json: bool,
    limit_s: float,
) -> int:
    import msgspec
    from langlog_backbone.postgres.database import connect_pool
    from langlog_executor.replay.preparation import request_for
    from langlog_executor.replay.process import run_in_sandbox

    from ..log.histories import history_reader
    from ..whereabouts import log_and_read_model

    async with log_and_read_model(settings) as (reached, log):
        pool = await connect_pool(reached, size=1)
        try:
            hints = await other_kind(pool, run_id, "run")
            history = None if hints else await history_reader(log, pool).of_runs_thread(run_id, thread_id)
        finally:
            await pool.close()
        if history is not None and _declined(history, run_id):
            return FAILED
        if any(await log.start_offsets(STORE_EVENTS)):
            click.echo("The log was cut: of the store, the run sees what was written since.", err=True)
        request = None if history is None else request_for(history, run_id, str(settings.project.absolute()))
        if request is None:
            return _not_there(run_id, hints)
        request = msgspec.structs.replace(request, from_checkpoint=checkpoint, graph=_absolute(graph), strict=strict)
        shown: list[StepDiff] = []

        async def show(step: StepDiff) -> None:
            if not as_json:
                shown.append(step)
                click.echo("\n".join(step_lines(step)))

        replayed = await run_in_sandbox(request, reached, limit_s, show)
    if replayed.problem is not None:
        click.echo(f"langlog: {replayed.problem}", err=True)
        return FAILED
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(replayed), "same": replayed.same}))
    else:
        for line in report(replayed, shown):
            click.echo(line)
    return SAME if replayed.same else DIFFERENT


def _not_there(run_id: str, hints: Sequence[str]) -> int:
    click.echo(
        f"langlog: there is no run {run_id} in the log: check the id, and that --data-dir or LOG_URI name its log",
        err=True,
    )
    for line in hints:
        click.echo(line, err=True)
    return FAILED


def _absolute(graph: str | None) -> str | None:
    if graph is None:
        return None
    source, colon, attribute = graph.rpartition(":")
    if not colon or not source or not attribute:
        raise click.BadParameter(f"{graph!r} is neither path.py:object nor module:object", param_hint="--graph")
    return f"{Path(source).absolute()}:{attribute}" if source.endswith(".py") or "/" in source else graph


def report(replayed: Replayed, shown: Sequence[StepDiff] = ()) -> Iterable[str]:
    """Print the comparison for people, without the steps that were already shown."""
    for step in replayed.steps:
        if step not in shown:
            yield from step_lines(step)
    if replayed.recorded == replayed.replayed:
        yield f"end: {replayed.recorded}"
    else:
        yield f"end: recorded {replayed.recorded}; replayed {replayed.replayed}"
    yield from _differences(replayed.differences, 4)
    if replayed.store_writes:
        yield f"not written to the store: {', '.join(replayed.store_writes)}"
    yield "Replay matches the recorded run." if replayed.same else "Replay diverged from the recorded run."


def step_lines(step: StepDiff) -> Iterable[str]:
    """Yield the lines of one step for people."""
    where = f" in {step.namespace}" if step.namespace else ""
    yield f"step {step.step}{where}: {step.verdict}"
    for node in step.nodes:
        yield f"    {node.name}: {node.verdict}"
        yield from _differences(node.differences, 8)
    yield from _differences(step.differences, 4)


def _differences(differences: Sequence[Difference], indent: int) -> Iterable[str]:
    for difference in differences:
        yield f"{' ' * indent}{difference.path or '(value)'}"
        yield f"{' ' * indent}  - {'(nothing)' if difference.recorded is None else difference.recorded}"
        yield f"{' ' * indent}  + {'(nothing)' if difference.replayed is None else difference.replayed}"


# --- folding it again -------------------------------------------------------------------------


async def _dry(settings: Settings, run_id: str, thread_id: str | None, *, as_json: bool) -> int:
    import msgspec
    from langlog_backbone.postgres.database import connect_pool

    from ..log.histories import history_reader
    from ..whereabouts import log_and_read_model
    from .refold import refold

    async with log_and_read_model(settings) as (reached, log):
        pool = await connect_pool(reached, size=1)
        try:
            hints = await other_kind(pool, run_id, "run")
            history = None if hints else await history_reader(log, pool).of_runs_thread(run_id, thread_id)
            if history is None:
                return _not_there(run_id, hints)
            if _declined(history, run_id):
                return FAILED
            differences = await refold(reached, log, pool, history)
        finally:
            await pool.close()
    if as_json:
        click.echo(
            msgspec.json.encode(
                {"thread_id": history.thread_id, "events": len(history.entries), "differences": differences}
            )
        )
    else:
        for difference in differences:
            click.echo(difference)
        on = "" if history.base is None else " on top of its snapshot"
        what = f"{len(history.entries):,} events of thread {history.thread_id}, folded again{on}"
        click.echo(f"{what}: {'as in the read model' if not differences else f'{len(differences)} differences'}.")
    return DIFFERENT if differences else SAME
