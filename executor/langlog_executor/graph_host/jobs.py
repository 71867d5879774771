"""One run or query on a graph host, as the worker sees it: its calls, its stream, and its result.

Concurrency: on the I/O loop. Calls are executed in the order of arrival, as far as they need not wait for
anything; a call that waits (for Postgres, for the log) is a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, assert_never

import structlog

from ..values.error_text import described, traceback_of
from .protocol import NO_ANSWER, Answered, Call, End, Hold, ProtocolFault, Refuse, Stop, Stream, ToHost

logger = structlog.get_logger(__name__)


class HostLost(Exception):
    """The process of the job has died; its progress beyond its writes is unknown."""

    for_clients = True


class Job:
    def __init__(
        self,
        id: int,
        send: Callable[[ToHost], None],
        call: Callable[[str, list[Any]], Awaitable[Any] | None],
        stream: Callable[[list[list[Any]]], None] | None,
        about: dict[str, str],
    ) -> None:
        self.id = id
        self.about = about
        """Names of run, thread and graph, for the log."""
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        """Future of the host's result; fails with HostLost, or with the error of a call that was not awaited."""
        self._send = send
        self._call = call
        self._stream = stream
        self._under_way: set[asyncio.Task[None]] = set()
        self.fault: BaseException | None = None
        """Error of a call that was not awaited, for which the job was stopped."""

    def stop(self, how: str) -> None:
        """Request the end: ``cancel`` or ``drain``; the job ends by itself."""
        if not self.done.done():
            self._send(Stop(self.id, "drain" if how == "drain" else "cancel"))

    def hold(self, *, on: bool) -> None:
        """Have the stream wait on the host, or go on."""
        if not self.done.done():
            self._send(Hold(self.id, on))

    def drop(self) -> None:
        """Ignore further messages of the job, and refuse its calls."""
        if not self.done.done():
            self._send(Stop(self.id, "drop"))
            self.done.cancel()
        for task in self._under_way:
            task.cancel()

    # of the host's messages

    def take(self, message: Call | Stream | End) -> None:
        match message:
            case Call():
                self._called(message)
            case Stream():
                self._streamed(message.items)
            case End():
                self._ended(message.result)
            case _:
                assert_never(message)

    def _called(self, call: Call) -> None:
        if self.done.done():
            return
        try:
            waiting = self._call(call.name, call.args)
        except Exception as error:
            self._refuse(call, error)
            return
        if waiting is None:
            self._answer(call, None)
            return
        task = asyncio.ensure_future(self._answered(call, waiting))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _streamed(self, items: list[list[Any]]) -> None:
        if self._stream is None or self.done.done():
            return
        try:
            self._stream(items)
        except Exception as error:
            logger.exception("graph_host.stream_failed", **self.about)
            self.fault = self.fault or error
            self.stop("cancel")

    def _ended(self, result: Any) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def failed(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # retrieved: an abandoned job has no waiter
        for task in self._under_way:
            task.cancel()

    async def _answered(self, call: Call, waiting: Awaitable[Any]) -> None:
        try:
            value = await waiting
        except Exception as error:
            self._refuse(call, error)
        else:
            self._answer(call, value)

    def _answer(self, call: Call, value: Any) -> None:
        if call.call == NO_ANSWER or self.done.done():
            return
        try:
            self._send(Answered(self.id, call.call, value))
        except ProtocolFault as error:
            self._refuse(call, error)

    def _refuse(self, call: Call, error: Exception) -> None:
        if self.done.done():
            return
        if call.call == NO_ANSWER:
            self.fault = self.fault or error
            self.stop("cancel")
            return
        known = described(error)
        if not getattr(error, "for_clients", False):
            logger.warning("graph_host.call_failed", call=call.name, traceback=traceback_of(error), **self.about)
        self._send(Refuse(self.id, call.call, known.error, known.message))
