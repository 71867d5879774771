"""The worker process: claims dispatched runs, executes graphs, answers queries. ``python -m langlog_executor.worker.process``.

    graphs loaded ─► read model caught up ─► lease taken ─► graphs announced ─► ready ─► claim, run, report … ─► SIGTERM: drain ─► end

The main thread's event loop does I/O only (`io_loop`); graph code runs on graph loops and node threads, so nothing a graph does
delays the lease, a report or another run. When it dies, the pool (`pool`) starts another one, and the lease of
its runs expires. A worker whose pool has ended stops as after a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langlog_backbone.metrics import table
from langlog_backbone.metrics.worker_figures import serve_figures
from langlog_backbone.process.collector import tune_collector
from langlog_backbone.process.ending import Ending, end_by_force, stop_limit_s
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.logging import configure_logging
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Configuration, Project, read_project
from langlog_backbone.project.imports import leave_to_project
from langlog_backbone.time.clock import now_ms
from langlog_schemas import messages
from langlog_schemas.messages import GraphHostInfo, WorkerInfo

from .claims import Worker
from .pool_messages import SETTINGS_ALONE, Report, orphaned

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone

    from ..graph_host.hosts import GraphHosts
    from ..graphs.loading import Graphs
    from ..runtime.graph_loops import GraphLoops
    from ..store.embeddings import Embedder
    from ..worker.lifespan import WorkerLifespan

logger = structlog.get_logger(__name__)

POOL_SIZE = 4
"""Maximum number of Postgres connections of one worker process."""
CATCH_UP_S = 30.0
"""Maximum seconds that a worker waits at its start for the read model. Each run waits for what its own thread needs in any case."""
CATCH_UP_SHARE = 0.25
"""Largest part of the time of a worker's start (`Settings.worker_start_s`) that this wait takes."""
LIFESPAN = "http.app"
"""Name under which the project's lifespan occupies the loop of the graphs."""
LIFESPAN_ENDS_S = 10.0
"""Maximum seconds of the exit part of the project's lifespan."""
NODE_THREADS = 4
"""Threads for sync nodes, per concurrent run of a worker."""


async def serve(settings: Settings, report: Report, figures_fd: int | None = None) -> None:
    """The worker's whole life. Raises StartError and GraphLoadError."""
    from langlog_backbone.context import open_backbone
    from langlog_backbone.credentials.deployment_secret import deployment_secrets
    from langlog_backbone.credentials.loopback_proof import PROOF_HEADER, loopback_proofs
    from langlog_backbone.project.loopback import open_loopback
    from langlog_backbone.project.node import needed_node

    from ..graphs.loading import load_graphs
    from ..values.library_features import unsupported_releases
    from ..worker.lifespan import WorkerLifespan, planned

    ending = Ending(stop_limit_s(settings), end_by_force)
    ending.listen()
    project = read_project(settings.project)
    prefix = settings.mount_prefix or Configuration(project).section("http").get("mount_prefix") or ""
    proof: dict[str, str] = {}
    open_loopback(settings.base_url, f"/{prefix.strip('/')}" if prefix.strip("/") else "", lambda: proof)
    node = needed_node(project, settings.node)
    for release, supported in unsupported_releases().items():
        logger.warning("library.unsupported", installed=release, supported=supported)
    graphs = load_graphs(project)
    host = None if node is None else graph_hosts(Path(node.executable), project, settings)
    plan = planned(project)
    lifespan = None if plan is None else WorkerLifespan(project, plan)
    if lifespan is not None and lifespan.empty:
        lifespan = None
    small = msgspec.structs.replace(settings, postgres_pool_size=min(POOL_SIZE, settings.postgres_pool_size))
    async with open_backbone(small) as backbone:
        if Configuration(project).section("auth"):
            proof[PROOF_HEADER] = loopback_proofs(await deployment_secrets(backbone.pool, settings))[0]
        await _serve(backbone, graphs, host, lifespan, ending, report, figures_fd)


