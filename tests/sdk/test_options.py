"""Every option of every method of the Python client changes something, and the table names it.

A method or an option of a newer client that no table has fails the first test by its name.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, get_args

import pytest
from langgraph_sdk import get_client, get_sync_client, schema

from tests.sdk.changes_assistants import ASSISTANTS
from tests.sdk.changes_rest import REST
from tests.sdk.changes_runs import RUNS
from tests.sdk.changes_threads import THREADS
from tests.sdk.driver import ON_EVERY_METHOD, options_of, public_methods
from tests.sdk.options import Seen, Way, seen
from tests.stack.server import LiveServer

WAYS: dict[str, Way] = {**ASSISTANTS, **THREADS, **RUNS, **REST}
LIMIT_S = 90.0
NO_BACK_END = "says where LangSmith files the run: tests/integrations"
UNCHANGED = {
    "runs.create langsmith_tracing": NO_BACK_END,
    "runs.wait langsmith_tracing": NO_BACK_END,
    "runs.stream langsmith_tracing": NO_BACK_END,
    "threads.join_stream thread_id": "a thread that is not there is a stream without events (wire contract §8)",
    "store.get_item refresh_ttl": "puts an item's end off by minutes: tests/ttl",
    "store.search_items refresh_ttl": "puts the end of what is found off by minutes: tests/ttl",
}
"""Options of which two requests show no difference here, each with its reason."""
ELSEWHERE = {
    "threads.stream": "a conversation rather than a call: tests/clients/test_python.py, tests/protocol",
}
OPTIONS = [(method, option) for method, way in WAYS.items() for option in way.changes]


AT_ONCE = 6
ALONE = ("runs.cancel_many", "status")
"""It stops runs of other tests too, so it is tested alone."""

Changes = dict[tuple[str, str], Seen | BaseException]


@pytest.fixture(scope="module")
def changes(server: LiveServer) -> Changes:
    """Return the observed effects of every option."""
    return asyncio.run(_all(server.url))


async def _all(url: str) -> Changes:
    slots = asyncio.Semaphore(AT_ONCE)
    async with get_client(url=url) as client:

        async def one(method: str, option: str) -> Seen:
            async with slots, asyncio.timeout(LIMIT_S):
                return await seen(client, method, option, WAYS[method])

        together = [line for line in OPTIONS if line != ALONE]
        results = await asyncio.gather(*(one(*line) for line in together), return_exceptions=True)
        last = await asyncio.gather(one(*ALONE), return_exceptions=True)
    return dict(zip([*together, ALONE], [*results, *last], strict=True))


def test_no_method_and_no_option_is_forgotten() -> None:
    client, sync_client = get_client(url="http://nowhere"), get_sync_client(url="http://nowhere")
    assert public_methods(client) == public_methods(sync_client) == WAYS.keys() | ELSEWHERE.keys()
    there = {f"{method} {option}" for method in WAYS for option in options_of(client, method)}
    also = {f"{method} {option}" for method in WAYS for option in options_of(sync_client, method)}
    listed = {f"{method} {option}" for method, option in OPTIONS}
    assert there == also
    assert listed | UNCHANGED.keys() == there
    assert not listed & UNCHANGED.keys()


def test_what_every_method_takes_is_known() -> None:
    client = get_client(url="http://nowhere")
    for method in WAYS:
        part, _, name = method.partition(".")
        given = set(inspect.signature(getattr(getattr(client, part), name)).parameters)
        assert given - options_of(client, method) <= ON_EVERY_METHOD


@pytest.mark.parametrize(("method", "option"), OPTIONS, ids=[f"{method} {option}" for method, option in OPTIONS])
def test_an_option_changes_what_its_line_says(changes: Changes, method: str, option: str) -> None:
    one = changes[method, option]
    assert isinstance(one, Seen), repr(one)
    assert WAYS[method].changes[option].shows in one.differences, one


async def test_every_field_that_the_types_name_can_be_selected(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        made = await client.assistants.create("echo", metadata={"fields": "x"})
        thread = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread, "echo", input={"text": "a"})
        await client.crons.create("echo", schedule="0 0 1 1 *", metadata={"fields": "x"})
        mine: Any = {"metadata": {"fields": "x"}, "limit": 1}
        ways: list[tuple[Any, Any]] = [
            (schema.AssistantSelectField, lambda s: client.assistants.search(**mine, select=s)),
            (schema.ThreadSelectField, lambda s: client.threads.search(ids=[thread], select=s)),
            (schema.RunSelectField, lambda s: client.runs.list(thread, select=s)),
            (schema.CronSelectField, lambda s: client.crons.search(**mine, select=s)),
            (
                get_args(schema.ThreadStateSelectField)[0],
                lambda s: client.threads.get_history(thread, limit=1, select=s),
            ),
        ]
        for type, find in ways:
            fields = list(get_args(type))
            [one] = await find(fields)
            assert sorted(one) == sorted(fields)
        await client.assistants.delete(made["assistant_id"])
