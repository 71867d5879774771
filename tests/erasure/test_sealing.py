"""A thread's records in the log can be read with its key only; the key is deleted with the thread."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Any

import msgspec
import pytest
from langlog_backbone.log import Log, LogFault, NewRecord, Record, open_log, started_log
from langlog_backbone.log.encryption.keys import ThreadKeys
from langlog_backbone.log.encryption.sealed_log import OTHERS, PLAIN, SealedLog, is_sealed
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.service import StartError
from langlog_backbone.process.setting_files import SettingError
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id, now_iso
from langlog_projector.rebuild.rebuild import building, follow_log
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.contracts import document_types
from msgspec import Raw

from tests.dead.stack import LIMIT_S, Stack, stack_of
from tests.stack.waiting import until

MARKER = "Jane-Doe-5f1c"
OTHER = base64.b64encode(bytes(range(32, 64))).decode()
"""Another master key."""
TABLES = ("threads", "runs", "thread_events", "outcomes", "dead_letters", "checkpoints", "frames", "webhooks")


async def everything(log: Log, topics: tuple[str, ...] = (cmd.TOPIC, ev.RUN_EVENTS, ev.DEAD_LETTERS)) -> list[Record]:
    """All records of these topics as this log reads them."""
    ends = {(topic, n): end for topic in topics for n, end in enumerate(await log.end_offsets(topic)) if end}
    collected: list[Record] = []
    reader = log.reader(topics)
    async with asyncio.timeout(LIMIT_S):
        while len(collected) < sum(ends.values()):
            collected += await reader.read()
    await reader.stop()
    return collected


async def raw(settings: Settings) -> list[Record]:
    async with started_log(msgspec.structs.replace(settings, encryption="off")) as log:
        return await everything(log)


async def keys(stack: Stack, thread_id: str) -> list[tuple[Any, ...]]:
    schema = stack.backbone.settings.keys_schema
    rows = await stack.backbone.pool.fetch(
        f"SELECT key_id, key, wrapped, erased_at IS NOT NULL FROM {schema}.thread_keys WHERE thread_id = $1", thread_id
    )
    return [tuple(row) for row in rows]


async def made(stack: Stack, thread_id: str | None = None, **metadata: Any) -> str:
    thread = thread_id or new_id()
    reply = await stack.send(cmd.CreateThread(thread_id=thread, metadata={"name": MARKER, **metadata}), retry=True)
    assert reply.status == 200, reply
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"alias": MARKER}))).status == 200
    return thread


async def deleted(stack: Stack, thread_id: str) -> None:
    assert (await stack.send(cmd.DeleteThread(thread_id=thread_id))).status == 200


async def test_bodies_in_the_log_can_be_read_with_the_key_alone(stack: Stack, settings: Settings) -> None:
    thread = await made(stack)
    assert await stack.metadata(thread) == {"name": MARKER, "alias": MARKER}
    stored = await raw(settings)
    assert len(stored) == 4 and all(envelope.SEALED in record.headers for record in stored)
    assert not any(MARKER.encode() in record.value for record in stored)
    read = await everything(stack.backbone.log)
    assert sum(MARKER.encode() in record.value for record in read) == 4
    ((_, key, wrapped, erased),) = await keys(stack, thread)
    assert wrapped and len(key) == 12 + 32 + 16 and not erased


async def test_a_thread_that_goes_takes_its_key_along_and_reads_as_erased(stack: Stack, settings: Settings) -> None:
    thread, other = await made(stack), await made(stack)
    await deleted(stack, thread)
    assert [key for _, key, _, _ in await keys(stack, thread)] == [None]
    async with started_log(settings) as log:
        read = await everything(log)
    gone = [record for record in read if record.key == thread and envelope.ERASED in record.headers]
    assert len(gone) == 4 and not any(record.value for record in gone)
    assert {envelope.type_of(r.headers) for r in read if r.key == thread and r not in gone} == {
        "thread.delete.v1",
        "thread.deleted.v1",
    }
    assert all(MARKER.encode() in record.value for record in read if record.key == other)
    for table in TABLES:
        rows = await stack.backbone.pool.fetch(f"SELECT t::text AS row FROM {table} t")
        held = [row["row"] for row in rows if thread in row["row"]]
        assert not any(MARKER in row for row in held) and (not held or table == "outcomes")


async def test_a_rebuild_gives_the_same_rows_and_destroys_no_key(stack: Stack, settings: Settings) -> None:
    kept, gone, again = await made(stack), await made(stack), await made(stack)
    for thread in (gone, again):
        await deleted(stack, thread)
    await made(stack, again, second=True)
    reply = await stack.send(cmd.PatchThread(thread_id=gone, metadata={"too": "late"}), retry=True)
    assert reply.status == 404
    async with building(stack.backbone.log, settings, f"{settings.projection}_new", lambda done, left: None) as builder:
        await follow_log(builder, stack.backbone.log)
        for table in TABLES:
            query = f"SELECT t::text FROM {table} t ORDER BY 1"
            live = [row[0] for row in await stack.backbone.pool.fetch(query)]
            assert [row[0] for row in await builder.pool.fetch(query)] == live, table
    for thread in (kept, again):
        assert [key is not None for _, key, _, _ in await keys(stack, thread)] == [True]


async def test_a_thread_that_is_made_again_has_another_key(stack: Stack) -> None:
    thread = await made(stack)
    ((first, *_),) = await keys(stack, thread)
    await deleted(stack, thread)
    await made(stack, thread, second=True)
    ((second, key, _, erased),) = await keys(stack, thread)
    assert second != first and key is not None and not erased
    assert await stack.metadata(thread) == {"name": MARKER, "alias": MARKER, "second": True}
    await stack.restart()
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"third": True}))).status == 200


async def test_what_a_worker_still_writes_of_an_erased_thread_can_be_read_by_nobody(
    stack: Stack, settings: Settings
) -> None:
    thread = await made(stack)
    await deleted(stack, thread)
    late = ev.CheckpointWritten(thread_id=thread, body=MARKER.encode())
    await stack.folded(await stack.event(late))
    report = cmd.FinishRun(thread_id=thread, run_id=new_id(), attempt=1, outcome="success", values=Raw(b'{"a":1}'))
    assert (await stack.send(report)).status == 404
    assert [key for _, key, _, _ in await keys(stack, thread)] == [None]
    assert not any(MARKER.encode() in record.value for record in await raw(settings))
    assert await stack.waiting(thread) == []


async def test_a_command_sealed_before_the_thread_went_does_not_make_it_again(stack: Stack, settings: Settings) -> None:
    """Sealed, but not yet in the log when the thread goes; also if the decider still knows the key."""
    thread = await made(stack)
    log = stack.backbone.log
    assert isinstance(log, SealedLog)
    command = cmd.CreateThread(thread_id=thread, metadata={"name": MARKER})
    id = new_id()
    headers = envelope.headers(
        id=id, type=command.TYPE, source="/test", time=now_iso(), subject=thread, reply_to=stack._id
    )
    (late,) = await log._seal([NewRecord(cmd.TOPIC, thread, cmd.encode(command), headers)])
    delete = cmd.DeleteThread(thread_id=thread)
    remove = envelope.headers(id=new_id(), type=delete.TYPE, source="/test", time=now_iso(), subject=thread)
    stack._replies[id] = asyncio.get_running_loop().create_future()
    await log._inner.append([NewRecord(cmd.TOPIC, thread, cmd.encode(delete), remove), late])
    async with asyncio.timeout(LIMIT_S):
        assert (await stack._replies[id]).status == 404

    async def gone() -> bool:
        return await stack.metadata(thread) is None

    await until(stack.backbone, gone)
    await stack.send(cmd.CreateThread(thread_id=stack.neighbour(thread), fresh=True))
    assert await gone(), "it was not made again"


async def test_a_sealed_body_cannot_be_moved_to_another_record(stack: Stack, settings: Settings) -> None:
    thread = await made(stack)
    stolen = next(r for r in await raw(settings) if envelope.type_of(r.headers) == "thread.updated.v1")
    position = None
    async with started_log(msgspec.structs.replace(settings, encryption="off")) as log:
        moved = {**stolen.headers, "ce_id": new_id()}
        moved.pop("ce_cause")
        (position,) = await log.append([NewRecord(ev.RUN_EVENTS, thread, stolen.value, moved)])
    await stack.folded(position)
    assert await stack.waiting(thread) == [(ev.RUN_EVENTS, "thread.updated.v1", "bad")]


@pytest.mark.parametrize("topic", [cmd.TOPIC, ev.RUN_EVENTS])
@pytest.mark.parametrize("kind", ["a key id with a NUL", "a body shorter than its nonce", "no body"])
async def test_what_another_producer_calls_sealed_stops_nobody(
    topic: str, kind: str, stack: Stack, settings: Settings
) -> None:
    thread = await made(stack)
    other = stack.neighbour(thread)
    ((key_id, *_),) = await keys(stack, thread)
    id, value = {
        "a key id with a NUL": ("a\0b", b"body" * 10),
        "a body shorter than its nonce": (key_id, b"x"),
        "no body": (key_id, b""),
    }[kind]
    given = envelope.headers(id=new_id(), type="thread.recolor.v9", source="/foreign", time=now_iso(), subject="")
    async with started_log(msgspec.structs.replace(settings, encryption="off")) as log:
        await log.append([NewRecord(topic, other, value, given | {envelope.SEALED: f"1:{id}"})])
    reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"alias": "goes on"}))
    assert reply.status == 200 and (await stack.metadata(thread))["alias"] == "goes on"


async def test_a_letter_of_a_parked_command_is_sealed_too(stack: Stack, settings: Settings) -> None:
    thread = await made(stack)
    body = msgspec.json.encode({"thread_id": thread, "to": MARKER})
    await stack.append(cmd.TOPIC, thread, "thread.recolor.v9", body)
    await stack.parked(thread, 1)
    stored = await raw(settings)
    assert {record.topic for record in stored} == {cmd.TOPIC, ev.RUN_EVENTS, ev.DEAD_LETTERS}
    for record in stored:
        assert MARKER.encode() not in record.value and envelope.KEY_ID not in record.headers
    headers = await stack.backbone.pool.fetchval("SELECT headers FROM dead_letters WHERE key = $1", thread)
    assert "ll_" not in headers


async def test_threads_from_before_are_read_on_and_sealed_from_now_on(settings: Settings) -> None:
    plain = msgspec.structs.replace(settings, encryption="off")
    async with stack_of(plain) as stack:
        thread = await made(stack)
    async with stack_of(settings) as stack:
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))).status == 200
        assert await stack.metadata(thread) == {"name": MARKER, "alias": MARKER, "n": 1}
    async with stack_of(msgspec.structs.replace(settings, encryption="read")) as stack:
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": 2}))).status == 200
        assert await stack.metadata(thread) == {"name": MARKER, "alias": MARKER, "n": 1, "m": 2}
        collected = [
            (envelope.type_of(r.headers), envelope.SEALED in r.headers)
            for r in await raw(settings)
            if r.topic == ev.RUN_EVENTS
        ]
    assert collected == [
        ("thread.created.v1", False),
        ("thread.updated.v1", False),
        ("thread.updated.v1", True),
        ("thread.updated.v1", False),
    ]


async def test_another_master_key_is_noticed_at_the_start(stack: Stack, settings: Settings) -> None:
    await made(stack)
    for master, said in (("", "is needed"), ("A" * 43 + "=", "is not the one")):
        with pytest.raises(LogFault, match=said):
            await open_log(msgspec.structs.replace(settings, master_key=master)).start()
    with pytest.raises(LogFault, match="32 bytes in base64"):
        open_log(msgspec.structs.replace(settings, master_key="secret"))


async def test_the_master_key_is_replaced_while_services_go_on(settings: Settings) -> None:
    both = msgspec.structs.replace(settings, master_key=f"{OTHER},{settings.master_key}")
    async with stack_of(settings) as stack:
        before, gone = await made(stack), await made(stack)
    async with stack_of(both) as stack:
        since = await made(stack)
        await deleted(stack, gone)
        rewrapping = ThreadKeys(both)
        try:
            assert await rewrapping.rewrap(lambda seen, total: None) == (1, 1)
            assert await rewrapping.rewrap(lambda seen, total: None) == (0, 2)
        finally:
            await rewrapping.stop()
        assert (await stack.send(cmd.PatchThread(thread_id=before, metadata={"n": 1}))).status == 200
        assert [key for _, key, _, _ in await keys(stack, gone)] == [None], "what is destroyed stays so"
    with pytest.raises(LogFault, match="is not the one"):
        await open_log(settings).start()
    async with started_log(msgspec.structs.replace(settings, master_key=OTHER)) as log:
        read = await everything(log)
    for thread, records in ((before, 6), (since, 4)):
        assert sum(record.key == thread and record.value != b"" for record in read) == records


async def test_services_do_not_start_without_encryption_where_threads_are_encrypted(settings: Settings) -> None:
    plain = msgspec.structs.replace(settings, encryption="off")
    async with stack_of(settings) as stack:
        thread = await made(stack)
    with pytest.raises(StartError, match="set LANGLOG_ENCRYPTION to read or on"):
        async with stack_of(plain):
            pass
    async with stack_of(msgspec.structs.replace(settings, encryption="read")) as stack:
        await deleted(stack, thread)
    async with stack_of(plain) as stack:
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={}))).status == 404


async def test_callers_that_come_at_once_share_a_look_at_the_keys(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, looks = ThreadKeys(settings), 0
    await keys.start()
    look = keys._for_writing

    async def counted(threads: Any, makers: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(threads, makers)

    monkeypatch.setattr(keys, "_for_writing", counted)
    threads = [new_id() for _ in range(30)]
    try:
        async with asyncio.timeout(LIMIT_S):
            first = asyncio.create_task(keys.for_writing([threads[0]], []))
            first.cancel()
            results = await asyncio.gather(*(keys.for_writing([id], [id]) for id in threads))
            again = await keys.for_writing(threads, [])
    finally:
        await keys.stop()
    assert looks <= 3
    assert len({each[id].id for id, each in zip(threads, results, strict=True)}) == len(threads)
    assert {id: key.id for id, key in again.items()} == {
        id: each[id].id for id, each in zip(threads, results, strict=True)
    }


async def test_keys_that_were_never_wrapped_are_wrapped_by_a_master_key_that_is_set_later(settings: Settings) -> None:
    async with stack_of(msgspec.structs.replace(settings, master_key="")) as stack:
        thread = await made(stack)
    async with stack_of(settings) as stack:
        ((_, key, wrapped, _),) = await keys(stack, thread)
        assert len(key) == 32 and not wrapped
        rewrapping = ThreadKeys(settings)
        assert await rewrapping.rewrap(lambda seen, total: None) == (1, 0)
        await rewrapping.stop()
        ((_, key, wrapped, _),) = await keys(stack, thread)
        assert len(key) == 12 + 32 + 16 and wrapped
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))).status == 200
    without = ThreadKeys(msgspec.structs.replace(settings, master_key=""))
    with pytest.raises(LogFault, match="nothing to wrap keys with"):
        await without.rewrap(lambda seen, total: None)


def test_without_the_library_it_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(LogFault, match=r"langlog\[encryption\]"):
        open_log(settings)


def test_the_setting_takes_three_words() -> None:
    assert read_settings({"LANGLOG_ENCRYPTION": "read"}).encryption == "read"
    with pytest.raises(SettingError, match="LANGLOG_ENCRYPTION"):
        read_settings({"LANGLOG_ENCRYPTION": "true"})


def test_every_type_is_sealed_or_known_to_have_nothing_personal() -> None:
    """A new type of a thread is sealed unless somebody says that it need not be."""
    sealed = {name for name in document_types() if name not in PLAIN and name not in OTHERS}
    assert {"thread.create.v1", "run.create.v1", "run.finish.v1", "run.succeeded.v1", "run.frames.v1"} <= sealed
    assert all(is_sealed(ev.RUN_EVENTS, name) for name in sealed)
    assert not any(name.split(".")[0] in ("thread", "run", "checkpoint") for name in OTHERS)
    assert not is_sealed(ev.ASSISTANT_EVENTS, "assistant.created.v1") and not is_sealed(cmd.TOPIC, "store.write.v1")


async def test_postgres_away_is_the_log_away(settings: Settings) -> None:
    from langlog_backbone.log import LogUnavailable

    nowhere = msgspec.structs.replace(settings, database_uri="postgresql://127.0.0.1:1/none")
    with pytest.raises(LogUnavailable):
        await open_log(nowhere).start()
