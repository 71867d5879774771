"""The worker process: claims dispatched runs, executes graphs, answers queries. ``python -m langlog_executor.worker.process``.

    graphs loaded ─► lease taken ─► graphs announced ─► ready ─► claim, run, report … ─► SIGTERM: drain ─► gone

The main thread's event loop does I/O only (`io_loop`); graph code runs on graph loops and node threads, so nothing a graph does
delays the lease, a report or another run. What happens when it dies: the pool (`pool`) starts another one, and the lease of
its runs runs out. A worker whose pool is gone stops as if asked to.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langlog_backbone.log import LogUnavailable, NewRecord
from langlog_backbone.log.records import command_record
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.collector import tune_collector
from langlog_backbone.process.ending import Ending, end_by_force, stop_limit_s
from langlog_backbone.process.logging import configure_logging
from langlog_backbone.process.retry import READ_LIMIT_S, Availability, until_available
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings, read_settings
from langlog_backbone.project.config import Configuration, read_project
from langlog_backbone.project.imports import leave_to_project
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import now_ms
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands, messages
from langlog_schemas.messages import WorkerInfo

from .in_flight import SETTINGS_ALONE, Report, Retiring, moves, orphaned, retiring

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone
    from langlog_schemas.messages import Control, Task

    from ..graphs.loading import Graphs
    from ..runtime.graph_loops import GraphLoops
    from ..runtime.lease import Lease
    from ..worker.lifespan import WorkerLifespan
    from .graph_attempt import Stop
    from .run_execution import RunExecution, RunTools

logger = structlog.get_logger(__name__)

CLAIM_WAIT_S = 30.0
"""How long one claim waits for a task; then it asks again."""
RETRY_S = 0.2
"""Between two claims while Redis is away."""
CLAIM_ENDS_S = 1.0
"""For a claim to come back when this drains, with Redis at hand."""
CLAIM_PAUSE_S = 0.02
"""Between two tries to end it: the command that it waits by may be on its way to Redis."""
ENDED_KEPT = 4096
"""Tasks that are remembered to have ended here."""
CONTROL_KEPT_S = 30.0
"""A control that comes before its task was claimed here is remembered for this long."""
POOL_SIZE = 4
"""Connections to Postgres of one worker process."""
LIFESPAN = "http.app"
"""As what the project's lifespan occupies the loop of the graphs."""
LIFESPAN_ENDS_S = 10.0
"""How long the exit part of the project's lifespan may take."""
NODE_THREADS = 4
"""Threads for sync nodes, per run that a worker may have at once."""

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
        """Ids of tasks that ended here lately."""
        self._unreported: list[Task] = []
        """Begun here, and ended by a defect that left no report: still held."""
        self._beside: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._claiming: asyncio.Task[None] | None = None
        self._draining = asyncio.Event()
        self._redis = Availability("worker.claims", "redis")
        self._postgres = Availability("worker.controls")
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the error of a defect that ended claiming."""

    async def start(self) -> None:
        await self._backbone.bus.subscribe(channels.CONTROL, self._on_control)
        self._backbone.bus.on_reconnect.append(self._on_reconnect)
        self._begin_claiming()

    async def drain(self) -> None:
        """Claim no more; let runs reach a step boundary within the time for that; hand back those that did not end."""
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
        """For workers with newer code: claim no more, and wait until no run is left. A run's first attempt moves to them at its
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
        """What was held here belongs to other attempts now."""
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
        """End the claim under way, and give back what it was given and nobody has begun: another worker takes it at once."""
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
            if free <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            worker = self._lease.worker
            try:
                # what a claim moved whose answer never came
                tasks = await self._unopened(worker) if failed else []
                tasks += await self._backbone.queue.claim(worker, free, CLAIM_WAIT_S) if not tasks else []
                failed = False
            except RedisUnavailable as error:
                self._redis.failed(error)
                failed = True
                await asyncio.sleep(RETRY_S)  # nothing signals that Redis is back
                continue
            self._redis.succeeded()
            if self._draining.is_set():
                return  # given back
            for task in tasks:
                self._begin(task, worker)

    async def _unopened(self, worker: str) -> list[Task]:
        """Tasks that are held here according to Redis, and that we know nothing of."""
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
        """Runs that could not be stopped go on elsewhere as another attempt; then nothing is held here, and the lease ends."""
        queue, worker = self._backbone.queue, self._lease.worker
        try:
            if left:
                await self._backbone.log.append([_requeue(task) for task in left])
            for task in left:
                queue.release(worker, task.id)
            await asyncio.to_thread(self._lease.stop)  # it would take the lease again
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

    def _on_reconnect(self) -> None:
        self._lease.hurry()
        querying = until_available(self._query_controls, on=self._postgres, limit_s=READ_LIMIT_S)
        self._aside(querying, "worker.controls_failed")

    def _aside(self, work: Coroutine[Any, Any, None], failure: str) -> None:
        """Something that goes on by itself; ``failure``: how a defect of it is logged."""
        task = asyncio.ensure_future(work)
        self._beside.add(task)

        def done(_: asyncio.Future[None]) -> None:
            self._beside.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error(failure, exc_info=error)

        task.add_done_callback(done)

    async def _query_controls(self) -> None:
        """Controls may have been missed while the subscription was down: the read model has them too."""
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


