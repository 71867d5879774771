"""``langlog threads`` and ``langlog runs``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import options
from ..ids import as_uuid

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings

    from .listing import Listing
    from .table import Column, Row, Times

THREAD_STATUSES = ("idle", "busy", "interrupted", "error")
RUN_STATUSES = ("pending", "running", "error", "success", "timeout", "interrupted")
THREAD_MEMBERS = ("thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "interrupts")
RUN_MEMBERS = (
    "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status", "metadata", "multitask_strategy",
)  # fmt: skip
"""Members in lists and in ``--json``: the API's members except large ones (states, inputs)."""
LIMIT = 20
HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)")
"""``Name: value`` (RFC 9110, section 5)."""

Command = TypeVar("Command", bound=Callable[..., Any])


def shared(command: Command) -> Command:
    """Add the options that both lists have."""
    for option in (
        options.as_json,
        click.option("--wide", is_flag=True, help="Cut nothing, whatever the terminal's width."),
        click.option("--url", help="The server.  [LANGLOG_URL; that of langlog dev on this machine]"),
        click.option(
            "--header",
            "headers",
            multiple=True,
            metavar="'NAME: VALUE'",
            help="Send this header, such as 'Authorization: Bearer …'; may be repeated.  [LANGLOG_REQUEST_HEADERS]",
        ),
        click.option(
            "--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="Print at most so many."
        ),
        click.option("-f", "--follow", is_flag=True, help="Then print each that changes, until Ctrl-C."),
        options.until,
        options.since,
        click.option(
            "--metadata",
            multiple=True,
            metavar="KEY=TEXT",
            help="Only with this metadata, a text or an object in JSON; may be repeated.",
        ),
        click.option("--assistant", help="Only of this assistant, by its id."),
        click.option("--graph", help="Only of this graph."),
    ):
        command = option(command)
    return command


@click.command(short_help="List the threads of a server.")
@click.option("--status", type=click.Choice(THREAD_STATUSES), help="Only with this status.")
@click.option("--id-prefix", metavar="TEXT", help="Only those whose id begins so.")
@shared
def threads(status: str | None, id_prefix: str | None, **given: Any) -> None:
    """List the threads of a running server, the last changed first. --from and --to compare the last change.

    With --follow, the last changed thread is printed last, followed by each thread that changes.
    """
    if id_prefix is not None and not re.fullmatch(r"[0-9a-fA-F-]{1,36}", id_prefix):
        raise click.BadParameter(f"{id_prefix!r} is not the beginning of an id", param_hint="--id-prefix")
    conditions = {
        "status": status,
        "id_prefix": id_prefix and id_prefix.lower(),
        "updated_after": given["since"],
        "updated_before": given["until"],
        "sort_by": "updated_at",
        "select": THREAD_MEMBERS,
    }
    _list("threads", conditions, thread_columns, **given)


@click.command(short_help="List the runs of a server.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(RUN_STATUSES),
    help="Only with this status; may be repeated.",
)
@click.option("--thread", "thread_id", help="Only of this thread.")
@shared
def runs(statuses: tuple[str, ...], thread_id: str | None, **given: Any) -> None:
    """List the runs of a running server, the newest first. --from and --to compare the creation.

    With --follow, the newest run is printed last, followed by each run that begins, changes or ends.
    """
    conditions = {
        "status": list(statuses) or None,
        "thread_id": thread_id and as_uuid(thread_id, "--thread"),
        "created_after": given["since"],
        "created_before": given["until"],
        "select": RUN_MEMBERS,
    }
    _list("runs", conditions, run_columns, **given)


def thread_columns(times: Times) -> Sequence[Column]:
    from langlog_backbone.time.sources import machine_now

    from .table import Column, shown_time

    return [
        Column("THREAD", lambda row: str(row.get("thread_id", "")), "id"),
        Column("STATUS", lambda row: str(row.get("status", "")), least=len("interrupted")),
        Column("GRAPH", _graph, "cut", least=10),
        Column("CHANGED", lambda row: shown_time(row.get("updated_at"), times, machine_now())),
        Column("METADATA", _metadata, "cut"),
    ]


