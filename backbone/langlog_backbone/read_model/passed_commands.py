"""Commands that deciders would pass over, because the topic ``commands`` is no longer the one that they decided.

A command is decided once: each event names the offset of its cause, and deciders and projectors pass over causes at or below the last one.
So where ``commands`` was deleted and made again, or has lost its end, new commands at offsets that have had their events would be
acknowledged and never carried out. Services refuse such a log, and `langlog log repair-commands` makes its offsets continue.

Concurrency: reads only. Death: changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas import snapshots
from langlog_schemas.envelope import Cause

from ..log import REPAIR_COMMANDS, Log, LogFault, TopicPartition

FOLDED = (
    "the read model was folded from records that are gone. Restore the log (docs/how-to/backup.md); if this is the log to go by, "
    "stop all services and run `langlog rebuild --from-scratch`"
)
SNAPSHOT = "the log was cut, and what stood in for the records is gone. Restore the log (docs/how-to/backup.md)"
LAST_COMMANDS = """SELECT part, max(passed) AS passed FROM (
    SELECT part, max(cause_offset) AS passed FROM positions GROUP BY part
    UNION ALL
    SELECT part, max("offset") FROM dead_letters WHERE topic = 'commands' GROUP BY part
) AS passed_by_table GROUP BY part HAVING max(passed) >= 0"""
"""Statement that finds, per partition, the offset of the last command that has had its events or its dead letter."""
_POSITIONS = "SELECT count(*) AS begun FROM positions WHERE topic = '{}' AND \"offset\" > 0"
_ALL_POSITIONS = 'SELECT topic, part, "offset" FROM positions'

Rows = Callable[[str], Awaitable[Sequence[Any]]]


async def last_commands(fetch: Rows) -> dict[int, int]:
    """Return, per partition, the offset of the last command that is passed over, as the read model has it. Raises what asyncpg does."""
    return {row["part"]: row["passed"] for row in await fetch(LAST_COMMANDS)}


def passed_over(last: Mapping[int, int], ends: Sequence[int]) -> str | None:
    """Return the error if ``commands`` ends at or before a command that was decided, or None. Pure."""
    for part, offset in sorted(last.items()):
        if part < len(ends) and ends[part] <= offset:
            return (
                f"topic {cmd.TOPIC} ends at offset {ends[part]} of partition {part}, where the command at offset {offset} was decided: it "
                f"was deleted and made again, or has lost its end. {REPAIR_COMMANDS}"
            )
    return None


def refuse_passed(done: Mapping[TopicPartition, Cause], ends: Sequence[int]) -> None:
    """Raise LogFault if ``commands`` ends at or before the last cause of a partition. ``done``: (topic of events, partition) -> that cause,
    ``ends``: of the partitions of ``commands``. Pure."""
    last: dict[int, int] = {}
    for (_, part), cause in done.items():
        last[part] = max(cause.offset, last.get(part, 0))
    if (missing := passed_over(last, ends)) is not None:
        raise LogFault(missing)


async def misses(topic: str, fetch: Rows, log: Log) -> str | None:
    """Return why a topic that was made again while the log was open must not be used, with the remedy, or None: nothing rests on what it
    held. Raises LogUnavailable, and what asyncpg does."""
    if topic == cmd.TOPIC:
        last = await last_commands(fetch)
        starts = await log.start_offsets(topic) if last else []
        return REPAIR_COMMANDS if any(starts[part] <= offset for part, offset in last.items()) else None
    if topic == snapshots.TOPIC:
        cut = [await log.start_offsets(folded) for folded in ev.FOLDED_TOPICS]
        return SNAPSHOT if any(map(any, cut)) else None
    (row,) = await fetch(_POSITIONS.format(topic))
    return FOLDED if row["begun"] else None


async def not_folded(fetch: Rows, log: Log) -> str | None:
    """Return the error if the log holds events that are not folded, so that later commands than `last_commands` were decided; or None."""
    positions = {(row["topic"], row["part"]): row["offset"] for row in await fetch(_ALL_POSITIONS)}
    for topic in ev.FOLDED_TOPICS:
        for part, end in enumerate(await log.end_offsets(topic)):
            if positions.get((topic, part), 0) < end:
                return (
                    f"the read model has not folded {topic}/{part} to its end, so the last command that was decided is not known: "
                    "run `langlog rebuild --from-scratch` first"
                )
    return None
