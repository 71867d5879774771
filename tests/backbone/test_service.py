"""The life of services that share a process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from langlog_backbone.process.ending import Ending
from langlog_backbone.process.service import SLOW_START_S, STEP_S, Service, StartError, run_services
from structlog.testing import CapturingLogger

from tests.stack.sources import in_virtual_time

WAIT_S = 60.0


class ScriptedService:
    """A service that writes down what is done with it and does what a test tells it."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.name = name
        self._diary = diary
        self.start_waits_for = asyncio.Event()
        self.start_waits_for.set()
        self.start_error: Exception | None = None
        self.starting = asyncio.Event()
        self.looks = 0
        self.behind = 0
        """Number of checks for which it is not ready."""
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self._diary.append(f"{self.name} start")
        self.starting.set()
        await self.start_waits_for.wait()
        if self.start_error is not None:
            raise self.start_error

    async def serve(self) -> None:
        await self.end

    async def drain(self) -> None:
        self._diary.append(f"{self.name} drain")

    async def stop(self) -> None:
        self._diary.append(f"{self.name} stop")

    async def not_ready(self) -> str | None:
        self.looks += 1
        return "it is behind" if self.looks <= self.behind else None


async def hang(diary: list[str], began: asyncio.Event | None = None) -> None:
    diary.append("hangs")
    if began is not None:
        began.set()
    await asyncio.Event().wait()


ENDED = ["b drain", "a drain", "b stop", "a stop"]


def two(diary: list[str]) -> tuple[ScriptedService, ScriptedService, list[Service]]:
    a, b = ScriptedService("a", diary), ScriptedService("b", diary)
    return a, b, [a, b]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@in_virtual_time
async def test_services_start_in_order_and_end_in_reverse_on_a_signal(number: int) -> None:
    diary: list[str] = []
    _, _, services = two(diary)
    ready = asyncio.Event()
    running = asyncio.create_task(run_services(services, ready=ready.set))
    await asyncio.wait_for(ready.wait(), WAIT_S)
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(running, WAIT_S) == 0
    assert diary == ["a start", "b start", *ENDED]


@in_virtual_time
async def test_a_process_is_ready_once_all_its_services_make_progress() -> None:
    a, b, services = two([])
    a.behind = b.behind = 3
    ready = asyncio.Event()
    running = asyncio.create_task(run_services(services, ready=ready.set))
    await asyncio.wait_for(ready.wait(), WAIT_S)
    assert (a.looks, b.looks) == (4, 4)
    a.end.set_result(None)
    assert await asyncio.wait_for(running, WAIT_S) == 1


@in_virtual_time
async def test_a_process_that_is_to_end_before_it_is_ready_ends() -> None:
    diary: list[str] = []
    a, _, services = two(diary)
    a.behind = 1_000_000
    running = asyncio.create_task(run_services(services, ready=lambda: diary.append("ready")))
    await asyncio.wait_for(asyncio.gather(*(_looked(service) for service in services[:1])), WAIT_S)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, WAIT_S) == 0
    assert diary == ["a start", "b start", *ENDED]


async def _looked(service: Any) -> None:
    while not service.looks:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("error", [RuntimeError("broken"), None])
@in_virtual_time
async def test_one_that_ends_takes_the_others_along_and_the_process_says_failure(error: Exception | None) -> None:
    diary: list[str] = []
    a, _, services = two(diary)
    ready = asyncio.Event()
    running = asyncio.create_task(run_services(services, ready=ready.set))
    await asyncio.wait_for(ready.wait(), WAIT_S)
    a.end.set_result(None) if error is None else a.end.set_exception(error)
    assert await asyncio.wait_for(running, WAIT_S) == 1
    assert diary[2:] == ENDED


@in_virtual_time
async def test_one_that_cannot_start_stops_those_that_had_and_says_why() -> None:
    diary: list[str] = []
    _, b, services = two(diary)
    b.start_error = StartError("no room")
    with pytest.raises(StartError, match="no room"):
        await asyncio.wait_for(run_services(services), WAIT_S)
    assert diary == ["a start", "b start", *ENDED]


