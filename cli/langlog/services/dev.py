"""``langlog dev``: all of langlog in one process and its worker processes, with nothing installed but the package.

Order of life: settings, project, port, data folder and embedded servers, backbone, services; stopped in reverse. What
`LOG_URI`, `DATABASE_URI` or `REDIS_URI` name is not embedded.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from langlog_backbone.time.sources import monotonic

from .. import options as shared

if TYPE_CHECKING:
    from langlog_backbone.process.ending import Ending
    from langlog_backbone.process.settings import Settings
    from langlog_backbone.project.config import Project
    from langlog_projector.service import ProjectorService

    from .progress import StartProgress


@click.command(short_help="Serve the project on this machine, with all it needs embedded.")
@shared.config
@click.option("--host", help="Address to listen on.  [LANGLOG_HOST; 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [PORT; 2024]")
@shared.data_dir
@click.option("--workers", type=click.IntRange(1), help="Processes that run graphs.  [LANGLOG_WORKERS; 1]")
@click.option("--reload/--no-reload", default=True, help="Load graphs again when the project's files change.")
@click.option(
    "--n-jobs-per-worker", "jobs_per_worker", type=click.IntRange(1), help="Runs at once in one worker.  [128]"
)
@click.option("--server-log-level", "log_level", help="debug, info, warning, error or critical.  [LOG_LEVEL; info]")
@click.option("--ssl-certfile", "tls_cert_file", help="Serve HTTPS with this certificate.  [LANGLOG_TLS_CERT_FILE]")
@click.option("--ssl-keyfile", "tls_key_file", help="The certificate's private key.  [LANGLOG_TLS_KEY_FILE]")
@click.option("-q", "--quiet", is_flag=True, help="No line for each request and run.  [LANGLOG_LOG_ACTIVITY=off]")
@click.option("--debug-port", type=click.IntRange(1, 65535), help="Wait for a debugger here (needs debugpy).")
@click.option("--wait-for-client", "debug_wait", is_flag=True, help="Import graphs once a debugger is attached.")
@click.option("--studio-url", help="A Studio of your own, which may call.  [LANGLOG_STUDIO_URL]")
@click.option("--open", "open_browser", is_flag=True, help="Open the console in the browser once it is ready.")
@click.option("--no-browser", is_flag=True, help="Open no browser, which is what happens without --open.")
@click.option("--allow-blocking", is_flag=True, help="Accepted: blocking nodes never stall langlog.")
@click.option("--tunnel", is_flag=True, help="Accepted without effect: langlog opens no tunnel.")
def dev(
    *,
    reload: bool,
    quiet: bool,
    tunnel: bool,
    open_browser: bool,
    no_browser: bool,
    allow_blocking: bool,
    **options: Any,
) -> None:
    """Run everything on this machine, with embedded log, PostgreSQL and Redis. Takes every option of `langgraph dev`."""
    from langlog_backbone.process.ending import Ending, end_by_force, stop_limit_s
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging
    from langlog_backbone.project.config import read_project
    from langlog_backbone.project.node import needed_node

    from ..projects.keys import warn_of_unknown_keys
    from .ports import ensure_free
    from .progress import StartProgress
    from .running import run
    from .variables import warn_of_project_variables, warn_of_unknown_variables

    options["debug_wait"] = options["debug_wait"] or None  # without the flag, the environment decides
    settings = shown_activity(read_settings(**options), quiet=quiet)
    configure_logging(settings)
    warn_of_unknown_variables(settings)
    if tunnel:
        click.echo("langlog: --tunnel has no effect: langlog opens no tunnel; put your own in front of it", err=True)
    if settings.debug_port:
        if settings.workers != 1:
            raise click.UsageError(f"--debug-port needs --workers 1, not {settings.workers}: one process has one port")
        reload = False  # a fresh worker could not listen on the port of the one that it replaces
        click.echo("langlog: graphs are not loaded again on changes while a debug port is open", err=True)
    project = read_project(settings.project)
    warn_of_unknown_keys(project)
    warn_of_project_variables(settings, project)
    needed_node(project, settings.node)
    ensure_free(settings.host, settings.port)
    with StartProgress(json=settings.log_json) as progress:
        show = open_browser and not no_browser
        ending = Ending(stop_limit_s(settings), end_by_force)
        run(_run(settings, project, reload=reload, show=show, ending=ending, progress=progress))


def shown_activity(settings: Settings, *, quiet: bool) -> Settings:
    """Return settings that show requests and runs, unless configured otherwise."""
    from msgspec.structs import replace

    if quiet:
        return replace(settings, log_activity="off")
    return settings if settings.log_activity != "auto" else replace(settings, log_activity="on")


async def _run(
    settings: Settings, project: Project, *, reload: bool, show: bool, ending: Ending, progress: StartProgress
) -> int:
    with progress.step("loading langlog", ""):
        from langlog_backbone.context import open_backbone
        from langlog_backbone.embedded.servers import embedded_servers
        from langlog_backbone.probe import Probe
        from langlog_backbone.process.service import Service, run_services
        from langlog_backbone.process.settings import own_url
        from langlog_backbone.project.config import read_project
        from langlog_backbone.project.imports import prepare_process
        from langlog_executor.decider.service import DeciderService
        from langlog_executor.replay.service import ReplayService
        from langlog_executor.worker.graphs_service import GraphsService
        from langlog_executor.worker.pool import WorkerPoolService
        from langlog_gateway.service import GatewayService
        from langlog_projector.service import ProjectorService
        from langlog_scheduler.service import SchedulerService
        from msgspec.structs import replace

        from .figures import FiguresService
        from .health import HealthService
        from .reload import Reloaded, ReloadService

    given, began = settings, monotonic()
    if not settings.base_url:
        settings = replace(settings, base_url=own_url(settings))
    async with contextlib.AsyncExitStack() as stack:
        settings = await stack.enter_async_context(embedded_servers(settings, progress))
        with progress.step("opening the log and the read model", "log and read model opened"):
            backbone = await stack.enter_async_context(open_backbone(settings, local=True))
        projector = ProjectorService(backbone)
        progress.figures = lambda: _folding(projector)
        gateway = GatewayService(backbone, dev=True)
        pool = WorkerPoolService(backbone, beside=gateway.load)

        async def load_again(paths: frozenset[Path]) -> Reloaded:
            """Reload: first variables, which workers inherit; then the project's code in this process; then the graphs."""
            changed = read_project(settings.project)
            variables = prepare_process(changed)
            whole = await gateway.reload(changed, paths, all_of_it=variables)
            former = "the application and the handlers of the gateway do not load: the former ones stay in force"
            return Reloaded(await pool.reload(), None if whole else former)

        services: list[Service] = [
            projector,
            DeciderService(backbone),
            SchedulerService(backbone, None if given.redis_uri else began),
            pool,
            GraphsService(backbone),
            ReplayService(backbone),
            gateway,
        ]
        services.append(FiguresService(services[:], backbone))
        if settings.health_port:
            probe = Probe(backbone.pool, backbone.queue, backbone.log)
            services.append(HealthService(services[:], settings.host, settings.health_port, probe))
        if reload:
            services.append(ReloadService(project.root, settings.data_dir, load_again))
        steps = {
            pool.name: ("importing the graphs", f"graphs imported: {', '.join(project.graphs)}"),
            gateway.name: ("starting to listen", ""),
        }

        def ready() -> None:
            if projector.first_fold.events:
                progress.print_step(
                    f"{projector.first_fold.events:,} events of the log folded", projector.first_fold.seconds
                )
            progress.end()
            console = None if gateway.console is None else f"{_origin(given)}{gateway.console}"
            _print_started(given, project, f"{_origin(given)}{gateway.prefix}", console)
            if show:
                _open(console)
            click.echo(f"  started in {progress.seconds:.1f} s")

        def step(name: str) -> contextlib.AbstractContextManager[None]:
            return progress.step(*steps[name]) if name in steps else contextlib.nullcontext()

        return await run_services(services, ready=ready, ending=ending, step=step)


