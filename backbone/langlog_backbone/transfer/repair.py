"""Makes the offsets of ``commands`` continue where the topic was deleted and made again, or has lost its end.

Deciders and projectors pass over commands at or below the last one that was decided, so the partition gets empty records up to there, then
the commands that it holds already, which no decider has seen, once more; then everything before them is deleted.

    0 … end: new commands │ empty records up to the last decided command │ the new commands again
    └───────────────────────── deleted ─────────────────────────────────┘

What was appended to the former topic and not decided is lost with it; events, and what was folded from them, are not.

Concurrency: no decider may run. Death: run it again; a command that was copied already then stands there twice, with one id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import structlog
from langlog_schemas import commands as cmd

from ..log import Log, NewRecord, Record
from ..log.kafka.copy_target import CopyTarget

logger = structlog.get_logger(__name__)

PAGE_RECORDS = 500
"""Number of commands that are read and appended at once."""


class Repaired(NamedTuple):
    partitions: int
    """Number of partitions that were repaired."""
    copied: int
    """Number of commands that were appended again."""


async def repair_commands(log: CopyTarget, last: Mapping[int, int]) -> Repaired:
    """Make each partition of ``commands`` end beyond the last command that was decided (``last``: partition -> offset).

    Raises LogFault, LogUnavailable, AppendUnknown.
    """
    starts, ends = await log.start_offsets(cmd.TOPIC), await log.end_offsets(cmd.TOPIC)
    partitions = copied = 0
    for part, offset in sorted(last.items()):
        if starts[part] > offset or not await _is_broken(log, part, offset, ends[part]):
            continue
        partitions += 1
        await log.fill_to({(cmd.TOPIC, part): offset + 1})
        async for page in _commands(log, part, starts[part], min(ends[part], offset + 1)):
            copied += len(page)
            await log.append([NewRecord(one.topic, one.key, one.value, one.headers) for one in page])
        await log.cut({(cmd.TOPIC, part): offset + 1})
        logger.info("commands.repaired", partition=part, begins_at=offset + 1)
    return Repaired(partitions, copied)


async def _is_broken(log: Log, part: int, offset: int, end: int) -> bool:
    """Return whether a partition ends before the command that was decided at this offset, or was repaired in part."""
    if end <= offset:
        return True
    there = await log.fetch(cmd.TOPIC, part, [offset])
    return not there or not there[0].headers


async def _commands(log: Log, part: int, start: int, end: int) -> AsyncIterator[list[Record]]:
    """Yield the records between these offsets that are commands."""
    for first in range(start, end, PAGE_RECORDS):
        page = await log.fetch(cmd.TOPIC, part, range(first, min(end, first + PAGE_RECORDS)))
        if commands := [one for one in page if one.headers and one.value]:
            yield commands
