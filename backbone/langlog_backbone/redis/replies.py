"""Routes replies and answers: one channel of this process on the bus, and the futures that wait there.

    command ──► log ──► decider ──► projector ──Reply──► gw:<id> ──► future
    query ──► Redis list ──► any worker ──Answer──► gw:<id> ──► future

Redis may lose a reply: it restarts, or cuts the subscription. Then the router requests it again from the projectors (channel
``unheard``): as soon as its own subscription is back, and every `RECHECK_S` for commands that still have no outcome. Projectors
keep the replies of the last minutes for this. `queries.QueryClient` sends queries again.

Concurrency: belongs to the event loop of its bus. When the process dies the commands are carried out all
the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from langlog_schemas import messages
from langlog_schemas.messages import ResendReplies

from ..time.clock import new_id
from . import channels
from .client import Bus

REPLY, ANSWER = b"R", b"A"
"""First byte of a message on the channel."""
RECHECK_S = 2.0
"""Seconds without an outcome after which the reply to a command is requested again; repeated at this interval."""
IDS_PER_MESSAGE = 1_000
"""Maximum number of commands that one `ResendReplies` message names."""


class ReplyRouter:
    """``id``: name of the channel; a new one by default."""

    def __init__(self, bus: Bus, id: str = "") -> None:
        self.id = id or new_id()
        self.on_reconnect: list[Callable[[], None]] = []
        """Callbacks, called once the subscription is back after a loss."""
        self._bus = bus
        self._commands: dict[str, list[asyncio.Future[bytes]]] = {}
        self._queries: dict[str, asyncio.Future[bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: set[str] = set()
        """Commands that had no outcome when the timer was set."""
        self._started: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Subscribe; returns once no later reply can be missed. May be called again."""
        if self._started is None:
            self._bus.on_missed.append(self._reconnected)
            self._started = asyncio.ensure_future(self._bus.subscribe(channels.gateway(self.id), self._deliver))
        await asyncio.shield(self._started)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._started is not None:
            self._bus.on_missed.remove(self._reconnected)
            await self._bus.unsubscribe(channels.gateway(self.id), self._deliver)

    def pending_reply(self, command_id: str) -> asyncio.Future[bytes]:
        """Return a future of the command's encoded `Reply`. Call `discard` in any case. Several may wait for one command."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._commands.setdefault(command_id, []).append(future)
        if self._timer is None:
            self._set_timer()
        return future

    def pending_answer(self, query_id: str) -> asyncio.Future[bytes]:
        """Return a future of the query's encoded `Answer`. Call `discard` in any case."""
        future = self._queries[query_id] = asyncio.get_running_loop().create_future()
        return future

    def discard(self, id: str, future: asyncio.Future[bytes]) -> None:
        """Stop waiting for a reply or answer."""
        if self._queries.get(id) is future:
            del self._queries[id]
        waiting = self._commands.get(id)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._commands[id]

    @property
    def idle(self) -> bool:
        """Whether no reply or answer is awaited."""
        return not self._commands and not self._queries

    def _deliver(self, data: bytes) -> None:
        body = data[1:]
        if data[:1] == ANSWER:
            answered = self._queries.get(messages.decode_answer(body).id)
            waiting = [] if answered is None else [answered]
        else:
            waiting = self._commands.get(messages.decode_reply(body).command_id, [])
        for future in waiting:
            if not future.done():
                future.set_result(body)

    def _reconnected(self) -> None:
        self._request_again(list(self._commands))
        for call in self.on_reconnect:
            call()

    def _set_timer(self) -> None:
        self._overdue = set(self._commands)
        self._timer = asyncio.get_running_loop().call_later(RECHECK_S, self._check)

    def _check(self) -> None:
        """Request late replies again: nothing signals that a message was lost."""
        self._timer = None
        self._request_again([id for id in self._commands if id in self._overdue])
        if self._commands:
            self._set_timer()

    def _request_again(self, ids: list[str]) -> None:
        unheard = [id for id in ids if not all(future.done() for future in self._commands[id])]
        for n in range(0, len(unheard), IDS_PER_MESSAGE):
            message = ResendReplies(reply_to=self.id, command_ids=unheard[n : n + IDS_PER_MESSAGE])
            self._bus.publish(channels.RESEND_REPLIES, messages.encode(message))


def time_out(waiting: Iterable[asyncio.Future[bytes]]) -> None:
    """End the wait for replies or answers with TimeoutError: for a timer, which costs a third of `asyncio.timeout`."""
    for future in waiting:
        if not future.done():
            future.set_exception(TimeoutError())
            future.exception()  # retrieved, also where an earlier one has ended the wait
