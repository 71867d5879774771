"""Runs a past run again: ``python -m langlog_executor.replay.run``, a process of its own for `langlog replay`.

    request on stdin ─► past thread, in memory ─► today's graph on it ─► each step compared ─► `StepDiff`s, then `Replayed`, on stdout

The graph gets the recorded input, config and context, the original ids of thread and run, and a sandbox: nothing is
appended, the store's writes stay in memory. The graph repeats its effects on the outside (models, tools, requests). The
graph's output goes to stderr. When the process dies, it leaves no trace.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.runs import results as run_results
from langlog_schemas.runs.ends import OUTCOME_OF

from .preparation import dispatches
from .request import END, STEP, Replayed, ReplayRequest, StepDiff, decode_request, encode, framed

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langlog_schemas.events import Event


class CannotReplay(Exception):
    """The run cannot be replayed; the message is for people."""


async def replay(order: ReplayRequest, on_step: Callable[[StepDiff], None] = lambda _: None) -> Replayed:
    """Replay a run. ``on_step`` is called with each completed step. Raises CannotReplay, StartError, GraphLoadError."""
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.project.config import GraphSpec, read_project
    from langlog_backbone.project.node import find_node

    from ..checkpoints.serde import configured_serializer, json_cipher
    from ..graphs.loading import load_graphs
    from ..graphs.run_input import read_kwargs
    from ..worker.graph_attempt import Ended, GraphAttempt
    from ..worker.lifespan import lifespan_here
    from .hosted import run_hosted
    from .sandbox import ListeningSink, SandboxStore, sandboxed
    from .steps import differences

    task, settings = order.task, read_settings(project=Path(order.project))
    project = read_project(settings.project)
    spec = project.graphs.get(task.graph_id)
    if order.graph is not None:
        source, _, attribute = order.graph.rpartition(":")
        spec = GraphSpec(graph_id=task.graph_id, position=0, source=source, attribute=attribute)
    if spec is None:
        raise CannotReplay(f"graph {task.graph_id!r} is not part of {project.file} (name one with --graph)")
    alone = msgspec.structs.replace(project, graphs={task.graph_id: spec})
    graphs = None if spec.language == "javascript" else load_graphs(alone)
    serde = configured_serializer(project, settings)
    json = json_cipher(serde)
    task = msgspec.structs.replace(task, kwargs=await json.open(task.kwargs), metadata=await json.open(task.metadata))
    recording = Recording(order)
    overlay = recording.base.overlay()
    comparison = Comparison(recording, serde, strict=order.strict, on_step=on_step)
    records = ListeningSink(comparison.note)
    begun = order.from_checkpoint is not None
    store = SandboxStore(lambda: stored_items(order.store_until))
    again, kwargs = msgspec.structs.replace(task, attempt=2 if begun else 1, fresh=not begun), read_kwargs(task)
    ended: Ended
    if graphs is None:
        node = find_node(settings.node).executable
        ended = await run_hosted(node, alone, settings, again, kwargs, serde, overlay, records, store)
    else:
        checkpointer = sandboxed(serde, overlay, records, msgspec.structs.replace(task, attempt=1, fresh=True))
        attempt = GraphAttempt(again, kwargs, graphs, checkpointer, store, settings, lambda name, data: None)
        async with lifespan_here(project, settings.worker_start_s, needed=False):
            ended = await attempt.run()
    if ended.stopped is not None:
        raise CannotReplay("the process of Node that ran the graph again ended")
    steps = comparison.end()
    values = ended.values
    return Replayed(
        steps=steps,
        recorded=recording.outcome,
        replayed=outcome_of(ended.outcome, ended.error, waits=bool(ended.next) and ended.error is None),
        differences=(
            differences(
                msgspec.json.decode(await json.open(recording.values)), msgspec.json.decode(values), strict=order.strict
            )
            if recording.values and values and recording.outcome
            else []
        ),
        store_writes=["/".join([*op.namespace, op.key]) for op in store.writes],
    )


class Recording:
    """The recorded run. ``base``: the thread at the run's beginning, or at the checkpoint to continue from."""

    def __init__(self, order: ReplayRequest) -> None:
        from .recorded import Recorded

        task, checkpoint_id = order.task, order.from_checkpoint
        self.base, self.all = (Recorded(task.thread_id, order.snapshot) for _ in range(2))
        self.bodies: list[cp.CheckpointBody | cp.WritesBody] = []
        self.outcome = "in flight"
        self.values = b""
        dispatched = begun = False
        result: dict[tuple[str, int], bytes] = {}
        """Parts of the result that were too large for the final event."""
        for type_name, value in order.events:
            event = ev.decode(type_name, value)
            own = getattr(event, "run_id", None) == task.run_id
            dispatched = dispatched or (own and dispatches(event))
            if not begun and dispatched and checkpoint_id is None:
                begun = True
            if own and isinstance(event, ev.RunEnded | ev.RunDeleted):
                if isinstance(event, ev.RunEnded):
                    self.outcome, self.values = _ended(event), _values_of(event, result)
                break
            if own and isinstance(event, ev.RunResultPart):
                result[event.blob_id, event.index] = event.body
            for one in _single(event):
                if not begun:
                    self.base.note(one)
                body = self.all.note(one)
                if own and body is not None and begun:
                    self.bodies.append(body)
                if (
                    own
                    and isinstance(body, cp.CheckpointBody)
                    and (body.namespace, body.checkpoint_id) == ("", checkpoint_id)
                ):
                    begun = True
        _check_begun(order, dispatched=dispatched, begun=begun)
        if checkpoint_id is not None:
            self.base.drop_writes(("", checkpoint_id), task.run_id)


