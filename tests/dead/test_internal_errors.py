"""Internal errors of Postgres: all wait for an operator, but for a key whose rows alone Postgres fails at, which is parked."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.log import Record
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.aggregates import Aggregates
from langlog_executor.decider.read_model import ReadModel
from langlog_projector import projection
from langlog_projector.internal_errors import Trial, record_at_fault
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.dead.stack import Stack, stack_of
from tests.outage.eventually import eventually
from tests.stack.fixtures import MakeSettings

PATIENCE_S = 0.3
BROKEN_PAGE = """
CREATE FUNCTION broken_page() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.thread_id LIKE TG_ARGV[0] THEN
    RAISE EXCEPTION 'invalid page in block 7 of relation base/5/16384' USING ERRCODE = 'XX001';
  END IF;
  RETURN NEW;
END $$
"""
PAGE_BYTES = 8192


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "INTERNAL_S", PATIENCE_S)
    monkeypatch.setattr(ReadModel, "patience_s", PATIENCE_S, raising=False)


@contextlib.asynccontextmanager
async def broken_page(stack: Stack, threads: str) -> AsyncIterator[None]:
    """Postgres fails at writing rows of the threads (a pattern of LIKE), by the error of a broken page."""
    pool = stack.backbone.pool
    await pool.execute(BROKEN_PAGE)
    await pool.execute(
        f"CREATE TRIGGER broken_page BEFORE UPDATE ON threads FOR EACH ROW EXECUTE FUNCTION broken_page('{threads}')"
    )
    try:
        yield
    finally:
        await pool.execute("DROP TRIGGER broken_page ON threads")
        await pool.execute("DROP FUNCTION broken_page")


def coloured(thread_id: str, color: str) -> ev.ThreadUpdated:
    return ev.ThreadUpdated(thread_id=thread_id, metadata={"color": color})


async def two_threads(stack: Stack) -> tuple[str, str]:
    """Threads of one partition."""
    thread = new_id()
    other = stack.neighbour(thread)
    for id in (thread, other):
        assert (await stack.send(cmd.CreateThread(thread_id=id, fresh=True))).status == 200
    return thread, other


async def test_the_key_at_whose_rows_alone_postgres_fails_is_parked_and_the_others_go_on(stack: Stack) -> None:
    thread, other = await two_threads(stack)
    async with broken_page(stack, thread):
        await stack.event(coloured(thread, "red"))
        # the record that shows whose fault it is arrives only when the first one has failed for long
        await failed(stack, 3)
        assert await stack.waiting(thread) == []
        await stack.folded(await stack.event(coloured(other, "blue")))
        assert await stack.waiting(thread) == [(ev.RUN_EVENTS, ev.ThreadUpdated.TYPE, "bad")]
    assert await stack.metadata(other) == {"color": "blue"}
    assert await stack.projector.not_ready() is None


async def test_a_postgres_that_fails_at_all_keys_parks_none(stack: Stack) -> None:
    thread, other = await two_threads(stack)
    async with broken_page(stack, "%"):
        positions = [await stack.event(coloured(id, "red")) for id in (thread, other)]
        await failed(stack, 6)
        reason = await stack.projector.not_ready()
        assert reason is not None
        assert "DataCorruptedError XX001" in reason
        assert await stack.waiting(thread) == []
    for position in positions:
        await stack.folded(position)
    assert await stack.metadata(thread) == await stack.metadata(other) == {"color": "red"}
    assert await stack.projector.not_ready() is None
    assert await stack.waiting(thread) == await stack.waiting(other) == []


async def test_a_record_that_waits_behind_its_parked_key_does_not_show_that_postgres_takes_others(stack: Stack) -> None:
    """Nothing of it is written but a dead letter, which Postgres takes whatever is wrong with the threads."""
    thread, parked = await two_threads(stack)
    await stack.append(ev.RUN_EVENTS, parked, ev.ThreadUpdated.TYPE, b"{")
    assert await stack.parked(parked, 1)
    async with broken_page(stack, "%"):
        position = await stack.event(coloured(thread, "red"))
        await failed(stack, 2)
        await stack.event(coloured(parked, "blue"))
        await failed(stack, 8)
        assert await stack.waiting(thread) == []
    await stack.folded(position)
    assert await stack.metadata(thread) == {"color": "red"}


async def test_records_are_tried_in_the_order_of_the_log() -> None:
    """A fold drops what is behind the last cause of its partition, so that Postgres would seem to take it."""
    of_keys = ["a", "b", "a", "c", "d", "b"]
    records = [Record(ev.RUN_EVENTS, 0, n, key, b"", {"ce_type": "x"}) for n, key in enumerate(of_keys)]

    async def attempt(tried: Sequence[Record]) -> Trial:
        last = -1
        for one in tried:
            if one.offset > last and one.key == "b":
                return Trial(asyncpg.DataCorruptedError("invalid page"), wrote=False)
            last = max(last, one.offset)
        return Trial(None, wrote=True)

    assert await record_at_fault(records, attempt) == records[1]


async def failed(stack: Stack, times: int) -> None:
    """Wait until the projector has failed so often to write."""

    async def often() -> bool:
        return stack.projector.projection.availability.failures >= times

    await eventually(often)


async def test_a_thread_whose_row_cannot_be_read_parks_its_command_and_no_other(
    make_settings: MakeSettings, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that Postgres keeps apart from its row is lost: the pages that hold it are empty."""
    settings: Settings = make_settings(database_uri=own_postgres.uri, partitions=2)
    async with stack_of(settings) as stack:
        thread, other = new_id(), ""
        large = {"text": secrets.token_hex(2 * PAGE_BYTES)}
        assert (await stack.send(cmd.CreateThread(thread_id=thread, fresh=True, metadata=large))).status == 200
        other = stack.neighbour(thread)
        assert (await stack.send(cmd.CreateThread(thread_id=other, fresh=True))).status == 200
    await empty_toast(own_postgres, settings.projection)
    async with stack_of(settings) as stack:
        reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"color": "red"}))
        assert reply.status == 504
        assert (await stack.send(cmd.PatchThread(thread_id=other, metadata={"color": "blue"}))).status == 200
        await stack.parked(thread, 1)
        assert await stack.metadata(other) == {"color": "blue"}
        # from then on nobody waits for its rows again
        monkeypatch.setattr(ReadModel, "patience_s", math.inf)
        for command in (cmd.PatchThread(thread_id=thread, metadata={}), cmd.DeleteThread(thread_id=thread)):
            assert (await stack.send(command)).status == 504
        await stack.append(cmd.TOPIC, thread, cmd.ExpireThread.TYPE, cmd.encode(cmd.ExpireThread(thread_id=thread)))
        assert (await stack.send(cmd.PatchThread(thread_id=other, metadata={"color": "red"}))).status == 200
        assert await stack.decider.not_ready() is None
        kept = await stack.parked(thread, 3)
        assert [type_name for _, type_name, _ in kept] == [cmd.PatchThread.TYPE] * 2 + [cmd.DeleteThread.TYPE]


