"""Checkpoints that a query has prepared, as the command that adds them to their thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langlog_schemas import checkpoints
from langlog_schemas.commands import UpdateState
from langlog_schemas.events import CheckpointWrites, CheckpointWritten
from msgspec import Raw

from ..runtime.records import CapturedRecords
from ..values.json_cipher import JsonCipher

if TYPE_CHECKING:
    from .threads import ThreadQuestion


class ThreadAfter(NamedTuple):
    """State of a thread after the checkpoints: values and interrupts as JSON."""

    values: bytes
    next: list[str]
    interrupts: bytes
    checkpoint_id: str | None


async def captured_update(
    question: ThreadQuestion, records: CapturedRecords, after: ThreadAfter, json: JsonCipher
) -> UpdateState:
    """Return the command, with values and interrupts sealed where the project has handlers for JSON. Raises their errors."""
    bundles = []
    for event in records.events:
        match event:
            case CheckpointWritten():
                bundles.append(checkpoints.Bundle(checkpoint=checkpoints.decode_checkpoint(event.body)))
            case CheckpointWrites():
                bundles.append(checkpoints.Bundle(writes=[checkpoints.decode_writes(event.body)]))
            case _:
                pass
    context = question.encryption_context()
    return UpdateState(
        thread_id=question.thread_id,
        checkpoints=[checkpoints.encode(bundle) for bundle in bundles],
        values=Raw(await json.seal(after.values, context, "thread", "values")),
        next=after.next,
        interrupts=Raw(await json.seal_interrupts(after.interrupts, context)),
        checkpoint_id=after.checkpoint_id,
    )
