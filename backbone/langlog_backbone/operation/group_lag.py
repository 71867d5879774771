"""Lag of each group of readers behind the end of the log. Joins no group, changes nothing.

Deciders and outside consumers commit positions on the log; projections store theirs in Postgres, beside the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import asyncpg
from langlog_schemas import commands, events

from ..log.port import Log, Positions
from ..postgres.database import load_sql

SQL = load_sql("langlog_backbone", "groups.sql")
PROJECTORS = "projectors"
"""The projectors' group on the log: it only distributes partitions, its positions are in Postgres."""


class GroupPosition(NamedTuple):
    """Position of a group in one partition."""

    group: str
    topic: str
    partition: int
    position: int
    end: int

    @property
    def lag(self) -> int:
        return max(0, self.end - self.position)


async def gather(log: Log, pool: asyncpg.Pool) -> list[GroupPosition]:
    """Return the positions of all groups. Empty partitions without a position are left out."""
    known = await log.group_positions()
    known.pop(PROJECTORS, None)
    for (schema,) in await pool.fetch(SQL["projections"]):
        rows = await pool.fetch(SQL["positions"].format(schema=schema))
        known[f"projection {schema}"] = {(topic, part): offset for topic, part, offset in rows}
    ends: Positions = {}
    for topic in (commands.TOPIC, *events.EVENT_TOPICS, events.DEAD_LETTERS):
        ends.update({(topic, n): end for n, end in enumerate(await log.end_offsets(topic))})
    lags = []
    for group, positions in sorted(known.items()):
        topics = {topic for topic, _ in positions}
        for (topic, partition), end in ends.items():
            position = positions.get((topic, partition))
            if topic in topics and (end > 0 or position):
                lags.append(GroupPosition(group, topic, partition, position or 0, end))
    return lags