def _folding(projector: ProjectorService) -> str:
    """Return the progress of folding the log's content from before the start."""
    fold = projector.first_fold
    return f"folding events: {fold.events - fold.unfolded:,} of {fold.events:,}" if fold.unfolded else ""


def _print_started(settings: Settings, project: Project, address: str, console: str | None) -> None:
    """Print address, loaded graphs and data folder. Addresses of other servers are shown without passwords."""
    servers = {"log": settings.log_uri, "Postgres": settings.database_uri, "Redis": settings.redis_uri}
    where = ", ".join(f"{name} {_without_password(uri) if uri else 'embedded'}" for name, uri in servers.items())
    if not all(servers.values()):
        where = f"{settings.data_dir.resolve()}  ({where})"
    click.echo(f"langlog listens on {address}")
    if console is not None:
        click.echo(f"  console {console}")
    click.echo(f"  graphs  {', '.join(project.graphs)}  ({project.file})")
    click.echo(f"  data    {where}")
    if settings.studio_url:
        click.echo(f"  studio  {settings.studio_url.rstrip('/')}/studio/?baseUrl={address}")


def _origin(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls_cert_file else "http"
    return f"{scheme}://{host}:{settings.port}"


def _open(console: str | None) -> None:
    if console is None:
        click.echo("langlog: --open has no effect: the console is switched off", err=True)
    elif click.launch(console) != 0:
        click.echo(f"langlog: no browser could be opened; the console is at {console}", err=True)


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
