"""Reports environment variables that look like langlog's and are not read: one line at the start for each, with the nearest real one.

Otherwise a mistyped variable would silently leave a default in place.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click
import structlog
from langlog_backbone.process.environment import FILE_SUFFIX, SECRETS, VARIABLES
from langlog_backbone.process.settings import Settings

if TYPE_CHECKING:
    from langlog_backbone.project.config import Project

PREFIX = "LANGLOG_"
ALIKE = 0.6
"""Similarity (`difflib`'s ratio) of the parts after the prefix from which a name counts as a typo of another."""
ALIKE_WHOLE = 0.9
"""Similarity of a whole name with a mistyped prefix: other programs' variables must not count as langlog's."""

NOT_FROM_ENV = "langlog reads its settings before 'env'; set it where you start langlog"

logger = structlog.get_logger(__name__)


def unknown_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Return (variable, nearest known one or None) for each that is not read, by name.

    ``LANGLOG_PORT`` leads to ``PORT``, which has no prefix; ``LANGLGO_HOST`` and ``langlog_host`` to ``LANGLOG_HOST``.
    """
    known = {name for names in VARIABLES.values() for name in names}
    known |= {name + FILE_SUFFIX for field in SECRETS for name in VARIABLES[field]}
    behind = {name.removeprefix(PREFIX): name for name in known}
    own = [name for name in known if name.startswith(PREFIX)]
    for name in sorted(set(environ) - known):
        if name.startswith(PREFIX):
            near = difflib.get_close_matches(name.removeprefix(PREFIX), behind, n=1, cutoff=ALIKE)
            yield name, behind[near[0]] if near else None
        elif near := difflib.get_close_matches(name.upper(), own, n=1, cutoff=ALIKE_WHOLE):
            yield name, near[0]


def warn_of_project_variables(settings: Settings, project: Project) -> None:
    """Warn, like `warn_of_unknown_variables`, of those in ``env`` of langgraph.json: they reach the project's code, and no setting."""
    own = {name for names in VARIABLES.values() for name in names if name.startswith(PREFIX)}
    given = {name: value for name, value in project.environment().items() if name not in os.environ}
    for name in sorted(own & set(given)):
        if settings.log_json:
            logger.warning("settings.variable_without_effect", variable=name, means=NOT_FROM_ENV)
        else:
            click.echo(
                f"langlog: {project.file.name}: env: the variable {name!r} has no effect: {NOT_FROM_ENV}", err=True
            )
    warn_of_unknown_variables(settings, {name: value for name, value in given.items() if name.startswith(PREFIX)})


def warn_of_unknown_variables(settings: Settings, environ: Mapping[str, str] | None = None) -> None:
    """Print a line on stderr for each unknown variable; with LOG_JSON, log an event for each."""
    for name, near in unknown_variables(os.environ if environ is None else environ):
        if settings.log_json:
            logger.warning("settings.unknown_variable", variable=name, did_you_mean=near)
        else:
            hint = f" (did you mean {near!r}?)" if near else ""
            click.echo(f"langlog: the variable {name!r} is not known{hint}", err=True)
