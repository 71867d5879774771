"""``langlog why RUN_ID``: explains why a run is not moving; ``langlog why SERVICE``: why a service is behind or not ready.
Reads Postgres, Redis and the log's ends; changes nothing.

The id of a thread leads to its run that is in flight, or else to its newest. What is found out, and what it means, is
`langlog_backbone.operation.explain_run` and `explain_service`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options
from ..ids import as_uuid, other_kind

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.log import Log
    from langlog_backbone.operation.explain_service import ServiceName
    from langlog_backbone.process.settings import Settings
    from langlog_backbone.redis.client import RedisPipe

CHAIN = 5
"""Maximum number of runs, each waiting for the next, that are followed."""


@click.command(short_help="Explain why a run, or a service, is not moving.")
@click.argument("run_id", metavar="RUN_ID|SERVICE")
@options.data_dir
def why(run_id: str, data_dir: Path | None) -> None:
    """Explain why a run is not moving: what it waits for, which worker holds it, which servers are unavailable.

    The id of a thread leads to its run in flight, or else to its newest. Exit code 1: there is no such run.

    SERVICE is gateway, decider, projector, scheduler, workers, executor, log, postgres or redis: report why it is behind or not ready, and
    what to do. Exit code 1: something is wrong with it.

    Asks LOG_URI, DATABASE_URI and REDIS_URI, or the embedded servers of a data folder. Where no langlog dev runs on that, what it
    left is explained.
    """
    from langlog_backbone.operation.explain_service import SERVICES
    from langlog_backbone.process.environment import read_settings
    from langlog_backbone.process.logging import configure_logging

    from ..services.running import run

    service = next((name for name in SERVICES if name == run_id.lower()), None)
    if service is None:
        run_id = as_uuid(run_id, "RUN_ID")
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_why(settings, run_id, service))


async def _why(settings: Settings, run_id: str, service: ServiceName | None) -> int:
    import msgspec
    from langlog_backbone.embedded.servers import EmbeddedRedis, is_in_use
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.read_model.same_log import check_same_log
    from langlog_backbone.redis.client import RedisPipe

    from ..whereabouts import log_and_read_model

    folder = settings.data_dir.absolute()
    away = not settings.redis_uri and not is_in_use(folder)
    async with log_and_read_model(settings, compared=False) as (settings, log):
        settings = msgspec.structs.replace(settings, redis_uri=settings.redis_uri or EmbeddedRedis(folder).uri)
        if away:
            click.echo(
                f"No langlog runs on {settings.data_dir}, so that nobody goes on with its runs: start langlog dev there. "
                "This is what it left:"
            )
        pool = await connect_pool(settings, size=1)
        pipe = RedisPipe(settings)
        try:
            await check_same_log(pool.fetch, log, settings.projection)
            if service is not None:
                return await _explain_service(pool, log, pipe, service)
            return await _explain(settings, pool, log, pipe, run_id)
        finally:
            await pipe.stop()
            await pool.close()


async def _explain(settings: Settings, pool: asyncpg.Pool, log: Log, pipe: RedisPipe, run_id: str) -> int:
    from langlog_backbone.operation.explain_run import explain, gather, run_of

    seen: list[str] = []
    missing = False
    wanted: str | None = await run_of(pool, run_id) or run_id
    if wanted != run_id:
        click.echo(f"{run_id} is a thread; this is about its run {wanted}.")
    while wanted is not None and wanted not in seen and len(seen) < CHAIN:
        facts = await gather(settings, pool, log, pipe, wanted)
        for n, line in enumerate(explain(wanted, facts, settings)):
            click.echo(f"{'  ' * len(seen)}{'' if n or not seen else f'{wanted}: '}{line}")
        if facts.run is None and not seen:
            missing = True
            for line in await other_kind(pool, wanted, "run"):
                click.echo(line)
        seen.append(wanted)
        wanted = None if facts.run is None or facts.run.attempt else facts.run.ahead
    return 1 if missing else 0


async def _explain_service(pool: asyncpg.Pool, log: Log, pipe: RedisPipe, service: ServiceName) -> int:
    from langlog_backbone.operation.explain_service import explain, gather

    explanation = explain(service, await gather(pool, log, pipe, {}))
    for line in explanation.lines:
        click.echo(line)
    return 0 if explanation.well else 1


def existing(settings: Settings) -> Settings:
    """Return settings with all URIs: the configured ones, else those of the data folder's embedded servers. Raises
    StartError without either."""
    import msgspec
    from langlog_backbone.embedded.servers import LOG_FILE, EmbeddedPostgres, EmbeddedRedis, is_in_use
    from langlog_backbone.process.service import StartError

    folder = settings.data_dir.absolute()
    addresses = {}
    if not (settings.log_uri and settings.database_uri and settings.redis_uri):
        if not (folder / LOG_FILE).is_file() and not settings.log_uri:
            raise StartError(
                f"there is no log in {settings.data_dir} (name the data folder of langlog dev with --data-dir, or set LOG_URI)"
            )
        if not (settings.database_uri and settings.redis_uri) and not is_in_use(folder):
            raise StartError(
                f"no langlog runs on {settings.data_dir}, and Postgres and Redis run with it: start langlog dev there, name another"
                " folder with --data-dir, or set DATABASE_URI and REDIS_URI"
            )
        addresses["log_uri"] = settings.log_uri or f"sqlite://{folder / LOG_FILE}"
        addresses["database_uri"] = settings.database_uri or EmbeddedPostgres(folder).uri
        addresses["redis_uri"] = settings.redis_uri or EmbeddedRedis(folder).uri
    return msgspec.structs.replace(settings, **addresses)
