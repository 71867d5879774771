"""Questions to workers, when there is no way to a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import Bus, RedisPipe
from langlog_backbone.redis.replies import ReplyRouter
from langlog_gateway.http.backends import Queries
from langlog_gateway.http.errors import ApiError


async def test_a_question_that_does_not_get_through_is_given_up_at_once(tmp_path: Path) -> None:
    settings = Settings(redis_uri=f"unix://{tmp_path}/nobody.sock")
    pipe = RedisPipe(settings)
    queries = Queries(pipe, ReplyRouter(Bus(pipe, settings)), timeout_s=60.0)
    async with asyncio.timeout(60):
        for _ in range(2):
            with pytest.raises(ApiError) as raised:
                await queries.query("state", {})
            assert raised.value.status == 503
    await pipe.stop()