# --- the process -----------------------------------------------------------------------------


async def serve(settings: Settings, report: Report) -> None:
    """The worker's whole life. Raises StartError and GraphLoadError."""
    from langlog_backbone.context import open_backbone
    from langlog_backbone.project.loopback import open_loopback

    from ..graphs.loading import load_graphs
    from ..worker.lifespan import WorkerLifespan, planned

    ending = Ending(stop_limit_s(settings), end_by_force)
    ending.listen()
    project = read_project(settings.project)
    prefix = settings.mount_prefix or Configuration(project).section("http").get("mount_prefix") or ""
    open_loopback(settings.base_url, f"/{prefix.strip('/')}" if prefix.strip("/") else "")
    graphs = load_graphs(project)
    plan = planned(project)
    lifespan = None if plan is None else WorkerLifespan(project, plan)
    if lifespan is not None and lifespan.empty:
        lifespan = None
    small = msgspec.structs.replace(settings, postgres_pool_size=min(POOL_SIZE, settings.postgres_pool_size))
    async with open_backbone(small) as backbone:
        await _serve(backbone, graphs, lifespan, ending, report)


async def _serve(
    backbone: Backbone, graphs: Graphs, lifespan: WorkerLifespan | None, ending: Ending, report: Report
) -> None:
    from langlog_backbone.project.cache import open_cache
    from langlog_backbone.project.store_index import check_pgvector, store_index
    from langlog_backbone.project.ttl import store_ttl

    from ..checkpoints.reader import CheckpointReader
    from ..checkpoints.serde import configured_serializer, json_cipher
    from ..queries.server import QueryServer
    from ..runtime.graph_loops import GraphLoops
    from ..runtime.io_loop import IoLoop
    from ..runtime.lease import Lease
    from ..store.embeddings import Embedder, load_embeddings
    from ..store.log_store import LogStore
    from ..store.project_store import project_store
    from .announcement import announce
    from .langsmith_traces import flush
    from .run_execution import RunTools

    io = IoLoop(backbone)
    open_cache(backbone.pipe, backbone.settings)
    loops = GraphLoops(io, threads=backbone.settings.jobs_per_worker * NODE_THREADS)
    project = read_project(backbone.settings.project)
    reader = CheckpointReader(io, serde=configured_serializer(project, backbone.settings))
    configuration = Configuration(project)
    embedder: Embedder | None = None
    if (index := store_index(configuration)) is not None:
        await check_pgvector(backbone.pool)
        embedder = Embedder(load_embeddings(project, index), index, loops, backbone.settings.embed_timeout_s)
    store = LogStore(
        io, ttl=msgspec.to_builtins(store_ttl(configuration)), embedder=embedder, json=json_cipher(reader.serde)
    )
    opened = contextlib.AsyncExitStack()
    of_nodes = await opened.enter_async_context(project_store(project, store))
    worker: Worker
    lease = Lease(
        backbone.settings,
        on_lost=lambda _: io.post(lambda: worker.lost()),
        on_wiped=lambda held_as: io.post(lambda: worker.wiped(held_as)),
        about=_described(backbone.settings, graphs, loops),
    )
    worker = Worker(backbone, RunTools(io, graphs, loops, reader, of_nodes), lease)
    if lifespan is not None:
        loops.hold_one_loop()
        await _prepared(lifespan, loops, backbone.settings.worker_start_s)
    await asyncio.to_thread(lease.start)
    queries = asyncio.create_task(QueryServer(io, graphs, loops, reader, of_nodes, embedder).serve(), name="queries")
    try:
        await announce(backbone, graphs, None if lifespan is None else loops)
        await worker.start()
        tune_collector()
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(ending.requested.wait())]
        if report.pool:
            waits += [asyncio.create_task(orphaned()), asyncio.create_task(_retire(worker, queries, report))]
            await asyncio.sleep(0)  # it listens for the signal
        report.write({"ready": {"graphs": list(graphs.specs), "pid": os.getpid()}})
        await asyncio.wait([*waits, queries, worker.failed], return_when=asyncio.FIRST_COMPLETED)
        if queries.cancelled():  # by `_retire`, which goes on
            await asyncio.wait([*waits, worker.failed], return_when=asyncio.FIRST_COMPLETED)
        if queries.done() and not queries.cancelled() and queries.exception() is not None:
            logger.error("worker.queries_failed", exc_info=queries.exception())
        if worker.failed.done():
            logger.error("worker.claims_failed", exc_info=worker.failed.exception())
        for task in waits:
            task.cancel()
        ending.begin()
        draining, hurried = asyncio.create_task(worker.drain()), asyncio.create_task(ending.hurried.wait())
        await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if draining.done():
            draining.result()
        draining.cancel()
    finally:
        queries.cancel()
        await asyncio.gather(queries, return_exceptions=True)
        await store.stop()
        if lifespan is not None:
            await _let_go(lifespan, loops, min(LIFESPAN_ENDS_S, max(1.0, ending.left_s())))
        loops.stop()
        await opened.aclose()
        await asyncio.gather(flush(), backbone.pipe.flush())
        await asyncio.to_thread(lease.stop)


