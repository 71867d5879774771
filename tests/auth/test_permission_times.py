"""Times of repeated checks of an open stream's permission, and of its end: hours and days, in virtual time."""

from __future__ import annotations

import asyncio

from langlog_backbone.time.sources import machine_time_ns
from langlog_gateway.http.errors import ApiError
from langlog_gateway.streams.permission import AGAIN_S, EXPIRED, TIMER_MAX_S, Permission

from tests.stack.sources import in_virtual_time

CHECK_S = 60.0
HOUR_S = 3600.0


class Handlers:
    """A project's handlers for a permission."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.error: Exception | None = None

    async def ask(self) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error


def permission() -> Permission:
    return Permission(CHECK_S, lambda: None, "end")


@in_virtual_time
async def test_a_permission_is_asked_for_again_as_often_as_the_setting_says() -> None:
    handlers, held = Handlers(), permission()
    held.follow(handlers.ask, at_once=False)
    await asyncio.sleep(HOUR_S + 1)
    assert len(handlers.asked) == 1 + HOUR_S / CHECK_S
    held.stop()
    await asyncio.sleep(HOUR_S)
    assert len(handlers.asked) == 1 + HOUR_S / CHECK_S
    assert held.ended is None


@in_virtual_time
async def test_a_refusal_ends_the_stream_at_the_next_check_and_nobody_is_asked_again() -> None:
    handlers, held = Handlers(), permission()
    held.follow(handlers.ask, at_once=False)
    await asyncio.sleep(1.5 * CHECK_S)
    handlers.error = ApiError(403, "Forbidden")
    await asyncio.sleep(CHECK_S)
    assert held.ended is not None
    assert held.ended.status == 403
    asked = len(handlers.asked)
    await asyncio.sleep(HOUR_S)
    assert len(handlers.asked) == asked


@in_virtual_time
async def test_handlers_that_fail_for_a_moment_end_nothing() -> None:
    handlers, held = Handlers(), permission()
    handlers.error = ConnectionError("away")
    held.follow(handlers.ask)
    await asyncio.sleep(50.5 * AGAIN_S)
    assert held.ended is None
    assert len(handlers.asked) == 51
    handlers.error = None
    await asyncio.wait_for(held.settle(), 2 * AGAIN_S)
    await asyncio.sleep(HOUR_S)
    assert held.ended is None
    held.stop()


@in_virtual_time
async def test_handlers_that_go_on_failing_end_the_stream() -> None:
    handlers, held = Handlers(), permission()
    handlers.error = ConnectionError("away")
    held.follow(handlers.ask)
    await asyncio.sleep(CHECK_S + 2 * AGAIN_S)
    assert held.ended is not None
    assert held.ended.status == 503


@in_virtual_time
async def test_a_stream_ends_in_the_second_in_which_its_caller_s_credentials_expire() -> None:
    held = permission()
    held.expire_at(machine_time_ns() / 1e9 + HOUR_S)
    await asyncio.sleep(HOUR_S - 0.5)
    assert held.ended is None
    await asyncio.sleep(1)
    assert held.ended is not None
    assert (held.ended.status, held.ended.detail) == (401, EXPIRED)


@in_virtual_time
async def test_credentials_that_have_expired_end_the_stream_at_once_and_those_of_next_month_do_not_yet() -> None:
    late, far = permission(), permission()
    late.expire_at(machine_time_ns() / 1e9 - HOUR_S)
    far.expire_at(machine_time_ns() / 1e9 + TIMER_MAX_S - HOUR_S)
    await asyncio.sleep(0.001)
    assert late.ended is not None
    await asyncio.sleep(TIMER_MAX_S - 2 * HOUR_S)
    assert far.ended is None
    await asyncio.sleep(2 * HOUR_S)
    assert far.ended is not None
