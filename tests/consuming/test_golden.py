"""Records of every released version can be read with their original meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_projector.apply import apply
from langlog_projector.folding.fold import Fences, Fold
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, snapshots
from langlog_schemas import events as ev
from langlog_schemas.aggregates import assistant, cron, thread
from langlog_schemas.contracts import document_types

from tests.consuming.golden import FOLDER, RUN, THREAD, bytes_of, meaning
from tests.stack.fixtures import isolated

FILES = sorted(FOLDER.glob("*.json"))


def records(type: str) -> list[dict[str, Any]]:
    decoded: list[dict[str, Any]] = msgspec.json.decode((FOLDER / f"{type}.json").read_bytes())["records"]
    return decoded


def test_every_type_has_a_golden_file() -> None:
    lacking = set(document_types()) - {file.stem for file in FILES}
    assert not lacking, f"run python -m tests.consuming.golden, and commit what it writes for {sorted(lacking)}"


@pytest.mark.parametrize("type", [file.stem for file in FILES])
def test_a_golden_record_means_what_it_meant(type: str) -> None:
    """Members that came later may be added, with their defaults; what was there stays as it was, or is upcast."""
    for record in records(type):
        assert envelope.type_of(record["headers"]) == type
        decoders: dict[str, Callable[[str, bytes], Any]] = {cmd.TOPIC: cmd.decode, snapshots.TOPIC: snapshots.decode}
        body = decoders.get(record["topic"], ev.decode)(type, bytes_of(record))
        if type in document_types():  # an upcast one means what its upcast says, and has a test of its own
            assert holds(record["meaning"], meaning(body)), f"{type} means something else now: make it .v2 and upcast"
        assert body.key == record["key"]


def holds(old: Any, new: Any) -> bool:
    """Return whether ``new`` contains all of ``old``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and holds(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(holds(a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def test_a_changed_default_a_lost_member_and_another_value_are_noticed() -> None:
    assert holds({"a": 1, "b": [{"c": 2}]}, {"a": 1, "b": [{"c": 2, "d": None}], "e": 0})
    assert not holds({"a": 1}, {"a": 2})
    assert not holds({"a": 1}, {"b": 1})
    assert not holds({"b": [{"c": 2}]}, {"b": []})


async def test_every_golden_event_is_folded_into_postgres(postgres: EmbeddedPostgres, tmp_path: Any) -> None:
    settings = isolated(None, tmp_path, {"database_uri": postgres.uri})
    pool = await connect_pool(settings, size=1)
    try:
        await ensure_read_model(pool, settings)
        async with pool.acquire() as connection:
            for file in FILES:
                for record in records(file.stem):
                    # what an operator wants is carried out by the projection itself: tests/dead
                    if record["topic"] not in (cmd.TOPIC, ev.DEAD_LETTERS, snapshots.TOPIC):
                        await fold(connection, record)
    finally:
        await pool.close()


async def fold(connection: asyncpg.Connection, record: dict[str, Any]) -> None:
    event = ev.decode(envelope.type_of(record["headers"]), bytes_of(record))
    fences = Fences()
    fences.attempts[RUN] = getattr(event, "attempt", 1)
    folding = Fold(fences)
    assert folding.event(event, record["headers"]["ce_time"], 7, 3), record
    await apply(connection, folding.changes, {})
    time = record["headers"]["ce_time"]
    state = thread.ThreadState(thread_id=THREAD)
    for step in (ev.decode("run.created.v1", bytes_of(records("run.created.v1")[0])), event):
        state = thread.evolve(state, step, time)
    assistant.evolve(assistant.AssistantState(assistant_id=record["key"]), event)
    cron.evolve(cron.CronState(cron_id=record["key"]), event)


def test_an_old_version_is_brought_up_step_by_step_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "count": body.pop("n")}

    def second(body: dict[str, Any]) -> dict[str, Any]:
        return {"thread_id": body["thread"], "metadata": {"count": body["count"]}}

    monkeypatch.setitem(ev.UPCASTS, "thread.renamed.v0", ("thread.renamed.v1", first))
    monkeypatch.setitem(ev.UPCASTS, "thread.renamed.v1", ("thread.updated.v1", second))
    expected = ev.ThreadUpdated(thread_id=THREAD, metadata={"count": 4})
    assert ev.decode("thread.renamed.v0", msgspec.json.encode({"thread": THREAD, "n": 4})) == expected
    assert ev.decode("thread.renamed.v1", msgspec.json.encode({"thread": THREAD, "count": 4})) == expected
    with pytest.raises(KeyError):
        ev.decode("thread.renamed.v2", b"{}")


def test_an_old_version_in_msgpack_and_an_old_command_are_brought_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"thread_id": THREAD, "run": RUN, "attempt": 1, "body": b"\x00\xff"}

    def renamed(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "run_id": body.pop("run")}

    monkeypatch.setitem(ev.UPCASTS, "checkpoint.written.v0", ("checkpoint.written.v1", renamed))
    monkeypatch.setattr(ev, "MSGPACK_EVENTS", ev.MSGPACK_EVENTS | {"checkpoint.written.v0"})
    decoded = ev.decode("checkpoint.written.v0", msgspec.msgpack.encode(old))
    assert decoded == ev.CheckpointWritten(thread_id=THREAD, run_id=RUN, attempt=1, body=b"\x00\xff")

    monkeypatch.setitem(cmd.UPCASTS, "run.finish.v0", ("run.finish.v1", renamed))
    body = {"thread_id": THREAD, "run": RUN, "attempt": 1, "outcome": "success", "values": {"a": [1, 2.5]}}
    command = cmd.decode("run.finish.v0", msgspec.json.encode(body))
    assert isinstance(command, cmd.FinishRun) and bytes(command.values) == b'{"a":[1,2.5]}'
