"""A whole log, read model and owner of both for savers to work against; servers are shared by the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from langlog_backbone.clock import new_id
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.embedded import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.settings import Settings
from langlog_executor.decider import DeciderService
from langlog_executor.io_loop import IoLoop
from langlog_projector.service import ProjectorService


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An embedded Postgres and Redis."""
    folder = tmp_path_factory.mktemp("servers")
    started = [EmbeddedPostgres(folder), EmbeddedRedis(folder)]
    with asyncio.Runner() as runner:
        try:
            for server in started:
                runner.run(server.start())
            yield Settings(database_uri=started[0].uri, redis_uri=started[1].uri)
        finally:
            for server in started:
                runner.run(server.stop())


@pytest.fixture(params=["sqlite"])
def settings(servers: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """A log, a read model and Redis keys of the test's own."""
    name = "t" + new_id().replace("-", "")
    return msgspec.structs.replace(
        servers,
        log_uri=f"sqlite://{tmp_path / 'log.sqlite'}",
        projection=name,
        redis_prefix=name + ":",
        partitions=4,
        reply_timeout_s=10.0,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Backbone]:
    """Decider and projector at work on the running loop."""
    async with open_backbone(settings) as backbone:
        services = [DeciderService(backbone), ProjectorService(backbone)]
        tasks = []
        for service in services:
            await service.start()
            tasks.append(asyncio.create_task(service.serve()))
        try:
            yield backbone
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for service in services:
                await service.stop()
            assert [type(end) for end in ended] == [asyncio.CancelledError] * len(tasks), ended


@pytest.fixture
async def backbone(settings: Settings) -> AsyncIterator[Backbone]:
    async with running(settings) as found:
        yield found


@pytest.fixture
async def io(backbone: Backbone) -> IoLoop:
    return IoLoop(backbone)
