"""Histories for people: notes and progress go to stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..progress import shown_progress

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.history.thread_history import HistoryReader
    from langlog_backbone.log import Log


def history_reader(log: Log, pool: asyncpg.Pool | None) -> HistoryReader:
    """Return a reader of histories. ``pool`` None: it only scans the log."""
    from langlog_backbone.history.thread_history import HistoryReader

    return HistoryReader(log, pool, note=lambda text: click.echo(text, err=True), progress=shown_progress)
