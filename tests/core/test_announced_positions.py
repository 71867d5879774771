"""Positions of the read model reach this process at once, and others unless nothing was left behind: then a moment later."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from langlog_backbone.redis import channels
from langlog_projector.announce import EMPTY_LINGER_S, Announcer
from langlog_projector.apply import Step

from tests.stack.sources import in_virtual_time

PARTITION = ("run-events", 3)


class FakeBus:
    local = True

    def __init__(self) -> None:
        self.here: list[Any] = []
        self.elsewhere: list[Any] = []

    def deliver_local(self, channel: str, data: bytes) -> None:
        assert channel == channels.WATERMARK
        self.here.append(msgspec.json.decode(data))

    def publish(self, channel: str, data: bytes) -> None:
        assert channel == channels.WATERMARK
        self.elsewhere.append(msgspec.json.decode(data))

    def publish_local(self, channel: str, data: bytes) -> None:
        """Lists; not looked at."""


def announcer() -> tuple[Announcer, FakeBus]:
    bus = FakeBus()
    return Announcer(None, bus), bus  # type: ignore[arg-type]


@in_virtual_time
async def test_a_batch_that_leaves_something_is_published_at_once() -> None:
    announcing, bus = announcer()
    await announcing.committed({PARTITION: Step(0, 5, None)})
    assert bus.here == bus.elsewhere == [{"run-events": {"3": 5}}]


@in_virtual_time
async def test_one_that_leaves_nothing_is_published_after_a_moment_or_with_the_next_one() -> None:
    announcing, bus = announcer()
    await announcing.committed({PARTITION: Step(0, 5, None)}, empty=True)
    await announcing.committed({PARTITION: Step(5, 7, None)}, empty=True)
    assert (len(bus.here), bus.elsewhere) == (2, [])
    await asyncio.sleep(EMPTY_LINGER_S * 1.1)
    assert bus.elsewhere == [{"run-events": {"3": 7}}]
    await announcing.committed({PARTITION: Step(7, 8, None)}, empty=True)
    await announcing.committed({("run-events", 4): Step(0, 1, None)})
    assert bus.elsewhere[1:] == [{"run-events": {"3": 8, "4": 1}}]
    await asyncio.sleep(EMPTY_LINGER_S * 2)
    assert len(bus.elsewhere) == 2


@in_virtual_time
async def test_nothing_is_published_once_it_has_stopped() -> None:
    announcing, bus = announcer()
    await announcing.committed({PARTITION: Step(0, 5, None)}, empty=True)
    announcing.stop()
    await asyncio.sleep(EMPTY_LINGER_S * 2)
    assert bus.elsewhere == []
