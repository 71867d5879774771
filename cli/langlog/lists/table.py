"""Rows of objects as a table that fits the width of a terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import click
from langlog_backbone.process.activity import shown_in_line

Row = dict[str, Any]
Times = Literal["age", "clock", "iso"]
"""Format of times: age, time of day, or ISO 8601."""

GAP = "  "
CUT_MIN = 8
"""Minimum width of a column that can be truncated; a narrower one is left out."""
CELL_CHARACTERS_MAX = 2_000
"""Maximum length of a cell, however wide the table may be."""
ID_CHARACTERS = 36
COLOURS: dict[str, dict[str, Any]] = {
    "busy": {"fg": "cyan"},
    "running": {"fg": "cyan"},
    "success": {"fg": "green"},
    "interrupted": {"fg": "yellow"},
    "error": {"fg": "red"},
    "timeout": {"fg": "red"},
    "given up": {"fg": "red"},
    "pending": {"dim": True},
    "deleted": {"dim": True},
}
"""Colours of statuses; others have none."""


class Column(NamedTuple):
    title: str
    cell: Callable[[Row], str]
    shrink: Literal["never", "id", "cut"] = "never"
    """How the column shrinks if the table is too wide: an id to its first eight and last four characters, a text by truncation."""
    least: int = 0
    """Minimum width: widths of a followed list should not change with every line."""


class Table:
    """Formats rows that arrive in pages. Columns grow with their content, and never shrink.

    ``width``: of the terminal, in characters; None: nothing is truncated.
    """

    def __init__(self, columns: Sequence[Column], width: int | None) -> None:
        self._columns = columns
        self._width = width
        self._widths = [max(columns_of(column.title), column.least) for column in columns]
        self._begun = False

    def lines(self, rows: Sequence[Row]) -> Iterator[str]:
        """Return the rows, coloured by their status; before the first ones, the titles."""
        table = [[shown_in_line(column.cell(row), CELL_CHARACTERS_MAX) for column in self._columns] for row in rows]
        for cells in table:
            self._widths = [max(width, columns_of(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        widths = fitted(self._columns, self._widths, self._width)
        if not self._begun:
            self._begun = True
            yield click.style(self._line([column.title for column in self._columns], widths), bold=True)
        for row, cells in zip(rows, table, strict=True):
            yield self._line(cells, widths, COLOURS.get(str(row.get("status"))))

    def _line(self, cells: Sequence[str], widths: Sequence[int], style: dict[str, Any] | None = None) -> str:
        parts = []
        for column, cell, width in zip(self._columns, cells, widths, strict=True):
            if width == 0:
                continue
            text = cell
            if columns_of(cell) > width:
                text = short_id(cell) if column.shrink == "id" and len(cell) == ID_CHARACTERS else cell
                text = cut(text, width)
            padding = " " * (width - columns_of(text))
            parts.append((click.style(text, **style) if style and column.title == "STATUS" else text) + padding)
        return GAP.join(parts).rstrip()


def fitted(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """Return widths with which a line is no longer than ``width``: ids are shortened, the last first, then texts are cut,
    then columns are left out from the end (0). The first column stays."""
    result = list(widths)
    if width is None:
        return result
    backwards = range(len(columns) - 1, -1, -1)

    def over() -> int:
        kept = [n for n in result if n]
        return sum(kept) + len(GAP) * (len(kept) - 1) - width

    for at in backwards:  # padding is dropped first
        if columns[at].shrink == "cut" and over() > 0 and at == len(columns) - 1:
            left = result[at] - over()
            result[at] = left if left >= CUT_MIN else 0
    for at in backwards:
        if columns[at].shrink == "id" and over() > 0:
            result[at] = min(result[at], len(short_id("x" * ID_CHARACTERS)))
    for at in backwards:
        if columns[at].shrink == "cut" and over() > 0 and result[at]:
            result[at] = max(result[at] - over(), CUT_MIN)
    for at in backwards:
        if at and over() > 0:
            result[at] = 0
    result[0] = max(min(result[0], width), 1)
    return result


def short_id(id: str) -> str:
    """Return the beginning, by which ``--id-prefix`` finds it, and the end, which differs between neighbours."""
    return f"{id[:8]}…{id[-4:]}"


def columns_of(text: str) -> int:
    """Return the width of a text in columns of a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(sign) for sign in text)


def _columns(sign: str) -> int:
    return 0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return a text truncated to a width, with an ellipsis."""
    if columns_of(text) <= width:
        return text
    taken, kept = 0, []
    for sign in text:
        taken += _columns(sign)
        if taken > width - 1:
            break
        kept.append(sign)
    return "".join(kept) + "…"


def shown_time(text: Any, times: Times, now: datetime) -> str:
    """Return a time of the API for people; any other text unchanged."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return str(text or "")
    match times:
        case "age":
            return span((now - time).total_seconds())
        case "clock":
            return time.astimezone().strftime("%H:%M:%S")
        case "iso":
            return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """Return a duration in its largest unit, in the format of ``--from``: 40s, 12m, 3h, 5d."""
    seconds = max(seconds, 0.0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def took(row: Row, now: datetime) -> str:
    """Return the time from the creation of a run to its end, or until now."""
    try:
        begun, changed = (datetime.fromisoformat(row[name]) for name in ("created_at", "updated_at"))
    except (KeyError, TypeError, ValueError):
        return ""
    ended = row.get("status") not in ("pending", "running")
    seconds = ((changed if ended else now) - begun).total_seconds()
    return f"{max(seconds, 0.0):.1f}s" if seconds < 60 else span(seconds)