async def _serve(
    backbone: Backbone,
    graphs: Graphs,
    host: GraphHosts | None,
    lifespan: WorkerLifespan | None,
    ending: Ending,
    report: Report,
    figures_fd: int | None,
) -> None:
    from langlog_backbone.project.cache import open_cache
    from langlog_backbone.project.ttl import store_ttl

    from ..checkpoints.reader import CheckpointReader
    from ..checkpoints.serde import configured_serializer, json_cipher
    from ..queries.server import QueryServer
    from ..runtime.graph_loops import GraphLoops
    from ..runtime.io_loop import IoLoop
    from ..runtime.lease import Lease
    from ..store.log_store import LogStore
    from ..store.project_store import project_store
    from .announcement import announce
    from .langsmith_traces import flush
    from .run_execution import RunTools

    await caught_up(backbone, ending)
    io = IoLoop(backbone)
    open_cache(backbone.pipe, backbone.settings)
    loops = GraphLoops(
        io, threads=backbone.settings.jobs_per_worker * NODE_THREADS, isolated=backbone.settings.isolated_loops
    )
    project = read_project(backbone.settings.project)
    reader = CheckpointReader(io, serde=configured_serializer(project, backbone.settings))
    configuration = Configuration(project)
    embedder = await _embedder(backbone, project, configuration, loops)
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
        about=_described(backbone.settings, graphs, loops, host),
    )
    worker = Worker(backbone, RunTools(io, graphs, loops, reader, of_nodes, host), lease)
    if host is not None:
        await host.start()
    if lifespan is not None:
        loops.hold_one_loop()
        await _prepared(lifespan, loops, backbone.settings.worker_start_s)
    await asyncio.to_thread(lease.start)
    figures = None
    if figures_fd is not None:
        refresh = _gauges(worker, loops, host, backbone.settings)
        figures = asyncio.create_task(serve_figures(figures_fd, refresh), name="figures")
    answering = QueryServer(io, graphs, loops, reader, of_nodes, embedder, host)
    queries = asyncio.create_task(answering.serve(), name="queries")
    try:
        await announce(backbone, graphs, loops if loops.shared else None, host)
        await worker.start()
        tune_collector()
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(ending.requested.wait())]
        if report.pool:
            waits += [asyncio.create_task(orphaned()), asyncio.create_task(_retire(worker, queries, report))]
            await asyncio.sleep(0)  # it listens for the signal
        report.write({"ready": {"graphs": list(graphs.specs), "pid": os.getpid()}})
        await _until_over(waits, queries, worker.failed)
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
        if host is not None:
            await host.stop()
        await opened.aclose()
        await asyncio.gather(flush(), backbone.pipe.flush())
        if figures is not None:
            figures.cancel()
            await asyncio.gather(figures, return_exceptions=True)
        await asyncio.to_thread(lease.stop)


async def caught_up(backbone: Backbone, ending: Ending) -> None:
    """Wait until the read model holds what the log holds, for `CATCH_UP_S` at most, or until the worker is requested to end.

    Postgres may have lost commits of which this process has not heard. Nodes would then read a store without items that clients have
    been answered for, and updates of a state would be prepared on an older one.
    """
    from langlog_backbone.read_model.catching_up import catch_up

    limit_s = min(CATCH_UP_S, CATCH_UP_SHARE * backbone.settings.worker_start_s)
    catching_up = asyncio.create_task(
        catch_up(backbone.pool.fetch, backbone.log, backbone.positions, limit_s=limit_s), name="catching-up"
    )
    requested = asyncio.create_task(ending.requested.wait())
    try:
        await asyncio.wait([catching_up, requested], return_when=asyncio.FIRST_COMPLETED)
        if catching_up.done():
            catching_up.result()
    finally:
        for task in (catching_up, requested):
            task.cancel()
        await asyncio.gather(catching_up, requested, return_exceptions=True)


async def _embedder(
    backbone: Backbone, project: Project, configuration: Configuration, loops: GraphLoops
) -> Embedder | None:
    """Return the caller of the project's embedding function, or None if its store has no index."""
    from langlog_backbone.project.store_index import check_pgvector, store_index

    from ..store.embeddings import Embedder, load_embeddings

    index = store_index(configuration)
    if index is None:
        return None
    await check_pgvector(backbone.pool)
    return Embedder(load_embeddings(project, index), index, loops, backbone.settings.embed_timeout_s)


