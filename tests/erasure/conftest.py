"""A stack whose log is encrypted, on both logs; keys in a schema of the test's own, wrapped."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import msgspec
import pytest
from langlog_backbone.process.settings import Settings

from tests.dead.stack import Stack, stack_of
from tests.stack.fixtures import MakeSettings

MASTER = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    made = make_settings(partitions=2, encryption="on", master_key=MASTER)
    return msgspec.structs.replace(made, keys_schema=f"{made.projection}_keys")


@pytest.fixture
async def stack(settings: Settings) -> AsyncIterator[Stack]:
    async with stack_of(settings) as opened:
        yield opened
