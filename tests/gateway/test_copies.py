"""Values and open interrupts that the copy of a waiting thread takes along."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from langlog_gateway.http.backends import Reads
from langlog_gateway.threads.copy import ENVELOPE_BYTES, waiting_state
from langlog_schemas import commands as cmd

ROW = {
    "thread_id": "source",
    "status": "interrupted",
    "state_updated_at": 1,
    "state_values": '{"text":"long"}',
    "interrupts": '{"task":[{"id":"i","value":"?"}]}',
}
STATE_BYTES = len(ROW["state_values"]) + len(ROW["interrupts"])  # type: ignore[arg-type]  # both are texts


class Stored:
    """The read model with one thread."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    async def rows_as_stored(self, sql: str, *args: Any) -> list[Any]:
        return [self._row]


async def copied(record_bytes: int, **later: Any) -> list[cmd.UpdateState]:
    return await waiting_state(cast("Reads", Stored({**ROW, **later})), ROW, "copy", record_bytes)


async def test_a_copy_gets_values_and_interrupts_that_fit_into_a_record() -> None:
    (command,) = await copied(STATE_BYTES + ENVELOPE_BYTES)
    assert bytes(command.values).decode() == ROW["state_values"]
    assert bytes(command.interrupts).decode() == ROW["interrupts"]
    assert len(cmd.encode(command)) < STATE_BYTES + ENVELOPE_BYTES


async def test_a_copy_of_a_thread_with_values_beyond_a_record_waits_all_the_same() -> None:
    """Such values come from a run whose result was appended in parts; a command has no parts."""
    (command,) = await copied(STATE_BYTES + ENVELOPE_BYTES - 1)
    assert msgspec.json.decode(command.values) is None
    assert command.status == "interrupted"
    assert bytes(command.interrupts).decode() == ROW["interrupts"]


async def test_a_copy_of_a_thread_that_has_gone_on_meanwhile_does_not_wait() -> None:
    assert await copied(1_000_000, status="busy") == []
    assert await copied(1_000_000, state_updated_at=2) == []
