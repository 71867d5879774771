"""Questions to workers, when there is no way to a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langlog_backbone.redis import RedisPipe
from langlog_backbone.settings import Settings
from langlog_gateway.errors import ApiError
from langlog_gateway.ports import Mail, Queries


async def test_a_question_that_does_not_get_through_is_given_up_at_once(tmp_path: Path) -> None:
    nobody: Any = None
    pipe = RedisPipe(Settings(redis_uri=f"unix://{tmp_path}/nobody.sock"))
    queries = Queries(pipe, Mail(nobody), timeout_s=60.0)
    async with asyncio.timeout(60):
        for _ in range(2):
            with pytest.raises(ApiError) as raised:
                await queries.ask("state", {})
            assert raised.value.status == 503
    await pipe.stop()
