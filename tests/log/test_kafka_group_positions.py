"""Positions of groups on Kafka: a broker that has vanished closes no connection, and aiokafka waits for it longer than a query may take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, KafkaConnectionError
from langlog_backbone.log import LogUnavailable
from langlog_backbone.log.kafka.group_positions import ANSWER_S, GroupPositions
from langlog_backbone.log.kafka.offsets import QUERY_TIMEOUT_S
from langlog_backbone.log.kafka.reader import STOP_TIMEOUT_S
from langlog_backbone.time.sources import monotonic

from tests.stack.sources import in_virtual_time

POSITIONS = {("topic", 0): 7, ("topic", 1): 7}


class Admin:
    """One whose broker may be gone, or answer with errors at first."""

    def __init__(self, *, gone: bool = False, mute: bool = False, errors: Sequence[Exception] = ()) -> None:
        self._gone, self._mute, self._errors = gone, mute, list(errors)
        self.closed = asyncio.Event()

    async def start(self) -> None:
        if self._mute:
            await asyncio.Event().wait()

    async def list_consumer_groups(self) -> list[tuple[str, str]]:
        await self._answer()
        return [("group", "consumer")]

    async def list_consumer_group_offsets(self, group: str, partitions: Any = None) -> dict[KafkaPartition, Any]:
        await self._answer()
        return {KafkaPartition("topic", part): SimpleNamespace(offset=7) for part in range(2)}

    async def _answer(self) -> None:
        if self._gone:
            await asyncio.Event().wait()
        if self._errors:
            raise self._errors.pop(0)

    async def close(self) -> None:
        self.closed.set()
        if self._gone:  # what it has not taken waits to be sent
            await asyncio.Event().wait()


class Member:
    """A consumer whose broker takes a commit, and is gone before it is stopped."""

    def __init__(self) -> None:
        self.committed: dict[KafkaPartition, int] = {}

    async def start(self) -> None: ...

    def assign(self, partitions: Sequence[KafkaPartition]) -> None: ...

    async def commit(self, offsets: dict[KafkaPartition, int]) -> None:
        self.committed |= offsets

    async def stop(self) -> None:
        await asyncio.Event().wait()


def positions_of(admins: Sequence[Admin], member: Any = None) -> GroupPositions:
    left: list[Any] = list(admins)
    return GroupPositions(lambda: left.pop(0), lambda group: member, ["topic"], "", lambda: True)


@pytest.mark.parametrize("first", [{"gone": True}, {"mute": True}, {"errors": [KafkaConnectionError()]}])
@in_virtual_time
async def test_a_broker_that_is_gone_is_asked_no_more(first: dict[str, Any]) -> None:
    admins = [Admin(**first), Admin()]
    positions = positions_of(admins)
    for _ in range(2):
        assert await positions.committed("group", POSITIONS) == POSITIONS
        assert await positions.all() == {"group": POSITIONS}
    await positions.stop()
    assert all(admin.closed.is_set() for admin in admins)


@in_virtual_time
async def test_all_positions_come_from_another_connection_when_one_has_no_answer() -> None:
    assert await positions_of([Admin(gone=True), Admin()]).all() == {"group": POSITIONS}


@in_virtual_time
async def test_a_coordinator_that_loads_is_asked_again_on_the_same_connection() -> None:
    errors = [CoordinatorLoadInProgressError(), CoordinatorNotAvailableError()]
    assert await positions_of([Admin(errors=errors)]).committed("group", POSITIONS) == POSITIONS


@in_virtual_time
async def test_a_query_ends_while_no_broker_answers() -> None:
    positions, began = positions_of([Admin(gone=True) for _ in range(20)]), monotonic()
    with pytest.raises(LogUnavailable):
        await positions.committed("group", POSITIONS)
    with pytest.raises(LogUnavailable):
        await positions.all()
    await positions.stop()
    assert monotonic() - began <= 3 * QUERY_TIMEOUT_S + STOP_TIMEOUT_S + ANSWER_S


@in_virtual_time
async def test_a_commit_from_outside_the_group_ends_although_its_client_cannot_stop() -> None:
    member, began = Member(), monotonic()
    ahead = dict.fromkeys(POSITIONS, 8)
    assert await positions_of([Admin()], member).commit_alone("group", ahead)
    assert set(member.committed.values()) == {8}
    assert monotonic() - began <= STOP_TIMEOUT_S
