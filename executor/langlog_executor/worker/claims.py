"""Claims dispatched runs and executes them until the process drains or retires; runs on the I/O loop of a worker process (`process`).

    claim ─► begin ─► release … ─► drain: step boundary, hand back ─► nothing held

What happens when it dies: the lease of its runs runs out, and they are dispatched again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog
from langlog_backbone.log import LogUnavailable, NewRecord
from langlog_backbone.log.records import command_record
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import READ_LIMIT_S, Availability, until_available
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis import channels
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands, messages

from .pool_messages import Retiring, moves, retiring

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone
    from langlog_schemas.messages import Control, Task

    from ..runtime.lease import Lease
    from .graph_attempt import Stop
    from .run_execution import RunExecution, RunTools

logger = structlog.get_logger(__name__)

CLAIM_WAIT_S = 30.0
"""Seconds that one claim waits for a task before the next claim."""
RETRY_S = 0.2
"""Seconds between two claims while Redis is unavailable."""
CLAIM_ENDS_S = 1.0
"""Seconds for a claim to return when the worker drains and Redis is available."""
CLAIM_PAUSE_S = 0.02
"""Seconds between two attempts to end a claim: its blocking command may not have reached Redis yet."""
CONTROLS_AGAIN_S = 5.0
"""Seconds between two queries for controls that were missed: the decider may have died between the event and its message, or had no
Redis just then, while the subscription here went on."""
ENDED_KEPT = 4096
"""Number of ended tasks that are remembered."""
CONTROL_KEPT_S = 30.0
"""Seconds for which a control is remembered that arrives before its task was claimed here."""

_STOP_REQUESTED = load_sql("langlog_executor", "workers.sql")["stop_requested"]


class Worker:
    """Claims and executes runs until it has to drain."""

    def __init__(self, backbone: Backbone, tools: RunTools, lease: Lease) -> None:
        self._backbone = backbone
        self._tools = tools
        self._lease = lease
        self._slots = backbone.settings.jobs_per_worker
        self._runs: dict[str, tuple[RunExecution, asyncio.Task[None]]] = {}
        """Task id -> its execution."""
        self._controls: dict[str, tuple[float, Control]] = {}
        self._ended: dict[str, None] = {}
        """Ids of tasks that ended here recently."""
        self._unreported: list[Task] = []
        """Tasks that a defect ended without a report: still held."""
        self._beside: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._claiming: asyncio.Task[None] | None = None
        self._claim_waits = False
        """Whether a claim is under way."""
        self._draining = asyncio.Event()
        self._redis = Availability("worker.claims", "redis")
        self._postgres = Availability("worker.controls")
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Future that gets the error of a defect that ended claiming."""

    @property
    def held(self) -> int:
        """Runs that are executed here."""
        return len(self._runs)

    async def start(self) -> None:
        await self._backbone.bus.subscribe(channels.CONTROL, self._on_control)
        self._backbone.bus.on_missed.append(self._on_missed)
        self._tools.loops.on_held.append(self._on_loops_held)
        self._begin_claiming()
        self._aside(self._query_controls_again(), "worker.controls_failed")

    async def drain(self) -> None:
        """Stop claiming; let runs reach a step boundary within the time for that; hand back those that did not end."""
        self._draining.set()
        await self._claim_no_more()
        for execution, _ in self._runs.values():
            if not execution.drains:  # a second time means: now
                execution.stop("drain")
        await self._wait_for_runs(self._backbone.settings.drain_s)
        for execution, _ in self._runs.values():
            execution.stop("drain")  # once more: now
        await self._wait_for_runs(self._backbone.settings.drain_s)
        left = [execution.task for execution, _ in self._runs.values()]
        for _, running in list(self._runs.values()):
            running.cancel()
        for task in tuple(self._beside):
            task.cancel()
        await self._hand_back([*left, *self._unreported])

    async def retire(self, report: Callable[[Retiring], None]) -> None:
        """Make way for workers with newer code: stop claiming, and wait until no run is left. A run's first attempt moves to them at its
        next step boundary; one that was started again before ends here, so that reloads start no run again twice."""
        self._draining.set()
        await self._claim_no_more()
        executions = [execution for execution, _ in self._runs.values()]
        for execution in executions:
            if moves(execution.task):
                execution.stop("drain")
        report(retiring([execution.task for execution in executions]))
        while self._runs:
            await asyncio.wait([running for _, running in self._runs.values()])

    # the lease's callbacks, on the I/O loop

    def lost(self) -> None:
        """Drop all runs: after the loss of the lease they belong to other attempts."""
        for execution, _ in self._runs.values():
            execution.stop("drop")
        if self._claiming is not None and not self._draining.is_set():
            self._claiming.cancel()
            self._begin_claiming()

    def wiped(self, worker: str) -> None:
        held = [execution.task for execution, _ in self._runs.values()]
        holding = until_available(lambda: self._backbone.queue.hold_again(worker, held), on=self._redis)
        self._aside(holding, "worker.hold_again_failed")

    # claiming

    def _begin_claiming(self) -> None:
        self._claiming = asyncio.create_task(self._claim_all(), name="claim")
        self._claiming.add_done_callback(self._claiming_ended)

    def _claiming_ended(self, claiming: asyncio.Task[None]) -> None:
        error = None if claiming.cancelled() else claiming.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _claim_no_more(self) -> None:
        """End the claim under way, and return its tasks that have not begun: another worker claims them at once."""
        queue, claiming = self._backbone.queue, self._claiming
        if claiming is not None:
            self._room.set()
            with contextlib.suppress(RedisUnavailable, TimeoutError):
                async with asyncio.timeout(CLAIM_ENDS_S):
                    while not claiming.done():
                        await queue.end_claim()
                        await asyncio.wait([claiming], timeout=CLAIM_PAUSE_S)
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
        with contextlib.suppress(RedisUnavailable):
            begun = [*self._runs, *self._ended, *(task.id for task in self._unreported)]
            await queue.give_back(self._lease.worker, begun)

    async def _claim_all(self) -> None:
        failed = False
        while not self._draining.is_set():
            free = self._slots - len(self._runs)
            if free <= 0 or self._blocked:
                self._room.clear()
                await self._room.wait()
                continue
            worker = self._lease.worker
            try:
                # what a claim moved whose answer never came
                self._claim_waits = True
                tasks = await self._unopened(worker) if failed else []
                tasks += await self._backbone.queue.claim(worker, free, CLAIM_WAIT_S) if not tasks else []
                failed = False
            except RedisUnavailable as error:
                self._redis.failed(error)
                failed = True
                await asyncio.sleep(RETRY_S)  # nothing signals that Redis is back
                continue
            finally:
                self._claim_waits = False
            self._redis.succeeded()
            if self._draining.is_set():
                return  # given back
            for task in tasks:
                self._begin(task, worker)

    @property
    def _blocked(self) -> bool:
        """Whether runs would wait for a graph loop that a node blocks, while other workers may begin them. Those of graphs in JavaScript
        would not."""
        return self._tools.loops.held and self._tools.host is None

    def _on_loops_held(self) -> None:
        if not self._blocked:
            self._room.set()
        elif self._claim_waits:
            self._aside(self._end_claim(), "worker.claims_failed")

    async def _end_claim(self) -> None:
        """End the claim under way: another worker gets what it would get."""
        with contextlib.suppress(RedisUnavailable):
            while self._blocked and self._claim_waits:
                await self._backbone.queue.end_claim()
                await asyncio.sleep(CLAIM_PAUSE_S)  # its blocking command may not have reached Redis yet

    async def _unopened(self, worker: str) -> list[Task]:
        """Return the tasks that are held here according to Redis, and that this worker does not know."""
        tasks = []
        for task in await self._backbone.queue.held(worker):
            if task.id in self._ended:  # the release was lost
                self._backbone.queue.release(worker, task.id)
            elif task.id not in self._runs:
                tasks.append(task)
        return tasks

    def _begin(self, task: Task, worker: str) -> None:
        from .run_execution import RunExecution

        execution = RunExecution(self._tools, task, worker)
        control = self._controls.pop(task.run_id, None)
        if control is not None and control[1].attempt == task.attempt:
            execution.stop(_stop(control[1]))
        self._runs[task.id] = (execution, asyncio.create_task(self._execute(execution, worker)))

    async def _execute(self, execution: RunExecution, worker: str) -> None:
        task = execution.task
        try:
            await execution.run()
        except asyncio.CancelledError:
            return
        except Exception:
            logger.exception("run.unreported", run_id=task.run_id)
            self._unreported.append(task)
            return  # still held: when the process ends, so does the lease, and the run is taken up again
        finally:
            self._runs.pop(task.id, None)
            self._room.set()
        self._ended[task.id] = None
        if len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        self._backbone.queue.release(worker, task.id)

    async def _wait_for_runs(self, limit_s: float) -> None:
        if self._runs:
            await asyncio.wait([running for _, running in self._runs.values()], timeout=limit_s)

    async def _hand_back(self, left: list[Task]) -> None:
        """Hand back runs that could not be stopped: they continue elsewhere as another attempt; then nothing is held here,
        and the lease ends."""
        queue, worker = self._backbone.queue, self._lease.worker
        try:
            if left:
                await self._backbone.log.append([_requeue(task) for task in left])
            for task in left:
                queue.release(worker, task.id)
            await asyncio.to_thread(self._lease.stop)  # it would acquire the lease again
            await queue.give_back(worker, self._ended, leave=True)
        except (RedisUnavailable, LogUnavailable) as error:
            logger.warning("drain.left_to_the_lease", error=str(error))

    # controls

    def _on_control(self, data: bytes) -> None:
        control = messages.decode_control(data)
        for execution, _ in self._runs.values():
            if execution.task.run_id == control.run_id and execution.task.attempt == control.attempt:
                execution.stop(_stop(control))
                return
        now = monotonic()
        self._controls = {k: v for k, v in self._controls.items() if now - v[0] < CONTROL_KEPT_S}
        self._controls[control.run_id] = (now, control)

    def _on_missed(self) -> None:
        self._lease.hurry()
        self._aside(self._controls_queried(), "worker.controls_failed")

    def _aside(self, work: Coroutine[Any, Any, None], failure: str) -> None:
        """Run a background task; ``failure``: log event for its exception."""
        task = asyncio.ensure_future(work)
        self._beside.add(task)

        def done(_: asyncio.Future[None]) -> None:
            self._beside.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error(failure, exc_info=error)

        task.add_done_callback(done)

    async def _query_controls_again(self) -> None:
        while True:
            await asyncio.sleep(CONTROLS_AGAIN_S)  # nothing signals that a control was never sent
            if self._runs:
                try:
                    await self._controls_queried()
                except Exception:  # queried again: the end of this task would go unnoticed
                    logger.exception("worker.controls_failed")

    async def _controls_queried(self) -> None:
        await until_available(self._query_controls, on=self._postgres, limit_s=READ_LIMIT_S)

    async def _query_controls(self) -> None:
        """Query controls that may have been missed: the read model has them too."""
        held = {execution.task.run_id: execution for execution, _ in self._runs.values()}
        for row in await self._backbone.pool.fetch(_STOP_REQUESTED, list(held)):
            execution = held[row["run_id"]]
            if execution.task.attempt == row["attempt"]:
                execution.stop("rollback" if row["cancel"] == "rollback" else "interrupt")


def _stop(control: Control) -> Stop:
    match control.action:
        case "rollback":
            return "rollback"
        case "drop":
            return "drop"
        case _:
            return "interrupt"


def _requeue(task: Task) -> NewRecord:
    command = commands.RequeueRun(thread_id=task.thread_id, run_id=task.run_id, attempt=task.attempt, reason="drained")
    return command_record(command, id=f"{task.run_id}-{task.attempt}-drained", source="/langlog/worker")
