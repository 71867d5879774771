"""``langlog import``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings

    from .carry import Selection
    from .report import Report

KINDS = ("assistants", "threads", "store", "crons")
POSTGRES = ("postgresql", "postgres")
AT_ONCE = 4


class Kinds(click.ParamType):  # type: ignore[type-arg]
    """A parameter of names of kinds, separated by commas."""

    name = "KIND,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(","))
        for name in names:
            if name not in KINDS:
                self.fail(f"{name!r} cannot be imported: choose from {', '.join(KINDS)}", param, ctx)
        return names


@click.command("import", short_help="Import the data of another server.")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="ADDRESS",
    help="What to read: http(s)://… of a server of this API, or postgresql://… of the published Postgres saver's tables.",
)
@click.option("--to", "url", help="The langlog server to write to.  [LANGLOG_URL; that of langlog dev on this machine]")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this header to the target; may be repeated.  [LANGLOG_REQUEST_HEADERS]",
)
@click.option(
    "--from-header",
    "source_headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this header to the source, such as 'x-api-key: …'; may be repeated.  "
    "[LANGLOG_SOURCE_HEADERS, or a file named by LANGLOG_SOURCE_HEADERS_FILE]",
)
@click.option("--only", type=Kinds(), default=KINDS, help=f"Of {', '.join(KINDS)}.  [all]")
@click.option(
    "--threads-where", multiple=True, metavar="KEY=TEXT", help="Only threads with this metadata; may be repeated."
)
@click.option("--since", type=options.Moment(), help=f"Only threads and items changed since. {options.TIME}.")
@click.option("--graph", metavar="ID", help="Graph of threads that name none, as those of the Postgres saver.")
@click.option("--enable-crons", is_flag=True, help="Crons make runs here from now on; without this they are paused.")
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=AT_ONCE, show_default=True, help="Threads at the same time."
)
@click.option("--dry-run", is_flag=True, help="Read, count and check; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def import_(
    source: str,
    url: str | None,
    headers: tuple[str, ...],
    source_headers: tuple[str, ...],
    only: tuple[str, ...],
    threads_where: tuple[str, ...],
    since: datetime | None,
    graph: str | None,
    *,
    enable_crons: bool,
    at_once: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import assistants, threads, the store and crons of another server into a running langlog server.

    Objects keep their ids, times and versions. Existing objects are left out: start the same import again after it was stopped, or
    to import later changes. At the end a report lists objects that could not be imported, and why; then the exit code is 1.
    """
    from langlog_backbone.process.environment import read_settings

    from ..lists.commands import given_metadata
    from ..services.running import run
    from .carry import Selection

    settings = read_settings(url=url)
    selection = Selection(only, given_metadata(threads_where), since, enable_crons, graph)
    sent = _headers(settings.request_headers, "LANGLOG_REQUEST_HEADERS", headers, "--header")
    read = _headers(settings.source_headers, "LANGLOG_SOURCE_HEADERS", source_headers, "--from-header")
    run(_import(source, settings, sent, read, selection, at_once, dry=dry_run, as_json=as_json))


def _headers(texts: str, variable: str, given: tuple[str, ...], option: str) -> dict[str, str]:
    from ..lists.commands import header

    sent = dict(header(text, variable) for text in texts.splitlines() if text.strip())
    return sent | dict(header(text, option) for text in given)


async def _import(
    source: str,
    settings: Settings,
    headers: dict[str, str],
    source_headers: dict[str, str],
    selection: Selection,
    at_once: int,
    *,
    dry: bool,
    as_json: bool,
) -> int:
    from ..lists.commands import address_of
    from .http import JsonServer, Unanswered
    from .report import Report, print_report

    scheme = source.partition("://")[0].lower()
    if scheme not in ("http", "https", *POSTGRES):
        raise click.BadParameter(
            f"{_shown(source)!r} is no address such as http://127.0.0.1:2025 or postgresql://host/database",
            param_hint="--from",
        )
    report = Report(_shown(source), dry=dry)
    try:
        async with JsonServer(address_of(settings), headers, "target", "--to") as target:
            if scheme in POSTGRES:
                from .postgres_source import PostgresSource

                async with PostgresSource(source, report) as tables:
                    await _carry(tables, target, report, selection, at_once)
            else:
                from .api_source import ApiSource

                async with JsonServer(_plain(source), source_headers, "source", "--from") as server:
                    await _carry(ApiSource(server), target, report, selection, at_once)
    except Unanswered as error:  # before anything was read
        report.stopped = str(error)
    print_report(report, as_json=as_json)
    return 1 if report.failed else 0


async def _carry(source: Any, target: Any, report: Report, selection: Selection, at_once: int) -> None:
    """Import everything, or until it cannot continue: then the report has the reason."""
    import asyncio

    from langlog_backbone.time.clock import iso
    from langlog_backbone.time.sources import machine_now

    from ..progress import shown_progress
    from .carry import Carrying
    from .http import Unanswered
    from .target import Target

    written = Target(target, report.source, iso(machine_now()))
    with shown_progress("importing") as progress:
        try:
            await Carrying(source, written, report, selection, at_once, progress).run()
        except* Unanswered as errors:
            report.stopped = str(_first(errors))
        except* asyncio.CancelledError:
            report.stopped = "interrupted: start the same import again, it goes on"


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _plain(url: str) -> str:
    """Return the address, if it is a valid URL. Raises click.BadParameter."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise click.BadParameter(f"{_shown(url)!r}: {error}", param_hint="--from") from None
    if not parsed.host or parsed.query or parsed.fragment or parsed.userinfo:
        raise click.BadParameter(
            f"{_shown(url)!r} is no plain address: credentials go into LANGLOG_SOURCE_HEADERS", param_hint="--from"
        )
    return url


def _shown(address: str) -> str:
    """Return the address without credentials and options."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return address.partition("://")[0] + "://…"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