@in_virtual_time
async def test_what_nobody_foresaw_in_a_start_is_said_in_a_line_too() -> None:
    diary: list[str] = []
    _, b, services = two(diary)
    b.start_error = KeyError("gone")
    with pytest.raises(StartError, match="b does not start: KeyError: 'gone'"):
        await asyncio.wait_for(run_services(services), WAIT_S)
    assert diary == ["a start", "b start", *ENDED]


@in_virtual_time
async def test_what_shows_the_steps_of_a_start_sees_which_one_failed() -> None:
    diary: list[str] = []
    _, b, services = two(diary)
    b.start_error = StartError("no room")

    @contextlib.contextmanager
    def step(name: str) -> Iterator[None]:
        yield
        diary.append(f"{name} done")

    with pytest.raises(StartError, match="no room"):
        await asyncio.wait_for(run_services(services, step=step), WAIT_S)
    assert diary == ["a start", "a done", "b start", *ENDED]


@pytest.mark.parametrize("step", ["drain", "stop"])
@in_virtual_time
async def test_after_a_failed_start_what_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    diary: list[str] = []
    a, b, services = two(diary)
    b.start_error = RuntimeError("broken")
    monkeypatch.setattr(a, step, functools.partial(hang, diary))
    with pytest.raises(StartError, match="broken"):
        await asyncio.wait_for(run_services(services), WAIT_S)
    assert diary == ["a start", "b start", *("hangs" if x == f"a {step}" else x for x in ENDED)]


@in_virtual_time
async def test_a_signal_ends_a_start_that_waits() -> None:
    diary: list[str] = []
    _, b, services = two(diary)
    b.start_waits_for.clear()
    running = asyncio.create_task(run_services(services))
    await asyncio.wait_for(b.starting.wait(), WAIT_S)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, WAIT_S) == 0
    assert diary == ["a start", "b start", *ENDED]


@in_virtual_time
async def test_a_start_that_takes_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _, b, services = two([])
    b.start_waits_for.clear()
    logger = CapturingLogger()
    monkeypatch.setattr("langlog_backbone.process.service.logger", logger)
    running = asyncio.create_task(run_services(services, ready=lambda: os.kill(os.getpid(), signal.SIGTERM)))
    await asyncio.wait_for(b.starting.wait(), WAIT_S)
    await asyncio.sleep(SLOW_START_S * 0.9)
    assert not logger.calls
    await asyncio.sleep(SLOW_START_S * 0.2)
    b.start_waits_for.set()
    assert await asyncio.wait_for(running, WAIT_S) == 0
    assert (logger.calls[0].args, logger.calls[0].kwargs) == (("service.starts_slowly",), {"service": "b"})


@in_virtual_time
async def test_a_start_does_not_wait_for_a_service_that_has_failed() -> None:
    diary: list[str] = []
    a, b, services = two(diary)
    b.start_waits_for.clear()
    running = asyncio.create_task(run_services(services))
    await asyncio.wait_for(b.starting.wait(), WAIT_S)
    a.end.set_exception(RuntimeError("broken"))
    assert await asyncio.wait_for(running, WAIT_S) == 1
    assert diary == ["a start", "b start", *ENDED]


@pytest.mark.parametrize("step", ["drain", "stop"])
@in_virtual_time
async def test_a_step_that_hangs_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    diary: list[str] = []
    a, b, services = two(diary)
    for service in (a, b):
        monkeypatch.setattr(service, step, functools.partial(hang, diary))
    running = asyncio.create_task(
        run_services(services, ready=lambda: os.kill(os.getpid(), signal.SIGTERM), ending=Ending(20.0))
    )
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await asyncio.wait_for(running, WAIT_S) == 0
    assert clock() - began <= 20.0 + len(services) * STEP_S
    assert diary == ["a start", "b start", *("hangs" if x.endswith(step) else x for x in ENDED)]


@in_virtual_time
async def test_a_second_signal_ends_the_draining_and_still_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    diary: list[str] = []
    _, b, services = two(diary)
    drains = asyncio.Event()
    monkeypatch.setattr(b, "drain", functools.partial(hang, diary, drains))
    running = asyncio.create_task(run_services(services, ready=lambda: os.kill(os.getpid(), signal.SIGTERM)))
    await asyncio.wait_for(drains.wait(), WAIT_S)
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(running, WAIT_S) == 1
    assert diary == ["a start", "b start", "hangs", *ENDED[1:]]