async def _until_over(
    waits: Sequence[asyncio.Task[Any]], queries: asyncio.Task[Any], failed: asyncio.Future[Any]
) -> None:
    """Wait until the worker is to end: one of ``waits`` is done, or queries or claims failed."""
    await asyncio.wait([*waits, queries, failed], return_when=asyncio.FIRST_COMPLETED)
    if queries.cancelled():  # by `_retire`, which continues
        await asyncio.wait([*waits, failed], return_when=asyncio.FIRST_COMPLETED)
    if queries.done() and not queries.cancelled() and queries.exception() is not None:
        logger.error("worker.queries_failed", exc_info=queries.exception())
    if failed.done():
        logger.error("worker.claims_failed", exc_info=failed.exception())


def graph_hosts(node: Path, project: Project, settings: Settings) -> GraphHosts:
    """The processes of Node for the project's graphs in JavaScript, not started yet."""
    from ..graph_host.hosts import GraphHosts
    from ..graph_host.process import STATIC, GraphHost, environment
    from ..graph_host.protocol import GraphFile

    graphs = [
        GraphFile(name, str(project.path_of(spec)), spec.attribute)
        for name, spec in project.graphs.items()
        if spec.language == "javascript"
    ]

    def make() -> GraphHost:
        return GraphHost(
            node,
            STATIC,
            project.root,
            environment(),
            graphs,
            memory_mb=settings.graph_host_memory_mb,
            start_s=settings.worker_start_s,
        )

    return GraphHosts(make, settings.graph_hosts)


def _gauges(worker: Worker, loops: GraphLoops, host: GraphHosts | None, settings: Settings) -> Callable[[], None]:
    """Bring what metrics show of this worker up to date."""
    table.SLOTS.set(settings.jobs_per_worker)

    def refresh() -> None:
        table.HELD.set(worker.held)
        table.LOOPS.set(loops.size)
        table.BLOCKED.set(len(loops.suspects) + (0 if host is None else host.blocked))
        if host is not None:
            table.HOST_RSS.set(host.rss_bytes)
            table.HOST_JOBS.set(host.jobs)
            table.HOST_STARTS.set(host.starts)

    return refresh


def _described(settings: Settings, graphs: Graphs, loops: GraphLoops, host: GraphHosts | None) -> Callable[[], bytes]:
    """Return a function that encodes the description of this worker for operators. The lease's thread calls it."""
    machine, started_ms = socket.gethostname(), now_ms()

    def describe() -> bytes:
        return messages.encode(
            WorkerInfo(
                host=machine,
                pid=os.getpid(),
                started_ms=started_ms,
                slots=settings.jobs_per_worker,
                graphs=list(graphs.specs),
                loops=loops.size,
                blocked=sorted(loops.suspects | (host.blocking if host is not None else frozenset())),
                graph_host=None if host is None else GraphHostInfo(host.pids, host.rss_bytes, host.jobs, host.starts),
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
    """Wait until the pool has made this worker retire (SIGUSR1) and no run is left. The newer code answers queries."""
    retire_requested = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, retire_requested.set)
    await retire_requested.wait()
    queries.cancel()
    await worker.retire(lambda retiring: report.write({"retiring": retiring}))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="langlog_executor.worker.process")
    parser.add_argument("--report-fd", type=int, default=None, help="where to report that it is ready, or why not")
    parser.add_argument("--figures-fd", type=int, default=None, help="socket on which the pool requests metrics")
    options = parser.parse_args(arguments)
    report = Report(options.report_fd)
    # read when langgraph is imported: graphs then derive from their schemas which types may be restored from stored bytes (`serde`)
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    try:
        settings = read_settings()
        configure_logging(settings)
        leave_to_project(read_project(settings.project), os.environ.pop(SETTINGS_ALONE, "").split())
        _open_debugger(settings)
        _run(settings, report, options.figures_fd)
    except Exception as error:
        from ..graphs.loading import GraphLoadError

        if not isinstance(error, StartError | GraphLoadError):
            logger.exception("worker.failed")
        report.write({"error": f"{error}" if str(error) else type(error).__name__})
        return 1
    return 0


def _open_debugger(settings: Settings) -> None:
    """Open the debugger's port. Raises StartError if debugpy is not installed."""
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


def _run(settings: Settings, report: Report, figures_fd: int | None) -> None:
    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(serve(settings, report, figures_fd))
        return
    uvloop.run(serve(settings, report, figures_fd))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # node threads that are stuck in user code must not keep the process alive
    os._exit(code)
