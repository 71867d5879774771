"""Commands that a worker sends for graph code (store writes, removal of checkpoints), and their outcomes.

The same exchange as a gateway's: the command names a channel of this process to reply to, and the projector replies once the
read model holds the outcome. Ids begin with ``worker-``: such a channel is never in the projector's own process.
Concurrency: belongs to the I/O loop. What happens when it dies: commands that are in the log are carried out all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langlog_backbone import channels
from langlog_backbone.clock import new_id, now_iso
from langlog_backbone.log import NewRecord
from langlog_schemas import commands, envelope, messages

if TYPE_CHECKING:
    from langlog_schemas.commands import Body
    from langlog_schemas.messages import Reply

    from .io_loop import IoLoop

SOURCE = "/langlog/executor"


class CommandRefused(Exception):
    """The command changed nothing. ``status`` as in HTTP."""

    def __init__(self, status: int, detail: str | None) -> None:
        super().__init__(detail or f"refused with status {status}")
        self.status = status


class OutcomeUnknown(Exception):
    """No reply came in time; the command is in the log and will be carried out."""


class CommandSender:
    def __init__(self, io: IoLoop) -> None:
        self._backbone = io.backbone
        self._id = f"{channels.WORKER_ID}{new_id()}"
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._subscribed: asyncio.Future[None] | None = None

    async def send(self, sent: Sequence[Body], *, actor: str | None = None) -> list[Reply]:
        """Append the commands in one go and wait for all outcomes.

        Raises CommandRefused for the first one refused, OutcomeUnknown, and LogUnavailable when nothing was appended.
        """
        await self._subscribe()
        loop = asyncio.get_running_loop()
        time = now_iso()
        records = []
        futures: dict[str, asyncio.Future[Reply]] = {}
        for command in sent:
            id = new_id()
            futures[id] = loop.create_future()
            records.append(
                NewRecord(
                    commands.TOPIC,
                    command.key,
                    commands.encode(command),
                    envelope.headers(
                        id=id,
                        type=command.TYPE,
                        source=SOURCE,
                        time=time,
                        subject=command.key,
                        reply_to=self._id,
                        actor=actor,
                    ),
                )
            )
        self._waiting.update(futures)
        try:
            await self._backbone.log.append(records)
            async with asyncio.timeout(self._backbone.settings.reply_timeout_s):
                replies = [await future for future in futures.values()]
        except TimeoutError:
            raise OutcomeUnknown("no outcome in time; the command is in the log and will be carried out") from None
        finally:
            for id in futures:
                self._waiting.pop(id, None)
        for reply in replies:
            if reply.status != 200:
                raise CommandRefused(reply.status, reply.detail)
        return replies

    async def _subscribe(self) -> None:
        if self._subscribed is None:
            self._subscribed = asyncio.ensure_future(
                self._backbone.bus.subscribe(channels.gateway(self._id), self._on_message)
            )
        await asyncio.shield(self._subscribed)

    def _on_message(self, data: bytes) -> None:
        if data[:1] != b"R":
            return
        reply = messages.decode_reply(data[1:])
        future = self._waiting.get(reply.command_id)
        if future is not None and not future.done():
            future.set_result(reply)
