"""Restores a backup: first checks all of it, then writes it, each record at the position that it had, then read again and compared.

    manifest, checksums ──► keys ──► target is empty ──► beside ──► records ──► compared ──► complete

Nothing is written before the backup was found whole and the keys that it needs are there. Until all is written no service starts on
the target (`targets`); a restore that was interrupted is continued by the same command.

Concurrency: nothing else uses the target. Death: what was written stays and is compared by the next restore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from ..log import Log, Positions, Record, TopicPartition
from ..process.settings import Settings
from .backup_files import Backup, BackupFault, Keys
from .beside import Row, Writer
from .copying import DifferentContent, Progress
from .digests import Digests
from .key_checks import Masters, check_of, secret_check
from .reading import between, count, ends_of, starts_of
from .targets import Target, append

BATCH_RECORDS = 1_000
BATCH_BYTES = 8_000_000
ROWS = 1_000


class Restored(NamedTuple):
    records: int
    before: int
    """Number of records that the target held already."""
    threads: int
    """Number of keys of threads."""


def spans(backup: Backup) -> tuple[Positions, Positions]:
    """Return the starts and ends of the partitions of the backed up log."""
    of = backup.manifest.spans
    return {(s.topic, s.partition): s.start for s in of}, {(s.topic, s.partition): s.end for s in of}


async def check(backup: Backup, settings: Settings, progress: Progress) -> list[str]:
    """Read all of the backup, and compare the keys of the settings with those that it needs. Changes nothing.

    What is worth a warning, in a line each. Raises BackupFault, Gap, LogFault, OSError.
    """
    manifest = backup.manifest
    if manifest.partitions != settings.partitions:
        raise BackupFault(
            f"the backup is of a log with {manifest.partitions} partitions, which cannot be changed: LANGLOG_PARTITIONS is {settings.partitions}"
        )
    files = [*manifest.files, *([manifest.beside] if manifest.beside is not None else [])]
    for n, file in enumerate(files):
        await asyncio.to_thread(backup.check, file)
        progress("checking files", n + 1, len(files))
    starts, ends = spans(backup)
    digests = Digests(starts)
    for batch in _batches(backup):
        await asyncio.to_thread(digests.add, batch)
        progress("checking records", count(starts, digests.next), manifest.records)
    if digests.next != ends:
        raise BackupFault(
            f"the files hold {count(starts, digests.next):,} records, the manifest names {count(starts, ends):,}: the backup is damaged"
        )
    return _check_keys(backup, settings)


def _check_keys(backup: Backup, settings: Settings) -> list[str]:
    needed = backup.manifest.keys
    if backup.manifest.beside is None:
        return ["the backup holds the log alone: keys of threads and credentials of runs are not in it"]
    if needed.threads and settings.encryption == "off":
        raise BackupFault(
            f"the backup holds {needed.threads:,} keys of encrypted threads: set LANGLOG_ENCRYPTION (and LANGLOG_MASTER_KEY) as the services had it"
        )
    masters = Masters(settings)
    for row in backup.rows():
        masters.count(row)
    if masters.missing:
        raise BackupFault(_missing(masters, needed))
    given = secret_check(settings, None)
    known = {check_of(part.strip().encode()) for part in settings.secret.split(",") if part.strip()}
    if not needed.secret_check or needed.secret_check in known or (needed.secret_included and not known):
        return []
    there = f"LANGLOG_SECRET has the check value {given}" if given else "LANGLOG_SECRET is not set"
    return [
        f"the secret of the deployment is another one: the backup needs the one with check value {needed.secret_check}, {there}; the "
        f"{needed.credentials:,} credentials of runs that were under way cannot be opened without it"
    ]


def _missing(masters: Masters, needed: Keys) -> str:
    wanted = [key.check for key in needed.masters if key.check and key.check not in masters.checks]
    which = f"; the backup names the key with check value {', '.join(wanted)}" if wanted else ""
    given = f"LANGLOG_MASTER_KEY has {', '.join(masters.checks)}" if masters.checks else "LANGLOG_MASTER_KEY is not set"
    return f"{masters.missing:,} of {needed.threads:,} keys of threads are wrapped by a master key that is missing{which}; {given}"


async def restore(
    backup: Backup, target: Target, settings: Settings, progress: Progress, *, beside: bool, add: bool
) -> Restored:
    """Write a backup that `check` found good. ``settings``: those of the deployment to be. ``add``: a target may hold its beginning.

    ``beside``: also what is not in the log, into ``settings.database_uri``.
    Raises BackupFault, DifferentContent, OtherKeys, LogFault, LogUnavailable, StartError, OSError.
    """
    starts, ends = spans(backup)
    there, begun = await ends_of(target.log), await starts_of(target.log)
    held = count(begun, there)
    # a target that ends where the backup does is one whose restore was killed while it folded: it is compared below
    if held and there != ends and not target.incomplete and not add:
        raise BackupFault(
            f"the target holds {held:,} records: restore into an empty one, or use --add if it holds the beginning of this backup"
        )
    if there.keys() != ends.keys():
        raise BackupFault("the target has other topics or partitions than the backed up log")
    resume = {partition: max(start, there[partition]) for partition, start in starts.items()}
    for partition, end in sorted(ends.items()):
        if resume[partition] > end or starts[partition] < min(begun[partition], there[partition]):
            raise DifferentContent(
                f"the target's {partition[0]}/{partition[1]} reaches from offset {begun[partition]} to {there[partition]}, the backup's from "
                f"{starts[partition]} to {end}: the target holds another log"
            )
    if before := count(starts, resume):
        ours = Digests(starts)
        for batch in _batches(backup):
            await asyncio.to_thread(ours.add, [r for r in batch if r.offset < resume[r.topic, r.partition]])
        await _compare(target.log, ours, starts, resume, progress)
    await target.begin(starts)
    if beside and backup.manifest.beside is not None:
        async with Writer(settings) as writer:
            for rows in _pages(backup):
                await writer.put(rows)
    digests = Digests(starts)
    for batch in _batches(backup):
        await asyncio.to_thread(digests.add, batch)
        missing = [record for record in batch if record.offset >= resume[record.topic, record.partition]]
        await append(target.log, missing)
        progress("restoring", count(starts, digests.next), backup.manifest.records)
    await _compare(target.log, digests, starts, ends, progress)
    await target.finish()
    return Restored(count(starts, ends) - before, before, backup.manifest.keys.threads)


async def _compare(log: Log, ours: Digests, starts: Positions, ends: Positions, progress: Progress) -> None:
    theirs = Digests(starts)
    total = count(starts, ends)
    async for records in between(log, starts, ends):
        theirs.add(records)
        progress("comparing", count(starts, theirs.next), total)
    differing: list[TopicPartition] = ours.differing(theirs)
    if differing:
        topic, part = differing[0]
        raise DifferentContent(
            f"the target's {topic}/{part} does not hold what the backup does: it is another log, or was written to since. Restore into an empty one"
        )


def _batches(backup: Backup) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for file in backup.manifest.files:
        for record in backup.records(file):
            batch.append(record)
            size += len(record.value)
            if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _pages(backup: Backup) -> Iterator[list[Row]]:
    page: list[Row] = []
    for row in backup.rows():
        page.append(row)
        if len(page) == ROWS:
            yield page
            page = []
    if page:
        yield page
