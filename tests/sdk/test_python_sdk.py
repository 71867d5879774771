"""Every method of the official Python clients works, with each of its options, and none is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.sdk import drive_assistants, drive_crons, drive_runs, drive_store, drive_threads  # noqa: F401  (they register)
from tests.sdk.driver import DRIVES, Client, Driver, options_of, public_methods
from tests.stack.server import LiveServer

ELSEWHERE = {
    "threads.stream": "a conversation rather than a call: tests/clients/test_python.py",
}
"""Method -> where it is driven, if not here."""

KINDS = ["asynchronous", "synchronous"]


@pytest.fixture(params=KINDS)
async def client(server: LiveServer, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "synchronous":
        with get_sync_client(url=server.url) as opened:
            yield opened
    else:
        async with get_client(url=server.url) as opened:
            yield opened


async def test_no_public_method_is_forgotten(client: Client) -> None:
    assert public_methods(client) == DRIVES.keys() | ELSEWHERE.keys()
    assert not DRIVES.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("method", sorted(DRIVES))
async def test_a_method_does_what_it_is_for_with_each_of_its_options(client: Client, method: str) -> None:
    sdk: Any = Driver(client)
    await DRIVES[method](sdk)
    assert options_of(client, method) <= sdk.given[method], "options that the drive does not give"
