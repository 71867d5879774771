"""A service's whole life on one screen: start, serve, drain, stop, in that order, whatever happens.

`run_services` starts several on one event loop in the order given and stops them in reverse, on SIGINT, SIGTERM
or when one of them fails. What hangs is cut off when the process must end (`ending`). A service that cannot start says why in one line (`StartError`); one that fails in an unforeseen way
is named in such a line, its traceback is logged, and whatever hangs in the others cannot keep the process up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import structlog

from .collector import tune_collector
from .ending import Ending

logger = structlog.get_logger(__name__)

SLOW_START_S = 15.0
"""A service that is not up after this is named, again and again: what it waits for may never come."""
FAILED_START_S = 10.0
"""After a failed start: nothing is under way that could be lost, so all services together get this long to stop."""


READY_LIMIT_S = 30.0
"""Services that started and are not ready after this are said to be ready all the same: they may wait for other processes."""
CHECK_PAUSE_S = 0.05
JOIN_S = 10.0
"""A member of a group without partitions after this is a standby, and ready: others have them all."""


class StartError(Exception):
    """Why a service cannot start: one clear line for the terminal; the process exits with 1."""


class Service(Protocol):
    name: str

    async def start(self) -> None:
        """Connect and get ready. Raises StartError."""
        ...

    async def serve(self) -> None:
        """Work until cancelled. Returning or raising ends the process."""
        ...

    async def drain(self) -> None:
        """Take on nothing new and bring what is under way to a point where it can be left."""
        ...

    async def stop(self) -> None:
        """Release everything."""
        ...

    async def not_ready(self) -> str | None:
        """Why it makes no progress, in words for operators; None while it does. Answers within seconds, whatever hangs."""
        ...


STOP_S = 30.0
"""From the signal until all services have stopped, unless `Ending` says otherwise."""
STEP_S = 0.1
"""At least this long for each step of a stop that is late: a step that waits for nothing is done whole."""


async def run_services(
    services: Sequence[Service],
    *,
    ready: Callable[[], None] | None = None,
    ending: Ending | None = None,
    step: Callable[[str], AbstractContextManager[None]] | None = None,
) -> int:
    """Run until a signal (exit code 0), or a failure or a second signal (1). ``ready`` is called once all have started;
    ``ending`` bounds the stop (without: `STOP_S`); ``step`` goes around each service's start, by its name.

    Raises StartError after stopping what had started, at most `FAILED_START_S` later.
    """
    loop = asyncio.get_running_loop()
    ending = ending or Ending(STOP_S)
    ending.listen()
    waiter: asyncio.Task[Any] = asyncio.create_task(ending.requested.wait())
    hurried: asyncio.Task[Any] = asyncio.create_task(ending.hurried.wait())
    started: list[Service] = []
    tasks: dict[asyncio.Task[Any], str] = {}
    code = 0
    up = False
    try:
        for service in services:
            started.append(service)
            starting = asyncio.create_task(_start(service, step))
            # a start may wait for what another service does: a signal, or that one's end, ends the waiting
            ends = [starting, waiter, *tasks]
            while not (await asyncio.wait(ends, timeout=SLOW_START_S, return_when=asyncio.FIRST_COMPLETED))[0]:
                logger.warning("service.starts_slowly", service=service.name)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                break
            _raise_failed(service.name, starting)
            tasks[asyncio.create_task(service.serve(), name=service.name)] = service.name
        else:
            tune_collector()
            up = True
            await _until_ready(services, [waiter, *tasks])
            if not any(task.done() for task in (waiter, *tasks)):
                if ready is not None:
                    ready()
                logger.info("ready", services=[service.name for service in services])
            await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task, name in tasks.items():
            if task.done():
                code = 1
                error = None if task.cancelled() else task.exception()
                logger.error("service.failed", service=name, exc_info=error)
        logger.info("stopping", reason="failure" if code else "signal")
    finally:
        waiter.cancel()
        ending.begin()
        until = None if up else loop.time() + FAILED_START_S

        def left(seconds: float) -> float:
            return max(STEP_S, seconds if until is None else until - loop.time())

        for service in reversed(started):
            await _quietly(service.name, "drain", service.drain(), left(ending.drain_left_s()), hurried)
        for task in tasks:
            task.cancel()
        if tasks:
            await _all_or_hurried(tasks, left(ending.left_s()), hurried)
        for service in reversed(started):
            await _quietly(service.name, "stop", service.stop(), left(ending.left_s()))
        if hurried.done():
            code = 1
        hurried.cancel()
    return code


async def _start(service: Service, step: Callable[[str], AbstractContextManager[None]] | None) -> None:
    """Start it inside of ``step``, which so learns whether the start failed or was given up."""
    with nullcontext() if step is None else step(service.name):
        await service.start()


async def _until_ready(services: Sequence[Service], ends: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until all make progress, one of ``ends`` is done, or `READY_LIMIT_S` are over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + READY_LIMIT_S
    for service in services:
        # nothing signals readiness, which changes back and forth
        while (reason := await service.not_ready()) is not None and not any(task.done() for task in ends):
            if loop.time() > until:
                logger.warning("service.not_ready", service=service.name, reason=reason)
                break
            await asyncio.wait(ends, timeout=CHECK_PAUSE_S, return_when=asyncio.FIRST_COMPLETED)


def _raise_failed(name: str, starting: asyncio.Task[None]) -> None:
    """Raises StartError when the start failed; what nobody foresaw is logged whole and said in a line."""
    try:
        starting.result()
    except StartError:
        raise
    except Exception as error:
        logger.exception("service.start_failed", service=name)
        raise StartError(f"{name} does not start: {type(error).__name__}: {error}") from error


async def _quietly(
    name: str, step: str, work: Coroutine[Any, Any, None], limit_s: float, hurried: asyncio.Task[Any] | None = None
) -> None:
    """Carry it out, for that long at most, or until ``hurried`` is done; a failure is logged."""
    doing = asyncio.create_task(work, name=f"{name} {step}")
    await _all_or_hurried([doing], limit_s, hurried)
    if not doing.done():
        doing.cancel()
        logger.error("service.step_cut_off", service=name, step=step)
    elif not doing.cancelled() and (error := doing.exception()) is not None:
        logger.error("service.step_failed", service=name, step=step, exc_info=error)


async def _all_or_hurried(
    tasks: Iterable[asyncio.Task[Any]], limit_s: float, hurried: asyncio.Task[Any] | None
) -> None:
    """Wait until all are done, for that long at most; once ``hurried`` is done, `STEP_S` longer at most."""
    waiting = asyncio.create_task(asyncio.wait(tasks))
    ends = [waiting] if hurried is None else [waiting, hurried]
    await asyncio.wait(ends, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done() and hurried is not None and hurried.done():
        await asyncio.wait([waiting], timeout=STEP_S)
    waiting.cancel()
