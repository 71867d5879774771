"""Pages that come from the code. They are written when the site is built; in the repository, a few lines in the place of a page that
others link to say where else the same stands."""

from __future__ import annotations

from collections.abc import Callable

from . import cli_page, events_page, http_api

PAGES: dict[str, Callable[[], str]] = {
    **http_api.pages(),
    "reference/cli.md": cli_page.page,
    "reference/events.md": events_page.events,
    "reference/commands.md": events_page.commands,
}
"""Path of the page in the site -> function that writes it."""
