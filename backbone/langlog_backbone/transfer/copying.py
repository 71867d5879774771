"""Copies one log into another: same partitions, offsets, keys, headers and values. Continues where an earlier copy stopped.

    what is there already is compared ──► the rest is appended ──► all of the target is read again and compared

langlog refers to records by their positions: the cause of an event, a dead letter's source, the positions of a
snapshot and of the read model. So positions are kept, and nothing else has to be translated.

Encrypted records are copied unchanged; their keys are not copied (`beside`).

Concurrency: nothing else may write to the target; the source may go on while it is followed.
Death: see `targets`. The next copy compares what is there and continues.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from ..log import DECIDERS, Log, LogFault, TopicPartition
from .digests import Digests
from .reading import between, count, ends_of, first_difference, starts_of
from .targets import Target, append

Progress = Callable[[str, int, int], None]
"""``(label, done, total)``: records so far, and records in all, which may grow."""
Settled = Callable[[], Awaitable[bool]]
"""Returns whether nothing writes to the source any more. May wait a moment before it returns False."""


class DifferentContent(LogFault):
    """The target differs from the source; the message gives the first difference."""


class Copied(NamedTuple):
    before: int
    """Number of records that the target held already."""
    appended: int


class Present(NamedTuple):
    """The records that the target holds already."""

    records: int
    digests: Digests
    """Digests of the source's records up to there."""


async def compare(source: Log, target: Log, progress: Progress) -> int:
    """Compare both logs record by record; return the number of records. Raises DifferentContent, Gap, LogUnavailable."""
    starts, ends = await starts_of(source), await ends_of(source)
    _check_bounds(starts, ends, await starts_of(target), await ends_of(target), whole=True)
    ours = await _digests(source, starts, ends, lambda done, total: progress("reading the source", done, total))
    await _compare(source, target, ours, starts, ends, progress)
    return count(starts, ends)


async def compare_prefix(source: Log, target: Target, progress: Progress) -> Present:
    """Return what the target holds already, which must equal the beginning of the source.

    Raises DifferentContent, Gap, LogUnavailable.
    """
    starts, ends = await starts_of(source), await ends_of(source)
    there_from, there_to = await starts_of(target.log), await ends_of(target.log)
    _check_bounds(starts, ends, there_from, there_to, whole=False, incomplete=target.incomplete)
    resume = {partition: max(start, there_to[partition]) for partition, start in starts.items()}
    digests = Digests(starts)
    total = count(starts, resume)
    if total:
        async for records in between(source, starts, resume):
            digests.add(records)
            progress("comparing what is there", count(starts, digests.next), total)
        theirs = await _digests(target.log, starts, resume)
        await _differ(source, target.log, digests, theirs, starts)
    return Present(total, digests)


async def copy(source: Log, target: Target, progress: Progress, settled: Settled) -> Copied:
    """Copy all that the source holds, until nothing writes to it any more.

    Raises DifferentContent, Gap, LogFault (`targets.Displaced`; the source was cut meanwhile; it grew after it was settled),
    LogUnavailable.
    """
    starts = await starts_of(source)
    present = await compare_prefix(source, target, progress)
    digests, before, done = present.digests, present.records, dict(present.digests.next)
    await target.begin(starts)
    while True:
        last = await settled()
        ends = await ends_of(source)
        total = count(starts, ends)
        async for records in between(source, done, ends, by_time=target.log.name == "sqlite"):
            digests.add(records)
            await append(target.log, records)
            progress("copying", count(starts, digests.next), total)
        done = ends
        if last:
            break
    await _compare(source, target.log, digests, starts, ends, progress)
    if await ends_of(source) != ends:
        raise LogFault(
            "records were appended to the source after it was taken to be at rest: stop whatever writes to it, and run the command again"
        )
    await _carry_group(source, target.log)
    await target.finish()
    return Copied(before, count(starts, ends) - before)


async def _carry_group(source: Log, target: Log) -> None:
    """Copy the deciders' committed positions, which a cut of the log depends on; deciding itself follows the events."""
    decided = await source.committed(DECIDERS, await starts_of(source))
    if decided:
        await target.commit(DECIDERS, decided)


def _check_bounds(
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    there_from: Mapping[TopicPartition, int],
    there_to: Mapping[TopicPartition, int],
    *,
    whole: bool,
    incomplete: bool = False,
) -> None:
    for partition, start in sorted(starts.items()):
        topic, part = partition
        begin, end = there_from.get(partition), there_to.get(partition)
        if begin is None or end is None:
            raise DifferentContent(f"the target has no partition {topic}/{part}")
        if begin > start and end > start:
            raise DifferentContent(
                f"the target's {topic}/{part} begins at offset {begin}, the source's at {start}: the target was cut by itself"
            )
        if end > ends[partition]:
            raise DifferentContent(
                f"the target's {topic}/{part} ends at offset {end}, the source's at {ends[partition]}: the target holds records that the "
                "source does not"
            )
        if whole and (begin, end) != (start, ends[partition]):
            raise DifferentContent(
                f"the target's {topic}/{part} reaches from offset {begin} to {end}, the source's from {start} to {ends[partition]}"
            )
        if not incomplete and 0 < end < start:
            raise DifferentContent(
                f"the target's {topic}/{part} ends at offset {end}, and the source was cut below {start} since: copy into new topics, or "
                "another folder"
            )


async def _digests(
    log: Log,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Digests:
    digests = Digests(starts)
    total = count(starts, ends)
    async for records in between(log, starts, ends):
        digests.add(records)
        progress(count(starts, digests.next), total)
    return digests


async def _compare(
    source: Log,
    target: Log,
    ours: Digests,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    progress: Progress,
) -> None:
    theirs = await _digests(target, starts, ends, lambda done, total: progress("comparing", done, total))
    await _differ(source, target, ours, theirs, starts)


async def _differ(
    source: Log, target: Log, ours: Digests, theirs: Digests, starts: Mapping[TopicPartition, int]
) -> None:
    for partition in ours.differing(theirs):
        end = ours.next[partition]
        offset = await first_difference(source, target, partition, starts[partition], end)
        raise DifferentContent(
            f"source and target differ at {partition[0]}/{partition[1]}, offset {offset}: the target holds another log, or was written to "
            "after it was copied. Copy into other topics (LANGLOG_TOPIC_PREFIX), or another folder"
        )