async def test_a_table_none_of_whose_pages_can_be_read_parks_no_key(
    make_settings: MakeSettings, own_postgres: EmbeddedPostgres
) -> None:
    """Its indexes are whole, so Postgres answers for ids that nothing has."""
    settings: Settings = make_settings(database_uri=own_postgres.uri, partitions=2)
    async with stack_of(settings) as stack:
        threads = await two_threads(stack)
    path, whole = await broken_heap(own_postgres, settings.projection)
    async with stack_of(settings) as stack:
        before = stack.decider._availability.failures
        for thread in threads:
            patch = cmd.PatchThread(thread_id=thread, metadata={"color": "red"})
            await stack.append(cmd.TOPIC, thread, patch.TYPE, cmd.encode(patch))

        async def failed_often() -> bool:
            return stack.decider._availability.failures >= before + 8

        await eventually(failed_often)
        reason = await stack.decider.not_ready()
        assert reason is not None
        assert "DataCorruptedError XX001" in reason
        assert await stack.backbone.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
        await own_postgres.stop()
        path.write_bytes(whole)
        await own_postgres.start()

        async def coloured_both() -> bool:
            rows = await stack.backbone.pool.fetch("SELECT metadata ->> 'color' AS color FROM threads")
            return [row["color"] for row in rows] == ["red"] * 2

        await eventually(_patiently(coloured_both))


def _patiently(look: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """As ``look``, false while Postgres starts."""

    async def looked() -> bool:
        try:
            return await look()
        except Exception as error:
            if not is_unavailable(error):
                raise
            return False

    return looked


async def test_a_removal_of_a_parked_thread_in_memory_waits_for_no_row_that_cannot_be_read(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, other = await two_threads(stack)
    await stack.append(ev.RUN_EVENTS, thread, ev.ThreadUpdated.TYPE, b"{")
    await stack.parked(thread, 1)

    async def broken(*_: object) -> None:
        raise asyncpg.DataCorruptedError("invalid page in block 7 of relation base/5/16384")

    monkeypatch.setattr(Aggregates, "stored_thread", broken)
    monkeypatch.setattr(ReadModel, "patience_s", math.inf)
    assert (await stack.send(cmd.DeleteThread(thread_id=thread))).status == 504
    assert (await stack.send(cmd.PatchThread(thread_id=other, metadata={"color": "red"}))).status == 200
    assert [type_name for _, type_name, _ in await stack.parked(thread, 2)][1] == cmd.DeleteThread.TYPE


async def broken_heap(server: EmbeddedPostgres, schema: str) -> tuple[Path, bytes]:
    """Overwrite all pages of the table of threads with what is no page. Return its file, and what it held."""
    connection = await asyncpg.connect(server.uri)
    folder, file = await connection.fetchrow(
        f"SELECT current_setting('data_directory'), pg_relation_filepath('{schema}.threads')"
    )
    await connection.execute("CHECKPOINT")
    await connection.close()
    await server.stop()
    path = Path(folder) / file
    whole = path.read_bytes()
    assert len(whole) >= PAGE_BYTES
    path.write_bytes(b"\xee" * len(whole))
    await server.start()
    return path, whole


async def empty_toast(server: EmbeddedPostgres, schema: str) -> None:
    """Overwrite with zeros what the table of threads keeps apart, as a file system may that lost its last writes."""
    connection = await asyncpg.connect(server.uri)
    toast = f"(SELECT reltoastrelid FROM pg_class WHERE oid = '{schema}.threads'::regclass)"
    folder, file = await connection.fetchrow(f"SELECT current_setting('data_directory'), pg_relation_filepath({toast})")
    await connection.execute("CHECKPOINT")
    await connection.close()
    await server.stop()
    path = Path(folder) / file
    size = path.stat().st_size
    assert size >= PAGE_BYTES
    path.write_bytes(bytes(size))
    await server.start()
