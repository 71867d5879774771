"""A service's whole life on one screen: start, serve, drain, stop, in that order, whatever happens.

`run_services` starts several on one event loop in the order given and stops them in reverse, on SIGINT, SIGTERM
or when one of them fails. A service that cannot start says why in one line (`StartError`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from .collector import tune_collector

logger = structlog.get_logger(__name__)


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
        """Let go of everything."""
        ...

    async def healthy(self) -> bool:
        """Whether it makes progress."""
        ...


async def run_services(services: Sequence[Service], *, ready: Callable[[], None] | None = None) -> int:
    """Run until a signal (exit code 0) or a failure (1). ``ready`` is called once all have started.

    Raises StartError after stopping what had started.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    waiter: asyncio.Task[Any] = asyncio.create_task(asked.wait())
    started: list[Service] = []
    tasks: dict[asyncio.Task[Any], str] = {}
    code = 0
    try:
        for service in services:
            started.append(service)
            starting = asyncio.create_task(service.start())
            # a start may wait for what another service does: a signal, or that one's end, ends the waiting
            await asyncio.wait([starting, waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                break
            starting.result()
            tasks[asyncio.create_task(service.serve(), name=service.name)] = service.name
        else:
            tune_collector()
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
        for service in reversed(started):
            await _quietly(service.name, "drain", service.drain())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for service in reversed(started):
            await _quietly(service.name, "stop", service.stop())
    return code


async def _quietly(name: str, step: str, work: object) -> None:
    try:
        await work  # type: ignore[misc]
    except Exception:
        logger.exception("service.step_failed", service=name, step=step)
