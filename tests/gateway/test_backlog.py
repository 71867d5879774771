"""Frames of one run are read from the end of its thread's stream, however many runs have been there before."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.kept_frames import KeptFrames
from langlog_gateway.http.backends import Reads
from langlog_gateway.streams.backlog import PAGE, Backlog
from langlog_gateway.streams.sse import Batch
from langlog_schemas import frames
from langlog_schemas.frames import Frame, FrameBatch

RUNS = 500
"""Runs on the thread, each with three batches."""


class CountingPipe(RedisPipe):
    """Counts the entries that streams are read for."""

    entries = 0

    async def call(self, *command: Any) -> Any:
        answer = await super().call(*command)
        if command[0] in ("XRANGE", "XREVRANGE"):
            self.entries += len(answer)
        return answer


@pytest.fixture
async def pipe(redis_server: EmbeddedRedis) -> AsyncIterator[CountingPipe]:
    pipe = CountingPipe(Settings(redis_uri=redis_server.uri, redis_prefix=f"{uuid.uuid4().hex}:"))
    yield pipe
    await pipe.stop()


def batch(run_id: str, attempt: int, first: int) -> FrameBatch:
    return FrameBatch(
        run_id, attempt, [Frame(first, 1, first, "values", b"{}"), Frame(first + 1, 1, first + 1, "custom", b"1")]
    )


async def written(pipe: RedisPipe, batches: list[FrameBatch]) -> Backlog:
    kept = KeptFrames(pipe, Settings())
    for one in batches:
        await kept.entry("t", frames.encode(one))
    return Backlog(pipe, Reads(None, 1.0), None)  # type: ignore[arg-type]  # Redis alone is read here


def places(batches: list[Any]) -> list[tuple[int, int]]:
    return [(one.attempt, one.first) for one in batches]


async def test_the_frames_of_a_threads_last_run_are_read_without_those_before(pipe: CountingPipe) -> None:
    lives = [batch(f"run-{n}", 1, first) for n in range(RUNS) for first in (1, 3, 5)]
    backlog = await written(pipe, lives)
    assert places(await backlog.recent_of("t", f"run-{RUNS - 1}")) == [(1, 1), (1, 3), (1, 5)]
    assert pipe.entries == PAGE
    assert places(await backlog.recent_of("t", "run-0")) == [(1, 1), (1, 3), (1, 5)]
    assert await backlog.recent_of("t", "no such run") == []


async def test_earlier_attempts_of_a_run_are_read_as_far_back_as_they_go(pipe: CountingPipe) -> None:
    long_first = [batch("run", 1, 2 * n + 1) for n in range(2 * PAGE)]
    second = [batch("run", 2, 2 * n + 1) for n in range(PAGE + 1)]
    backlog = await written(pipe, [batch("before", 1, 1), *long_first, *second])
    assert places(await backlog.recent_of("t", "run")) == places([Batch(one) for one in (*long_first, *second)])


async def test_a_run_whose_beginning_is_lost_is_read_as_far_as_it_is_there(pipe: CountingPipe) -> None:
    rest = [batch("run", 2, 2 * n + 1) for n in range(3)]
    backlog = await written(pipe, [*(batch(f"before-{n}", 1, 1) for n in range(PAGE)), *rest])
    assert places(await backlog.recent_of("t", "run")) == [(2, 1), (2, 3), (2, 5)]
