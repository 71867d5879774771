"""A stack for each test, on both logs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from langlog_backbone.process.settings import Settings

from tests.dead.stack import Stack, stack_of
from tests.stack.fixtures import MakeSettings


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(partitions=2)


@pytest.fixture
async def stack(settings: Settings) -> AsyncIterator[Stack]:
    async with stack_of(settings) as opened:
        yield opened
