"""A stack with a scheduler that looks for what is past its time every few moments; the workers are played by the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateway.conftest import MakeStack, Stack, make_stack
from tests.webhooks.conftest import MakeProject, make_project, scheduler

__all__ = ["make_project", "make_stack"]

SOON = 0.002
"""Minutes."""


@pytest.fixture
def make_sweeping(make_stack: MakeStack, make_project: MakeProject) -> Any:
    @contextlib.asynccontextmanager
    async def make(ttl: dict[str, Any] | None = None, **sections: Any) -> AsyncIterator[Stack]:
        checkpointer = {"ttl": {"sweep_interval_minutes": SOON, **(ttl or {})}}
        project = make_project(checkpointer=checkpointer, **sections)
        async with make_stack(project=project) as stack, scheduler(stack.backbone):
            yield stack

    return make


@pytest.fixture
async def stack_without_sweeps(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack() as stack:
        yield stack