def _described(settings: Settings, graphs: Graphs, loops: GraphLoops) -> Callable[[], bytes]:
    """What operators see of this worker; called on the lease's thread."""
    host, started_ms = socket.gethostname(), now_ms()

    def describe() -> bytes:
        return messages.encode(
            WorkerInfo(
                host=host,
                pid=os.getpid(),
                started_ms=started_ms,
                slots=settings.jobs_per_worker,
                graphs=list(graphs.specs),
                loops=loops.size,
                blocked=sorted(loops.suspects),
            )
        )

    return describe


async def _prepared(lifespan: WorkerLifespan, loops: GraphLoops, limit_s: float) -> None:
    """Start the lifespan on the loop of the graphs. Raises StartError."""
    try:
        await loops.submit(LIFESPAN, lambda: lifespan.start(limit_s)).done
    except StartError:
        loops.stop()
        raise


async def _let_go(lifespan: WorkerLifespan, loops: GraphLoops, limit_s: float) -> None:
    """Run the lifespan's exit part, unless graphs keep their loop for longer than ``limit_s`` seconds."""
    work = loops.submit(LIFESPAN, lambda: lifespan.stop(limit_s))
    await asyncio.wait([work.done], timeout=limit_s + 1)
    if not work.done.done():
        logger.warning("worker.lifespan_cut_off", after_s=limit_s, hint="a node blocks the loop that it would run on")


async def _retire(worker: Worker, queries: asyncio.Task[None], report: Report) -> None:
    """Returns when the pool has made this worker retire (SIGUSR1) and no run is left. The newer code answers queries."""
    retire_requested = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, retire_requested.set)
    await retire_requested.wait()
    queries.cancel()
    await worker.retire(lambda retiring: report.write({"retiring": retiring}))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="langlog_executor.worker.process")
    parser.add_argument("--report-fd", type=int, default=None, help="where to say that it is ready, or why not")
    options = parser.parse_args(arguments)
    report = Report(options.report_fd)
    # read when langgraph is imported: graphs then derive from their schemas which types may come back from stored bytes (`serde`)
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    try:
        settings = read_settings()
        configure_logging(settings)
        leave_to_project(read_project(settings.project), os.environ.pop(SETTINGS_ALONE, "").split())
        _open_debugger(settings)
        _run(settings, report)
    except Exception as error:
        from ..graphs.loading import GraphLoadError

        if not isinstance(error, StartError | GraphLoadError):
            logger.exception("worker.failed")
        report.write({"error": f"{error}" if str(error) else type(error).__name__})
        return 1
    return 0


def _open_debugger(settings: Settings) -> None:
    """Raises StartError when debugpy is not installed."""
    if not settings.debug_port:
        return
    try:
        import debugpy
    except ImportError:
        raise StartError("a debug port needs debugpy: run `pip install debugpy`") from None
    debugpy.listen(("127.0.0.1", settings.debug_port))
    logger.info("worker.debugger", host="127.0.0.1", port=settings.debug_port, waits=settings.debug_wait)
    if settings.debug_wait:
        debugpy.wait_for_client()


def _run(settings: Settings, report: Report) -> None:
    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(serve(settings, report))
        return
    uvloop.run(serve(settings, report))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # node threads that are stuck in user code must not keep the process
    os._exit(code)