def run_columns(times: Times) -> Sequence[Column]:
    from langlog_backbone.time.sources import machine_now

    from .table import Column, shown_time, took

    return [
        Column("RUN", lambda row: str(row.get("run_id", "")), "id"),
        Column("STATUS", lambda row: str(row.get("status", "")), least=len("interrupted")),
        Column("GRAPH", _graph, "cut", least=10),
        Column("THREAD", lambda row: str(row.get("thread_id", "")), "id"),
        Column("CREATED", lambda row: shown_time(row.get("created_at"), times, machine_now())),
        Column("TOOK", lambda row: took(row, machine_now()), least=6),
    ]


def _graph(row: Row) -> str:
    return str((row.get("metadata") or {}).get("graph_id", ""))


def _metadata(row: Row) -> str:
    import msgspec

    metadata = row.get("metadata") or {}
    return " ".join(
        f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in metadata.items()
        if name not in ("graph_id", "assistant_id")
    )


def _list(
    kind: Any,
    conditions: dict[str, Any],
    columns: Callable[[Times], Sequence[Column]],
    *,
    graph: str | None,
    assistant: str | None,
    metadata: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    follow: bool,
    limit: int,
    headers: tuple[str, ...],
    url: str | None,
    wide: bool,
    as_json: bool,
) -> None:
    from langlog_backbone.process.environment import read_settings

    from ..services.running import run
    from .api import PAGE_MAX
    from .listing import Listing

    if follow and until is not None:
        raise click.UsageError("--follow shows what is yet to come: leave out --to.")
    if follow and limit > PAGE_MAX:
        raise click.UsageError(f"--follow begins with {PAGE_MAX:,} rows at most: give a smaller --limit.")
    wanted = {
        **conditions,
        "graph_id": graph,
        "assistant_id": assistant and as_uuid(assistant, "--assistant"),
        "metadata": given_metadata(metadata) or None,
    }
    settings = read_settings(url=url)
    address = address_of(settings)
    sent = dict(
        header(text, "LANGLOG_REQUEST_HEADERS") for text in settings.request_headers.splitlines() if text.strip()
    )
    sent |= dict(header(text, "--header") for text in headers)
    listed = Listing(kind, {name: x for name, x in wanted.items() if x is not None}, columns, limit, as_json, wide)
    run(_print(address, sent, listed, follow=follow))


async def _print(address: str, headers: dict[str, str], listing: Listing, *, follow: bool) -> int:
    from .api import NotAnswered, Server
    from .listing import follow_list, print_list

    try:
        async with Server(address, headers, lambda line: click.echo(line, err=True)) as server:
            await (follow_list if follow else print_list)(server, listing)
    except NotAnswered as error:
        click.echo(f"langlog: {error}", err=True)
        return 1
    return 0


def address_of(settings: Settings) -> str:
    """Return the URL of the server. Raises click.BadParameter."""
    import httpx
    from langlog_backbone.process.settings import own_url

    if not settings.url:
        return own_url(settings) + settings.mount_prefix
    try:
        parsed = httpx.URL(settings.url)
    except httpx.InvalidURL as error:
        raise click.BadParameter(f"{settings.url!r}: {error}", param_hint="--url, LANGLOG_URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise click.BadParameter(
            f"{settings.url!r} is not the address of a server, such as http://127.0.0.1:2024",
            param_hint="--url, LANGLOG_URL",
        )
    return settings.url


def header(text: str, where: str) -> tuple[str, str]:
    """Return name, in lower case, and value. Raises click.BadParameter, which does not repeat the text: it may be a secret."""
    match = HEADER.fullmatch(text.strip())
    if match is None or not match[2].isascii():
        raise click.BadParameter("a header is 'Name: value', in ASCII, such as 'x-api-key: …'", param_hint=where)
    return match[1].lower(), match[2]


def given_metadata(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the metadata of the options. Raises click.BadParameter."""
    import msgspec

    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if text.startswith("{"):
            try:
                given |= msgspec.json.decode(text, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise click.BadParameter(f"{text!r}: {error}", param_hint="--metadata") from None
        elif not equals or not name:
            raise click.BadParameter(f"{text!r} is neither KEY=TEXT nor an object in JSON", param_hint="--metadata")
        else:
            given[name] = value
    return given
