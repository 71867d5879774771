"""A log, a read model and the owners of both, for savers to work against."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.process.service import Service
from langlog_backbone.process.settings import Settings
from langlog_executor.decider.service import DeciderService
from langlog_executor.runtime.io_loop import IoLoop
from langlog_projector.service import ProjectorService

from tests.stack.fixtures import MakeSettings


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """A stack of the test's own, on both logs."""
    return make_settings(reply_timeout_s=60.0)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Backbone]:
    """Decider and projector at work on the running loop."""
    async with open_backbone(settings) as backbone:
        services: list[Service] = [DeciderService(backbone), ProjectorService(backbone)]
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
    async with running(settings) as opened:
        yield opened


@pytest.fixture
async def io(backbone: Backbone) -> IoLoop:
    return IoLoop(backbone)
