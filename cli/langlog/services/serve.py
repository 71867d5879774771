"""``langlog gateway|executor|projector|scheduler``: one service of the four, against real servers.

Each process opens one backbone and runs its service, with a health port beside it when one is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone
    from langlog_backbone.process.ending import Ending
    from langlog_backbone.process.service import Service
    from langlog_backbone.process.settings import Settings

NEEDED = {"log_uri": "LOG_URI", "database_uri": "DATABASE_URI", "redis_uri": "REDIS_URI"}

_no_project = click.option(
    "--no-project",
    is_flag=True,
    default=None,
    help="Start without a langgraph.json: no auth, none of its settings.  [LANGLOG_NO_PROJECT]",
)
_health = click.option(
    "--health-port", type=click.IntRange(0, 65535), help="Answer GET /ok here; 0: nowhere.  [LANGLOG_HEALTH_PORT]"
)


@click.command()
@options.config
@_no_project
@click.option("--host", help="Address to listen on.  [LANGLOG_HOST]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [PORT]")
@_health
def gateway(**options: Any) -> None:
    """Serve HTTP, SSE and WebSocket for clients. Needs LOG_URI, DATABASE_URI and REDIS_URI."""

    def services(backbone: Backbone) -> list[Service]:
        from langlog_gateway.service import GatewayService

        return [GatewayService(backbone)]

    _serve(services, check_port=True, needs_project=True, **options)


@click.command()
@options.config
@_no_project
@click.option(
    "--role",
    type=click.Choice(["decider", "worker", "both"]),
    default="both",
    show_default=True,
    help="Decide commands, run graphs, or both.",
)
@click.option("--workers", type=click.IntRange(1), help="Worker processes.  [LANGLOG_WORKERS]")
@_health
def executor(role: str, **options: Any) -> None:
    """Decide commands and execute graphs. Needs LOG_URI, DATABASE_URI and REDIS_URI."""

    def services(backbone: Backbone) -> list[Service]:
        from langlog_executor.decider.service import DeciderService
        from langlog_executor.replay.service import ReplayService
        from langlog_executor.worker.graphs_service import GraphsService
        from langlog_executor.worker.pool import WorkerPoolService

        # workers first: a process joins the deciders when it is ready, and leaves them before its runs drain
        workers: list[Service] = [WorkerPoolService(backbone)] if role != "decider" else []
        deciders: list[Service] = [DeciderService(backbone)] if role != "worker" else []
        others: list[Service] = [GraphsService(backbone), ReplayService(backbone)] if workers else []
        return [*workers, *deciders, *others]

    if options["no_project"] and role != "decider":
        raise click.UsageError("--no-project needs --role decider: workers have graphs to run only from a project")
    _serve(services, needs_project=True, **options)


@click.command()
@_health
def projector(**options: Any) -> None:
    """Fold events into Postgres. Needs LOG_URI, DATABASE_URI and REDIS_URI."""

    def services(backbone: Backbone) -> list[Service]:
        from langlog_projector.service import ProjectorService

        return [ProjectorService(backbone)]

    _serve(services, **options)


@click.command()
@options.config
@_health
def scheduler(**options: Any) -> None:
    """Start what is due: delayed runs, crons, webhooks, expiries. Needs LOG_URI, DATABASE_URI and REDIS_URI."""

    def services(backbone: Backbone) -> list[Service]:
        from langlog_scheduler.service import SchedulerService

        return [SchedulerService(backbone)]

    _serve(services, reads_project=True, **options)


def _serve(
    services: Callable[[Backbone], list[Service]],
    *,
    check_port: bool = False,
    needs_project: bool = False,
    reads_project: bool = False,
    **options: Any,
) -> None:
    """Run a service. ``needs_project``: it does not start without one; ``reads_project``: not without one that was named."""
    from langlog_backbone.process.ending import Ending, end_by_force, stop_limit_s
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging
    from langlog_backbone.process.service import StartError
    from langlog_backbone.process.settings import Settings

    from .running import run
    from .variables import warn_of_unknown_variables

    settings = read_settings(**options)
    configure_logging(settings)
    warn_of_unknown_variables(settings)
    missing = [name for field, name in NEEDED.items() if not getattr(settings, field)]
    if missing:
        raise StartError(f"{' and '.join(missing)} must be set (langlog dev brings its own servers along)")
    if needs_project or (reads_project and settings.project != Settings().project):
        from langlog_backbone.project.config import required_project

        required_project(settings)
    if check_port:
        from .ports import ensure_free

        ensure_free(settings.host, settings.port)
    run(_run(services, settings, Ending(stop_limit_s(settings), end_by_force)))


async def _run(services: Callable[[Backbone], list[Service]], settings: Settings, ending: Ending) -> int:
    from langlog_backbone.context import open_backbone
    from langlog_backbone.probe import Probe
    from langlog_backbone.process.service import run_services

    from .figures import FiguresService
    from .health import HealthService

    async with open_backbone(settings) as backbone:
        running = services(backbone)
        running.append(FiguresService(running[:], backbone))
        if settings.health_port:
            probe = Probe(backbone.pool, backbone.queue, backbone.log)
            running.append(HealthService(running[:], settings.host, settings.health_port, probe))
        return await run_services(running, ending=ending)
