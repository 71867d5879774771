"""The positions of a thread's events: the packed form of the read model's index of positions. Pure.

All events of a thread are in one partition of ``run-events``. The index holds, for each thread, run and *bucket* of `SPAN`
offsets, two bytes an event: its place in the bucket and the code of its type, in log order. What buckets hold depends on the
log alone, not on how it was cut into batches, so that a rebuild gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .envelope import PREFIX

SPAN = 256
"""Number of offsets in one bucket."""

CODES: dict[str, int] = {
    "command.rejected": 1,
    "command.repeated": 2,
    "thread.created": 3,
    "thread.updated": 4,
    "thread.deleted": 5,
    "thread.state_updated": 6,
    "checkpoint.deleted": 7,
    "run.created": 8,
    "run.dispatched": 9,
    "run.cancel_requested": 10,
    "run.succeeded": 11,
    "run.failed": 12,
    "run.cancelled": 13,
    "run.timed_out": 14,
    "run.rolled_back": 15,
    "run.deleted": 16,
    "webhook.attempted": 17,
    "run.started": 18,
    "run.frames": 19,
    "checkpoint.written": 20,
    "checkpoint.writes": 21,
    "checkpoint.part": 22,
    "parked.released": 23,
    "run.result_part": 24,
    "checkpoint.steps": 25,
    "webhook.due_again": 26,
}
"""Type of an event without its version -> its stored code. Never change a code; append new ones. Other types
have the code 0, which matches every filter; the reader then checks the type of the record."""

NAMES = {code: name for name, code in CODES.items()}


class IndexEntry(NamedTuple):
    offset: int
    run_id: str
    """Id of the run; empty for an event of the thread itself."""
    code: int


HELD: dict[str, frozenset[str]] = {
    "checkpoint.steps": frozenset(("checkpoint.written", "checkpoint.writes")),
    "run.created": frozenset(("run.dispatched",)),
}
"""Types whose records may contain events of other types: a filter for those matches them too."""


def unversioned(type_name: str) -> str:
    """``run.created.v1`` -> ``run.created``."""
    name, dot, version = type_name.rpartition(".v")
    return name if dot and version.isdigit() else type_name


_codes: dict[str, int] = {}


def pack(offset: int, type_name: str) -> bytes:
    """Return the two bytes of an event. ``type`` as in `Event.TYPE`."""
    code = _codes.get(type_name)
    if code is None:
        code = _codes[type_name] = CODES.get(unversioned(type_name), 0)
    return bytes((offset % SPAN, code))


def unpack(bucket: int, run_id: str, entries: bytes) -> Iterator[IndexEntry]:
    start = bucket * SPAN
    for n in range(0, len(entries), 2):
        yield IndexEntry(start + entries[n], run_id, entries[n + 1])


def wanted(types: tuple[str, ...]) -> Callable[[int], bool]:
    """Return a predicate: may a code belong to one of the requested types? No requested types: always true."""
    if not types:
        return lambda code: True
    codes = frozenset(code for name, code in CODES.items() if any(_may_match(x, name) for x in types))
    return lambda code: code == 0 or code in codes


def matches(type_name: str, types: tuple[str, ...]) -> bool:
    """Return whether an event's type (``langlog.run.created.v1``, or without ``langlog.``) is requested: by its full name, its name
    without the version, or by a prefix that ends in a dot (``langlog.run.``). No requested types: true."""
    if not types:
        return True
    short = type_name.removeprefix(PREFIX)
    return any(_matches(x, short) for x in types)


def _matches(requested: str, short: str) -> bool:
    if requested.endswith("."):
        return (PREFIX + short).startswith(requested) or short.startswith(requested)
    requested, name = requested.removeprefix(PREFIX), unversioned(short)
    return requested in (short, name) or unversioned(requested) in HELD.get(name, ())


def _may_match(requested: str, name: str) -> bool:
    if requested.endswith("."):
        return (PREFIX + name).startswith(requested) or name.startswith(requested)
    wanted_name = unversioned(requested.removeprefix(PREFIX))
    return wanted_name == name or wanted_name in HELD.get(name, ())
