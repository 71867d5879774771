"""A run that is in flight when the log is cut: its history continues from the snapshot, in the middle of its work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from langlog.log.state import state_of, until
from langlog.operations.refold import refold
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.history.as_of import NotInLog, RunAtPosition, thread_as_of
from langlog_backbone.history.audit import Audit
from langlog_backbone.history.thread_history import HistoryReader
from langlog_backbone.log import Position
from langlog_backbone.time.clock import new_id
from langlog_gateway.threads.splitting import with_checkpoints
from langlog_projector.rebuild import retention
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from msgspec import Raw

from tests.dead.stack import Stack, stack_of
from tests.stack.fixtures import isolated

NO_PROJECT = Path("nowhere")


@pytest.fixture
async def stack(tmp_path: Path, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Stack]:
    """On the embedded log; the test is the worker."""
    servers = {"database_uri": postgres.uri, "redis_uri": redis_server.uri}
    async with stack_of(isolated(None, tmp_path, {**servers, "partitions": 2})) as opened:
        yield opened


class Worker:
    """Appends a worker's records of one run."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._number = 0
        self.thread_id, self.run_id = new_id(), new_id()

    async def begin(self) -> None:
        create = cmd.CreateRun(
            thread_id=self.thread_id,
            run_id=self.run_id,
            assistant_id="a",
            graph_id="g",
            kwargs=Raw(b"{}"),
            if_not_exists="create",
        )
        assert (await self._stack.send(create)).status == 200
        await self._append(ev.RunStarted(thread_id=self.thread_id, run_id=self.run_id, attempt=1, worker="w"))

    async def checkpoint(self, n: int) -> Position:
        return await self._append(
            ev.CheckpointWritten(thread_id=self.thread_id, run_id=self.run_id, attempt=1, body=self._body(n))
        )

    async def half(self, n: int, index: int) -> Position:
        """Return one of two parts of a checkpoint."""
        body = self._body(n)
        middle = len(body) // 2
        part = ev.CheckpointPart(
            thread_id=self.thread_id,
            run_id=self.run_id,
            attempt=1,
            blob_id=f"{self.run_id}-{n}",
            index=index,
            count=2,
            whole="checkpoint.written.v1",
            body=body[middle:] if index else body[:middle],
        )
        return await self._append(part)

    async def end(self) -> None:
        end = cmd.FinishRun(thread_id=self.thread_id, run_id=self.run_id, attempt=1, outcome="success")
        assert (await self._stack.send(end)).status == 200

    def _body(self, n: int) -> bytes:
        blob = cp.ChannelBlob("x", f"v{n}", "msgpack", bytes([n]))
        parent = f"k{n - 1}" if n else None
        return cp.encode(cp.CheckpointBody("", f"k{n}", parent, "msgpack", b"", b"{}", {"x": f"v{n}"}, [blob]))

    async def _append(self, event: ev.Event) -> Position:
        self._number += 1
        id = f"{self.run_id}-1-{self._number}"
        position = await self._stack.append(ev.RUN_EVENTS, event.key, event.TYPE, ev.encode(event), id=id)
        await self._stack.folded(position)
        return position


def nobody_looks(done: int, total: int) -> None:
    """Implements `Progress`."""


async def test_its_checkpoints_are_put_together_across_the_cut_also_when_the_thread_is_gone(stack: Stack) -> None:
    log, pool, settings = stack.backbone.log, stack.backbone.pool, stack.backbone.settings
    audit, worker = Audit(log, pool.fetch, 0), Worker(stack)
    thread_id = worker.thread_id
    await worker.begin()
    await worker.checkpoint(1)
    last = (await worker.half(2, 0)).offset
    assert (await retention.cut(log, settings, datetime.now(UTC), nobody_looks)).done

    then = await thread_as_of(audit, thread_id, last)
    assert (then.position, then.status, then.checkpoint_id) == (last, "busy", "k1")
    assert then.runs == [RunAtPosition(worker.run_id, 1)]
    with pytest.raises(NotInLog, match=f"as of position {last} "):
        await thread_as_of(audit, thread_id, last - 1)

    second = (await worker.half(2, 1)).offset
    assert (await thread_as_of(audit, thread_id, second)).checkpoint_id == "k2"
    history = await HistoryReader(log, pool).whole_thread(thread_id)
    assert history is not None and history.last_cut == last and not history.cut
    shown = state_of(history, history.entries, NO_PROJECT)
    assert shown is not None and (shown["checkpoint_id"], shown["values"]["x"]) == ("k2", Raw(b"2"))
    assert shown["runs"] == [{"run_id": worker.run_id, "attempt": 1}]
    assert await refold(settings, log, pool, history) == []

    await worker.end()
    assert (await stack.send(cmd.DeleteThread(thread_id=thread_id))).status == 200
    history = await HistoryReader(log, pool).whole_thread(thread_id)
    assert history is not None and state_of(history, history.entries, NO_PROJECT) is None
    assert state_of(history, until(history.entries, second), NO_PROJECT) == shown
    assert await HistoryReader(log, pool).whole_thread(new_id()) is None


class Update:
    """Appends the commands of an update of a thread's state that is too large for one of them."""

    def __init__(self, stack: Stack, thread_id: str) -> None:
        body = cp.CheckpointBody("", "large", None, "msgpack", b"data" * 10, b"{}", {}, [])
        state = {"checkpoints_only": True, "thread_id": thread_id, "values": Raw(b"null")}
        updates = with_checkpoints(cmd.UpdateState(checkpoints=[], **state), [cp.encode(cp.Bundle(body, []))], 20)
        self._stack = stack
        self.pieces = [update for update in updates if update.chunk is not None]
        assert len(self.pieces) > 3

    async def send(self, index: int) -> int:
        return (await self._stack.send(self.pieces[index])).status

    async def kept(self) -> int:
        """Return the number of pieces in the read model."""
        count: int = await self._stack.backbone.pool.fetchval("SELECT count(*) FROM checkpoint_parts")
        return count


async def _thread(stack: Stack) -> str:
    thread_id = new_id()
    assert (await stack.send(cmd.CreateThread(thread_id=thread_id))).status == 200
    return thread_id


async def test_an_update_of_a_state_in_pieces_is_put_together_across_the_cut(stack: Stack) -> None:
    log, pool, settings = stack.backbone.log, stack.backbone.pool, stack.backbone.settings
    update = Update(stack, await _thread(stack))
    assert await update.send(0) == 200
    assert (await retention.cut(log, settings, datetime.now(UTC), nobody_looks)).done
    assert await update.kept() == 1
    for index in range(1, len(update.pieces)):
        assert await update.send(index) == 200
    assert await pool.fetchval("SELECT checkpoint_id FROM checkpoints") == "large"
    assert await update.kept() == 0


@pytest.mark.parametrize("ends", [False, True])
async def test_pieces_of_an_update_that_is_refused_in_their_midst_are_removed(stack: Stack, ends: bool) -> None:
    """``ends``: the run that is the reason ends before the last pieces come."""
    worker = Worker(stack)
    worker.thread_id = await _thread(stack)
    update = Update(stack, worker.thread_id)
    assert [await update.send(0), await update.send(1)] == [200, 200]
    await worker.begin()
    assert await update.send(2) == 409
    if ends:
        await worker.end()
    for index in range(3, len(update.pieces)):
        assert await update.send(index) == (200 if ends else 409)
    assert await update.kept() == 0
    assert await stack.backbone.pool.fetchval("SELECT count(*) FROM checkpoints") == 0