def _check_begun(order: ReplayRequest, *, dispatched: bool, begun: bool) -> None:
    """Raise CannotReplay if the recorded run has no beginning to replay from."""
    run_id = order.task.run_id
    if not dispatched:
        raise CannotReplay("the run was never dispatched: there is nothing to run again")
    if not begun:
        raise CannotReplay(
            f"checkpoint {order.from_checkpoint} does not belong to run {run_id}: see `langlog log show {run_id}`"
        )


def _single(event: ev.AnyEvent) -> Sequence[ev.AnyEvent]:
    """Return the events that share the record of an event, or the event itself."""
    return event.events() if isinstance(event, ev.CheckpointSteps) else (event,)


def _values_of(event: ev.RunEnded, result: dict[tuple[str, int], bytes]) -> bytes:
    """Return the values of a run's end. ``result``: parts that were appended before it."""
    if event.result is None:
        return bytes(event.values)
    parts = [body for (blob_id, _), body in sorted(result.items()) if blob_id == event.result]
    return run_results.decode(b"".join(parts)).values


class Comparison:
    """Compares the recorded run with the replayed one while that executes. A step is compared when its checkpoint is
    written: writes of its nodes come before. Steps of subgraphs are compared with the step of the root graph that they are
    part of."""

    def __init__(
        self, recording: Recording, serde: SerializerProtocol, *, strict: bool, on_step: Callable[[StepDiff], None]
    ) -> None:
        from .recorded import Recorded
        from .steps import Way

        self._rerun = Recorded(recording.base.thread_id)
        self._rerun.checkpoints |= recording.base.checkpoints
        self._rerun.blobs |= recording.base.blobs
        self._recorded = Way(recording.bodies, recording.all, serde)
        self._replayed = Way([], self._rerun, serde)
        self._strict, self._on_step = strict, on_step
        self._reported: set[tuple[str, int]] = set()
        self._failed: Exception | None = None

    def note(self, event: Event) -> None:
        """Handle the next event of the sandbox. Errors here are raised at the end: it is no fault of the graph's."""
        if self._failed is None:
            try:
                self._note(event)
            except Exception as error:
                self._failed = error

    def _note(self, event: Event) -> None:
        from .steps import compare, number

        body = self._rerun.note(event)  # type: ignore[arg-type]
        if body is None:
            return
        self._replayed.note(body)
        if not isinstance(body, cp.CheckpointBody) or body.namespace:
            return
        done = {key for key in self._replayed.steps if key not in self._reported and (key[0] or key[1] <= number(body))}
        self._reported |= done
        for step in compare(self._recorded, self._replayed, strict=self._strict, among=done) if done else ():
            self._on_step(step)

    def end(self) -> list[StepDiff]:
        """Return all steps of both runs. Raises earlier errors."""
        from .steps import compare

        if self._failed is not None:
            raise self._failed
        return compare(self._recorded, self._replayed, strict=self._strict)


