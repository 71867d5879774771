"""Pages that come from the code. They are written when the site is built, and are not in the repository."""

from __future__ import annotations

from collections.abc import Callable

PAGES: dict[str, Callable[[], str]] = {}
"""Path of the page in the site -> what writes it."""
