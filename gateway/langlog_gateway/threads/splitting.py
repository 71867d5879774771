"""State updates within the log's record limit, as those of copies, forks, imports and updates of a large state have to be.

A run stores checkpoints of any size in parts (`langlog_executor.runtime.records`). A command is one record, so an update that does not fit
into one becomes several: its checkpoints first, those that are too large in pieces, and at last the state that results from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from langlog_backbone.time.clock import new_id
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas.events import CheckpointWrites, CheckpointWritten
from langlog_schemas.messages import Reply
from msgspec import Raw

from ..http.backends import Commands, Origin

RECORD_SHARE = 0.5
"""Share of the log's record limit that checkpoints may take: JSON makes bytes a third larger."""
ENVELOPE_BYTES = 8_192
"""Bytes of a record for the members of a state update besides checkpoints, values and interrupts."""
NO_VALUES = Raw(b"null")


def fitting(update: cmd.UpdateState, record_bytes: int) -> list[cmd.UpdateState]:
    """Return commands that have the effect of the update, in order, each within ``record_bytes``.

    Values that do not fit into a record, as those of a run may that came in parts, are left out: the thread has them in its checkpoint.
    """
    encoded = sum(len(bundle) * 4 // 3 + 8 for bundle in update.checkpoints)
    left = record_bytes - ENVELOPE_BYTES - len(bytes(update.interrupts))
    if encoded + len(bytes(update.values)) <= left:
        return [update]
    values = update.values if len(bytes(update.values)) <= left else NO_VALUES
    before = cmd.UpdateState(
        thread_id=update.thread_id,
        checkpoints=[],
        values=NO_VALUES,
        checkpoints_only=True,
        provenance=update.provenance,
        visible=update.visible,
    )
    last = msgspec.structs.replace(update, checkpoints=[], values=values)
    return [*with_checkpoints(before, update.checkpoints, record_bytes), last]


async def execute_update(
    commands: Commands, thread_id: str, encoded: bytes, origin: Origin, what: str = "command"
) -> list[Reply]:
    """Append an update of the thread that a worker has encoded, and return the outcomes of the commands that it becomes. Raises ApiError."""
    updates = [encoded]
    if len(encoded) > commands.max_record_bytes - ENVELOPE_BYTES:
        update = cmd.decode(cmd.UpdateState.TYPE, encoded)
        assert isinstance(update, cmd.UpdateState)
        updates = [cmd.encode(each) for each in fitting(update, commands.max_record_bytes)]
    return await commands.execute_encoded([(cmd.UpdateState.TYPE, thread_id, each) for each in updates], origin, what)


def with_checkpoints(update: cmd.UpdateState, bundles: Iterable[bytes], record_bytes: int) -> Iterator[cmd.UpdateState]:
    """Yield updates like this one, which has none, with the bundles. A command follows the pieces of one that was split."""
    limit = int(record_bytes * RECORD_SHARE)
    for part in parts(bundles, limit):
        if len(part) > 1 or len(part[0]) <= limit:
            yield msgspec.structs.replace(update, checkpoints=part)
            continue
        for chunk in _pieces(cp.decode_bundle(part[0]), limit, f"{update.thread_id}/"):
            yield msgspec.structs.replace(update, chunk=chunk)
        yield update


def _pieces(bundle: cp.Bundle, limit: int, prefix: str) -> Iterator[cmd.CheckpointChunk]:
    """Yield the pieces of a bundle's checkpoint, and then those of its writes. ``prefix``: of their bodies' ids, with the thread's, by
    which a snapshot of the read model knows whose they are: they belong to no run."""
    if bundle.checkpoint is not None:
        yield from _pieces_of(CheckpointWritten.TYPE, cp.encode(bundle.checkpoint), limit, prefix)
    for writes in bundle.writes:
        yield from _pieces_of(CheckpointWrites.TYPE, cp.encode(writes), limit, prefix)


def _pieces_of(whole: str, data: bytes, limit: int, prefix: str) -> Iterator[cmd.CheckpointChunk]:
    blob_id, count = f"{prefix}{new_id()}", -(-len(data) // limit)
    for index in range(count):
        piece = data[index * limit : (index + 1) * limit]
        yield cmd.CheckpointChunk(blob_id, index, count, whole, piece)  # type: ignore[arg-type]  # one of the two that it names


def parts(bundles: Iterable[bytes], limit: int) -> Iterator[list[bytes]]:
    """Yield bundles in portions of at most ``limit`` bytes, at least one each."""
    part: list[bytes] = []
    size = 0
    for encoded in bundles:
        if part and size + len(encoded) > limit:
            yield part
            part, size = [], 0
        part.append(encoded)
        size += len(encoded)
    if part:
        yield part
