"""Permissions of a cron's runs, as the project's authorization handlers granted them; stored with the cron (wire contract
§10 and §18). Pure.

A gateway calls the handlers when a cron is created or patched; schedulers, which have no handlers, apply the result each time the cron
fires. Handlers may also change a run's metadata and kwargs: those changes are kept as a list and applied to every run of the cron.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

NOT_SET = Raw(b"")


class ValueChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member that a handler set or removed."""

    path: list[str]
    """Names of the members that lead to it, outermost first."""
    value: Raw = NOT_SET
    """Its new value, as JSON; absent: the handler removed the member."""


class CronAuthority(msgspec.Struct, frozen=True, omit_defaults=True):
    """The handlers' result for the runs of a cron."""

    thread: dict[str, Any] | None = None
    """Filter of ``threads.create_run``; the decider checks it against the thread at each run."""
    assistant: dict[str, Any] | None = None
    """Filter that the assistant must match when the cron fires."""
    changes: list[ValueChange] = []
    """Changes to ``{"metadata": …, "kwargs": …}`` of each run."""


def changes_between(before: Any, after: Any, path: Sequence[str] = ()) -> Iterator[ValueChange]:
    """Yield the changes that turn ``before`` into ``after``. Objects are compared member by member, other values as a whole."""
    for name in before:
        if name not in after:
            yield ValueChange([*path, name])
    for name, value in after.items():
        if name in before and isinstance(value, dict) and isinstance(before[name], dict):
            yield from changes_between(before[name], value, (*path, name))
        elif name not in before or msgspec.json.encode(before[name]) != msgspec.json.encode(value):
            yield ValueChange([*path, name], Raw(msgspec.json.encode(value)))


def apply_changes(target: dict[str, Any], changes: Sequence[ValueChange]) -> None:
    """Apply the changes to ``target`` in place. Missing objects on a path are created."""
    for change in changes:
        *outer, name = change.path
        inner = target
        for step in outer:
            child = inner.get(step)
            if not isinstance(child, dict):
                child = inner[step] = {}
            inner = child
        if change.value:
            inner[name] = msgspec.json.decode(change.value)
        else:
            inner.pop(name, None)
