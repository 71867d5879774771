"""Search for the one record that Postgres fails at by an internal error, while it takes those of other keys.

An internal error (a broken page, a broken index) is the server's, and all records wait for an operator to mend it. But rows of one
key alone may be on the broken page, and the other keys must not wait for it. So the records are tried, key by key, in transactions
that are rolled back. A record is at fault only if Postgres takes one of the same type and another key: an index that is broken as a
whole refuses them all, and parks none. One that changes no row (a duplicate, one of a parked key, the end of a stateless run that began
just before) shows nothing.

Pure, but for the tries. Keys are independent of each other, so their records are tried apart, in the order of the log: a fold drops an
event whose cause is before the last one's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from langlog_backbone.log import Record
from langlog_backbone.process.unavailable import is_internal
from langlog_schemas import envelope

WITNESSES_MAX = 8
"""Maximum number of other keys whose record of the same type is tried."""


class Trial(NamedTuple):
    """The error by which Postgres refuses the records, or None if it takes them."""

    error: Exception | None
    wrote: bool
    """Whether they change rows of what they are about, and none is parked."""


Try = Callable[[Sequence[Record]], Awaitable[Trial]]
"""Tries to write the records. Nothing stays written."""


async def record_at_fault(records: Sequence[Record], attempt: Try) -> Record | None:
    """Return the first record of the key that Postgres fails at; None if it fails at other keys as well, or if nothing shows that it
    does not."""
    keys: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        keys.setdefault((record.topic, record.key), []).append(record)
    suspects = list(keys)
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        among = set(half)
        fails = await _fails([record for record in records if (record.topic, record.key) in among], attempt)
        suspects = half if fails else suspects[len(half) :]
    of_key = keys[suspects[0]]
    for n, suspect in enumerate(of_key):
        if await _fails(of_key[: n + 1], attempt):
            witnesses = _others(suspect, list(keys.values()))
            return suspect if await _any_taken(witnesses, attempt) else None
    return None


async def _fails(records: Sequence[Record], attempt: Try) -> bool:
    error = (await attempt(records)).error
    return error is not None and is_internal(error)


async def _any_taken(witnesses: Sequence[Sequence[Record]], attempt: Try) -> bool:
    for witness in witnesses:
        trial = await attempt(witness)
        if trial.error is None and trial.wrote:
            return True
    return False


def _others(suspect: Record, keys: Sequence[Sequence[Record]]) -> list[Sequence[Record]]:
    """Return, of other keys, the records up to the first of the suspect's type."""
    type_name = envelope.type_of(suspect.headers)
    witnesses: list[Sequence[Record]] = []
    for records in keys:
        if (records[0].topic, records[0].key) != (suspect.topic, suspect.key):
            types = [envelope.type_of(record.headers) for record in records]
            if type_name in types:
                witnesses.append(records[: types.index(type_name) + 1])
    return witnesses[:WITNESSES_MAX]
