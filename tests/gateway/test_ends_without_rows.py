"""A stateless run's row goes with its thread: who waits for it is answered from its end, not from a row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from langlog_backbone.log import Record
from langlog_backbone.redis import channels
from langlog_projector.announce import Announcer
from langlog_projector.projection import Projection
from langlog_schemas import events as ev

from .conftest import MakeStack, Stack

KEYS: dict[str, dict[str, str]] = {"without a key": {}, "with a key": {"idempotency-key": "k"}}
RUN = {"assistant_id": "echo", "input": {"n": 7}}


@pytest.fixture
def one_batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Record]]:
    """Make the projector fold nothing until a thread is deleted, and then all at once."""
    held: list[Record] = []
    project = Projection.project

    async def hold(self: Projection, records: Sequence[Record]) -> None:
        held.extend(records)
        if any(b'"deletes_thread":true' in record.value for record in records):
            batch, held[:] = list(held), []
            await project(self, batch)

    monkeypatch.setattr(Projection, "project", hold)
    yield held


@pytest.mark.parametrize("headers", KEYS.values(), ids=KEYS.keys())
async def test_a_run_whose_making_end_and_deletion_are_folded_in_one_batch_is_answered_with_its_output(
    make_stack_on_both: MakeStack, request: pytest.FixtureRequest, headers: dict[str, str]
) -> None:
    async with make_stack_on_both() as stack:
        request.getfixturevalue("one_batch")
        assert await stack.call("POST", "/runs/wait", RUN, headers=headers) == (200, {"n": 7})


@pytest.mark.parametrize("headers", KEYS.values(), ids=KEYS.keys())
async def test_the_stream_of_such_a_run_has_all_its_events(
    make_stack_on_both: MakeStack, request: pytest.FixtureRequest, headers: dict[str, str]
) -> None:
    async with make_stack_on_both() as stack:
        request.getfixturevalue("one_batch")
        async with stack.http.post(f"{stack.url}/runs/stream", json=RUN, headers=headers) as answer:
            events = await stack.events(answer)
        assert ("values", {"n": 7}) in events
        assert "error" not in dict(events)


async def test_such_a_run_of_a_keyed_batch_is_shown_as_it_was_made(
    make_stack_on_both: MakeStack, request: pytest.FixtureRequest
) -> None:
    async with make_stack_on_both() as stack:
        request.getfixturevalue("one_batch")
        status, made = await stack.call("POST", "/runs/batch", [RUN], headers={"idempotency-key": "k"})
        assert (status, made[0]["status"], made[0]["kwargs"]["input"]) == (200, "pending", {"n": 7})


@pytest.mark.parametrize("headers", KEYS.values(), ids=KEYS.keys())
async def test_a_projector_that_dies_between_its_commit_and_its_messages_keeps_nobody_waiting(
    make_stack_on_both: MakeStack, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    async with make_stack_on_both() as stack:
        committed = Announcer.committed
        died = asyncio.Event()

        async def die(self: Announcer, steps: Mapping[Any, Any], **more: Any) -> None:
            if any(update.type in (ev.RunSucceeded.TYPE, ev.ThreadDeleted.TYPE) for update in self._updates):
                if any(update.type == ev.ThreadDeleted.TYPE for update in self._updates):
                    died.set()
                self._forget()
            await committed(self, steps, **more)

        monkeypatch.setattr(Announcer, "committed", die)
        asked = asyncio.create_task(stack.call("POST", "/runs/wait", RUN, headers=headers))
        async with asyncio.timeout(60):
            await died.wait()
            _succeed(stack)
            assert await asked == (200, {"n": 7})


async def test_a_run_that_nobody_asked_for_is_not_looked_for(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("the log was read for a run that was never there")

    monkeypatch.setattr(stack.backbone.log, "fetch", never)
    unknown = "00000000-0000-4000-8000-000000000000"
    status, received = await stack.call("GET", f"/threads/{unknown}/runs/{unknown}/join")
    assert (status, received["__error__"]["message"]) == (200, "404: Run not found")


def _succeed(stack: Stack) -> None:
    """Publish a succession, like the next owner of the partitions."""
    taken = msgspec.json.encode(list(range(stack.backbone.log.partitions)))
    stack.backbone.bus.deliver_local(channels.SUCCESSION, taken)