def _ended(event: ev.RunEnded) -> str:
    return outcome_of(OUTCOME_OF[type(event)], event.error, waits=event.status == "interrupted")


def outcome_of(outcome: str, error: cmd.RunError | None, *, waits: bool) -> str:
    """Return the outcome of a run in words."""
    if error is not None:
        return f"{outcome} ({error.error}: {error.message})"
    return "success, waits for a human" if outcome == "success" and waits else outcome


def stored_items(until: str) -> list[tuple[tuple[str, ...], str, dict[str, Any]]]:
    """Return the store as of a moment, folded from the log. Blocks the calling thread; uses a loop of its own, since it may be called
    within another."""
    results: list[list[tuple[tuple[str, ...], str, dict[str, Any]]]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            results.append(asyncio.run(_stored_items(until)))
        except BaseException as error:
            failed.append(error)

    import threading

    thread = threading.Thread(target=work, name="replay-store")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return results[0]


async def _stored_items(until: str) -> list[tuple[tuple[str, ...], str, dict[str, Any]]]:
    from langlog_backbone.history.thread_history import decoded
    from langlog_backbone.log import started_log
    from langlog_backbone.process.environment import read_settings

    moment = datetime.fromisoformat(until)
    items: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}
    async with started_log(read_settings()) as log:
        starts = await log.start_offsets(ev.STORE_EVENTS)
        ends = {
            (ev.STORE_EVENTS, n): end for n, end in enumerate(await log.end_offsets(ev.STORE_EVENTS)) if end > starts[n]
        }
        reader = log.reader([ev.STORE_EVENTS])
        try:
            while ends:
                for record in await reader.read():
                    partition = (record.topic, record.partition)
                    event = decoded(record)
                    if event is not None and _was_written(record.headers, moment):
                        _fold_store(event, items)
                    if partition in ends and record.offset + 1 >= ends[partition]:
                        del ends[partition]
        finally:
            await reader.stop()
    return [(namespace, key, value) for (namespace, key), value in items.items()]


def _was_written(headers: Mapping[str, str], moment: datetime) -> bool:
    """Return whether a record was appended until the moment. One of another producer may have no time: no store holds what it writes."""
    try:
        return datetime.fromisoformat(headers["ce_time"]) <= moment
    except (KeyError, ValueError, TypeError):  # TypeError: a time without a zone
        return False


def _fold_store(event: ev.AnyEvent, items: dict[tuple[tuple[str, ...], str], dict[str, Any]]) -> None:
    if not isinstance(event, ev.StoreWritten):
        return
    for op in event.ops:
        item_key = tuple(event.namespace), op.key
        items.pop(item_key, None)
        if op.value:
            items[item_key] = msgspec.json.decode(op.value)


def main() -> None:
    """Read the request from stdin, write the answer to stdout; output of user code goes to stderr."""
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    order = decode_request(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging
    from langlog_backbone.process.service import StartError

    from ..graphs.loading import GraphLoadError

    configure_logging(read_settings())
    out = os.fdopen(answer, "wb")

    def write(kind: bytes, body: bytes) -> None:
        out.write(framed(kind, body))
        out.flush()

    try:
        outcome = asyncio.run(replay(order, lambda step: write(STEP, encode(step))))
    except (CannotReplay, StartError, GraphLoadError, ValueError) as error:
        outcome = Replayed(problem=str(error))
    sys.stdout.flush()
    write(END, encode(outcome))
    out.close()
    os._exit(0)  # threads of user code must not keep the process alive


if __name__ == "__main__":
    main()
