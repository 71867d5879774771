"""A webhook that is still to be delivered when its thread is erased: the log no longer has its content, the live model does."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log import started_log
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id, now_iso
from langlog_projector.rebuild import retention, swap
from langlog_schemas import commands as cmd
from msgspec import Raw

from tests.dead.stack import Stack, stack_of
from tests.stack.fixtures import isolated

MASTER = base64.b64encode(bytes(range(32))).decode()
MARKER = "Jane-Doe-77e0"


@pytest.fixture
async def stack(tmp_path: Path, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Stack]:
    """A stack on the embedded log, without deliveries."""
    servers = {"database_uri": postgres.uri, "redis_uri": redis_server.uri}
    made = isolated(None, tmp_path, {**servers, "partitions": 2, "encryption": "on", "master_key": MASTER})
    async with stack_of(msgspec.structs.replace(made, keys_schema=f"{made.projection}_keys")) as opened:
        yield opened


def settings_of(stack: Stack) -> Settings:
    return stack.backbone.settings


def nobody_looks(done: int, total: int) -> None:
    """Implements `Progress`."""


async def ran(stack: Stack, thread_id: str, *, temporary: bool = False) -> str:
    """A run with a webhook, over."""
    run_id, kwargs = new_id(), Raw(msgspec.json.encode({"input": MARKER, "webhook": "http://hook.example/"}))
    create = cmd.CreateRun(
        thread_id=thread_id,
        run_id=run_id,
        assistant_id="a",
        graph_id="g",
        kwargs=kwargs,
        if_not_exists="create",
        temporary=temporary,
    )
    assert (await stack.send(create)).status == 200
    end = cmd.FinishRun(thread_id=thread_id, run_id=run_id, attempt=1, outcome="success", values=Raw(b'{"said":1}'))
    assert (await stack.send(end)).status == 200
    return run_id


async def tried(stack: Stack, thread_id: str, run_id: str, attempt: int, *, delivered: bool) -> None:
    again = None if delivered else (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    recorded = cmd.RecordWebhookAttempt(
        thread_id=thread_id,
        run_id=run_id,
        attempt=attempt,
        attempted_at=now_iso(),
        delivered=delivered,
        next_attempt_at=again,
    )
    await stack.send(recorded)


async def due(stack: Stack) -> dict[str, tuple[Any, ...]]:
    """Return pending deliveries, and the number of their attempts."""
    rows = await stack.backbone.pool.fetch(
        "SELECT run_id, kwargs, state_values, attempts FROM webhooks ORDER BY run_id"
    )
    return {row["run_id"]: tuple(row)[1:] for row in rows}


async def verified(stack: Stack) -> bool:
    async with started_log(settings_of(stack)) as log:  # as another process has it, which remembers no keys
        report = await swap.verify(log, settings_of(stack), nobody_looks)
    assert report.comparison is not None
    return report.comparison.same


async def rebuilt(stack: Stack) -> None:
    def same(value: Any) -> bool:
        assert value.same, value
        return True

    async with started_log(settings_of(stack)) as log:
        report = await swap.rebuild(log, settings_of(stack), nobody_looks, same)
    assert report.swapped


async def test_it_is_delivered_whatever_is_rebuilt_or_cut_meanwhile(stack: Stack) -> None:
    deleted, stateless, kept = new_id(), new_id(), new_id()
    runs = {
        deleted: await ran(stack, deleted),
        stateless: await ran(stack, stateless, temporary=True),
        kept: await ran(stack, kept),
    }
    await tried(stack, deleted, runs[deleted], 1, delivered=False)
    assert (await stack.send(cmd.DeleteThread(thread_id=deleted))).status == 200
    before = await due(stack)
    assert before.keys() == set(runs.values()) and all(MARKER in row[0] for row in before.values())

    assert await verified(stack)
    await rebuilt(stack)
    assert await due(stack) == before
    async with started_log(settings_of(stack)) as log:
        assert (await retention.cut(log, settings_of(stack), datetime.now(UTC), nobody_looks)).done
    assert await verified(stack)
    await rebuilt(stack)
    assert await due(stack) == before

    await tried(stack, stateless, runs[stateless], 1, delivered=False)
    assert await verified(stack)
    for thread, attempt in ((deleted, 2), (stateless, 2), (kept, 1)):
        await tried(stack, thread, runs[thread], attempt, delivered=True)
    assert await due(stack) == {runs[kept]: (None, None, 1)}, "what is delivered goes with its thread"
    assert await verified(stack)


async def test_it_goes_once_it_is_delivered_also_when_the_thread_was_made_again(stack: Stack) -> None:
    thread = new_id()
    run = await ran(stack, thread)
    assert (await stack.send(cmd.DeleteThread(thread_id=thread))).status == 200
    assert (await stack.send(cmd.CreateThread(thread_id=thread))).status == 200
    later = await ran(stack, thread)
    assert (await due(stack)).keys() == {run, later}
    assert await verified(stack)
    await tried(stack, thread, run, 1, delivered=True)
    await tried(stack, thread, later, 1, delivered=True)
    assert (await due(stack)).keys() == {later}
    assert await verified(stack)
