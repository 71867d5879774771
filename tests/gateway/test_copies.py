"""Values and open interrupts that the copy of a waiting thread takes along."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from langlog_gateway.http.backends import Reads
from langlog_gateway.threads.copy import waiting_state
from langlog_gateway.threads.splitting import ENVELOPE_BYTES, fitting
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from msgspec import Raw

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
    """Such values come from a run whose result was appended in parts."""
    (command,) = await copied(STATE_BYTES + ENVELOPE_BYTES - 1)
    assert msgspec.json.decode(command.values) is None
    assert command.status == "interrupted"
    assert bytes(command.interrupts).decode() == ROW["interrupts"]


async def test_a_copy_of_a_thread_that_has_gone_on_meanwhile_does_not_wait() -> None:
    assert await copied(1_000_000, status="busy") == []
    assert await copied(1_000_000, state_updated_at=2) == []


RECORD_BYTES = 50_000


def update(*sizes: int, values: int = 10) -> cmd.UpdateState:
    """An update with checkpoints of these sizes, each with writes of the same size."""
    bundles = []
    for n, size in enumerate(sizes):
        blob = cp.ChannelBlob("c", str(n), "bytes", bytes([n]) * size)
        checkpoint = cp.CheckpointBody("", f"c{n}", None, "msgpack", b"", b"{}", {"c": str(n)}, [blob])
        writes = cp.WritesBody("", f"c{n}", "t", "", [cp.Write(0, "c", "bytes", bytes([n]) * size)])
        bundles.append(cp.encode(cp.Bundle(checkpoint, [writes])))
    return cmd.UpdateState(
        thread_id="t",
        checkpoints=bundles,
        values=Raw(b'"%b"' % (b"v" * values)),
        next=["n"],
        interrupts=Raw(b'{"task":[]}'),
        checkpoint_id="last",
        visible={"owner": "alice"},
    )


def bodies(commands: list[cmd.UpdateState]) -> list[tuple[str, str]]:
    """The checkpoints and writes that the commands bring, in order, with their ids."""
    found: list[tuple[str, str]] = []
    pieces: dict[str, list[bytes]] = {}
    for command in commands:
        for encoded in command.checkpoints:
            bundle = cp.decode_bundle(encoded)
            found += [("checkpoint", body.checkpoint_id) for body in [bundle.checkpoint] if body is not None]
            found += [("writes", body.checkpoint_id) for body in bundle.writes]
        if (chunk := command.chunk) is not None:
            assert not command.checkpoints
            pieces.setdefault(chunk.blob_id, []).append(chunk.body)
            assert chunk.index == len(pieces[chunk.blob_id]) - 1
            if chunk.index == chunk.count - 1 and chunk.whole == "checkpoint.written.v1":
                found.append(("checkpoint", cp.decode_checkpoint(b"".join(pieces[chunk.blob_id])).checkpoint_id))
            elif chunk.index == chunk.count - 1:
                found.append(("writes", cp.decode_writes(b"".join(pieces[chunk.blob_id])).checkpoint_id))
    return found


def test_an_update_that_fits_into_a_record_stays_one_command() -> None:
    fits = update(5_000, 5_000)
    assert fitting(fits, RECORD_BYTES) == [fits]


@pytest.mark.parametrize(
    "given",
    [update(20_000), update(10_000, 100_000, 1, 30_000), update(1, values=100_000), update(90_000, values=100_000)],
    ids=["writes", "several", "values", "both"],
)
def test_a_larger_update_becomes_commands_that_fit_and_ends_with_the_state(given: cmd.UpdateState) -> None:
    commands = fitting(given, RECORD_BYTES)
    assert all(len(cmd.encode(command)) <= RECORD_BYTES for command in commands)
    assert bodies(commands) == bodies([given])
    *before, last = commands
    assert all(command.checkpoints_only and command.visible == given.visible for command in before)
    assert not last.checkpoints and not last.checkpoints_only
    values = given.values if len(bytes(given.values)) < 1_000 else Raw(b"null")
    assert last == msgspec.structs.replace(given, checkpoints=[], values=values)
    for after, command in enumerate(before, 1):
        assert command.chunk is None or after < len(commands), "a command follows the pieces"
