"""The life cycle of a service: start, serve, drain, stop, in that order, whatever happens.

`run_services` starts several on one event loop in the order given and stops them in reverse, on SIGINT, SIGTERM
or when one of them fails. A service that hangs is cut off when the process must end (`ending`).
A service that cannot start reports the reason in one line (`StartError`); one that fails in an unexpected way
is named in such a line, its traceback is logged, and other services that hang cannot keep the process up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import structlog

from .collector import tune_collector
from .ending import Ending

logger = structlog.get_logger(__name__)

SLOW_START_S = 15.0
"""Seconds after which a service that has not started is reported, repeatedly: what it waits for may never happen."""
FAILED_START_S = 10.0
"""Seconds to stop after a failed start: nothing is under way that could be lost, so all services together get this long to stop."""


READY_LIMIT_S = 30.0
"""Seconds after which started services are reported as ready although they are not: they may wait for other processes."""
CHECK_PAUSE_S = 0.05
JOIN_S = 10.0
"""Seconds after which a member of a group without partitions is a standby, and ready: others have them all."""


class StartError(Exception):
    """A service cannot start. The message is one line for the terminal; the process exits with 1."""


class Service(Protocol):
    name: str

    async def start(self) -> None:
        """Connect and get ready. Raises StartError."""
        ...

    async def serve(self) -> None:
        """Work until cancelled. Returning or raising ends the process."""
        ...

    async def drain(self) -> None:
        """Accept no new work, and bring the current work to a point where it can be left."""
        ...

    async def stop(self) -> None:
        """Release everything."""
        ...

    async def not_ready(self) -> str | None:
        """Return why it makes no progress, in words for operators; None while it does. Answers within seconds, whatever hangs."""
        ...


STOP_S = 30.0
"""Seconds from the signal until all services have stopped, without an `Ending`."""
STEP_S = 0.1
"""Minimum seconds for each step of a stop that is late: a step that waits for nothing is done whole."""


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
        await _stop_all(started, tasks, ending, hurried, None if up else loop.time() + FAILED_START_S)
        if hurried.done():
            code = 1
        hurried.cancel()
    return code


async def _stop_all(
    started: Sequence[Service],
    tasks: Mapping[asyncio.Task[Any], str],
    ending: Ending,
    hurried: asyncio.Task[Any],
    until: float | None,
) -> None:
    """Drain the services in reverse order, end their tasks, stop them. ``until``: the loop's time by which all is to be over,
    instead of ``ending``'s."""
    loop = asyncio.get_running_loop()

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


async def _start(service: Service, step: Callable[[str], AbstractContextManager[None]] | None) -> None:
    """Start a service inside ``step``, which thereby sees a failure or cancellation."""
    with nullcontext() if step is None else step(service.name):
        await service.start()


async def _until_ready(services: Sequence[Service], ends: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until all services make progress, one of ``ends`` is done, or `READY_LIMIT_S` have passed."""
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
    """Raise StartError if the start failed; log an unexpected exception with its traceback."""
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
    """Await a step, for that long at most, or until ``hurried`` is done; a failure is logged."""
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
