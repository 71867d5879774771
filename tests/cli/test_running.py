"""The event loop of a process outlasts what its tasks do."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from langlog.services.running import outlast_exits


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


async def leave() -> None:
    sys.exit(3)


async def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("exit", [leave, interrupt])
def test_an_exit_of_another_task_fails_who_waits_for_it_alone(
    runner: asyncio.Runner, exit: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, int)  # as services do
        try:
            for _ in range(3):
                async with asyncio.timeout(10):
                    with pytest.raises((SystemExit, KeyboardInterrupt)):
                        await asyncio.create_task(exit())
            return 7
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    assert outlast_exits(runner, main()) == 7


def test_an_interrupt_of_the_system_ends_a_process_that_does_not_handle_it_yet(runner: asyncio.Runner) -> None:
    async def main() -> int:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
        return 7

    with pytest.raises(KeyboardInterrupt):
        outlast_exits(runner, main())


def test_an_exit_of_the_process_itself_ends_it(runner: asyncio.Runner) -> None:
    async def main() -> int:
        await asyncio.sleep(0)
        sys.exit(5)

    with pytest.raises(SystemExit, match="5"):
        outlast_exits(runner, main())


def test_an_error_of_the_process_itself_comes_back(runner: asyncio.Runner) -> None:
    async def main() -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        outlast_exits(runner, main())
