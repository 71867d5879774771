"""A list on the terminal: once, or followed by changes. Queries the server only; what is shown is what the caller may see."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from .api import Kind, Server
    from .table import Column, Row, Times

REMEMBERED = 10_000
"""Maximum number of printed rows that a followed list remembers: the feed may send one twice, and a deletion has only the id."""
NARROWEST = 20


class Listing(NamedTuple):
    """Options of a list."""

    kind: Kind
    conditions: dict[str, Any]
    """Conditions in the body of the search."""
    columns: Callable[[Times], Sequence[Column]]
    limit: int
    as_json: bool
    wide: bool

    @property
    def id(self) -> str:
        """The member with the id of a row."""
        return f"{self.kind.removesuffix('s')}_id"

    def width(self) -> int | None:
        """Width of the terminal; None in a pipe, where nothing is truncated."""
        return None if self.wide else terminal_width()


def terminal_width() -> int | None:
    """Return the width of the terminal, in characters; None in a pipe."""
    return max(shutil.get_terminal_size().columns, NARROWEST) if sys.stdout.isatty() else None


async def print_list(server: Server, listing: Listing) -> None:
    """Print the rows, newest first. Raises NotAnswered."""
    from ..progress import shown_progress
    from .api import PAGE_MAX

    printer = Printer(listing, "age")
    total = listing.limit
    with contextlib.ExitStack() as stack:
        progress = None
        if listing.limit > PAGE_MAX and not sys.stdout.isatty():
            total = min(total, await server.count(listing.kind, listing.conditions))
            progress = stack.enter_context(shown_progress(listing.kind))
        done = 0
        async for rows in server.pages(listing.kind, listing.conditions, listing.limit):
            printer.print(rows)
            done += len(rows)
            if progress is not None:
                progress(done, max(total, done))


async def follow_list(server: Server, listing: Listing) -> None:
    """Print the newest rows, the newest last, and then each that changes. Does not end by itself. Raises NotAnswered."""
    from .api import PAUSE_S, Unavailable

    printer = Printer(listing, "clock")
    listed = False

    async def list_again() -> None:
        async for rows in server.pages(listing.kind, listing.conditions, listing.limit):
            printer.print_changed(rows[::-1])

    async with contextlib.aclosing(server.changes(listing.kind)) as changes:
        async for name, data in changes:
            while not listed or listing.kind in data.get("stale", []):
                try:
                    await list_again()
                except Unavailable:
                    if not listed:
                        raise
                    await asyncio.sleep(PAUSE_S)  # the feed is there: so will be the list
                else:
                    listed = True
                    break
            if name == "changes":
                rows = data.get(listing.kind, [])
                printer.print_changed([row for row in rows if fits(row, listing.conditions)])
                printer.print_deleted([x["id"] for x in data.get("deleted", []) if f"{x.get('kind')}s" == listing.kind])


class Printer:
    """Prints rows as a table or as JSON, and knows which it has printed."""

    def __init__(self, listing: Listing, times: Times) -> None:
        from .table import Table

        width = listing.width()
        self._listing = listing
        self._table = Table(listing.columns("iso" if width is None else times), width)
        self._printed: dict[str, tuple[Any, Any]] = {}

    def print(self, rows: Sequence[Row]) -> None:
        import msgspec

        lines = (
            (msgspec.json.encode(row).decode() for row in rows) if self._listing.as_json else self._table.lines(rows)
        )
        for line in lines:
            click.echo(line)

    def print_changed(self, rows: Sequence[Row]) -> None:
        """Print rows that differ from their last printed state."""
        changed = []
        for row in rows:
            id, now = str(row.get(self._listing.id)), (row.get("status"), row.get("updated_at"))
            if self._printed.pop(id, None) != now:
                changed.append(row)
            self._printed[id] = now
            if len(self._printed) > REMEMBERED:
                del self._printed[next(iter(self._printed))]
        if changed or not self._printed:
            self.print(changed)

    def print_deleted(self, ids: Sequence[str]) -> None:
        """Print the deletion of rows that were printed before."""
        gone = [id for id in ids if self._printed.pop(id, None) is not None]
        self.print([{self._listing.id: id, "status": "deleted"} for id in gone]) if gone else None


def fits(row: Row, conditions: Mapping[str, Any]) -> bool:
    """Return whether a row of the feed is one that the search would return, by the conditions that a list which is followed can have."""
    metadata = row.get("metadata") or {}
    for name, wanted in conditions.items():
        match name:
            case "status":
                fit = row.get("status") in (wanted if isinstance(wanted, list) else [wanted])
            case "graph_id":
                fit = metadata.get("graph_id") == wanted
            case "assistant_id":
                fit = wanted in (row.get("assistant_id"), metadata.get("assistant_id"))
            case "thread_id":
                fit = row.get("thread_id") == wanted
            case "id_prefix":
                fit = str(row.get("thread_id")).startswith(wanted)
            case "metadata":
                fit = contains(metadata, wanted)
            case _:  # order, members, and times that have begun
                fit = True
        if not fit:
            return False
    return True


def contains(whole: Any, part: Any) -> bool:
    """Return whether ``whole`` contains ``part``, like Postgres' ``@>`` on JSON below the top: objects by member, arrays by element."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and contains(whole[name], x) for name, x in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(y, x) for y in whole) for x in part)
    return bool(whole == part) and isinstance(whole, bool) == isinstance(part, bool)
