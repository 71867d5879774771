"""Seals commands of projects with JSON handlers before they are appended: values from clients, with the request's context.

Updates that a worker has prepared (`commands.UpdateState`) are sealed already. Names, schedules, URLs of webhooks and
namespaces and keys of the store stay in clear: the server uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from langlog_backbone.project.json_handlers import CONTEXT_KEY, NO_CONTEXT, About, JsonHandlers
from langlog_schemas import commands as cmd
from langlog_schemas.rules.filters import Group, terms
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from ..http.errors import unprocessable

SEALED_FILTER = (
    "The encryption handler encrypt.json has sealed {!r} in the metadata, which the project's authorization filters by: "
    "leave it as it is"
)


class CommandSealer:
    """``context``: that of the commands' request, as JSON text."""

    def __init__(self, handlers: JsonHandlers, context: str) -> None:
        self._handlers = handlers
        self._context = context

    async def sealed(self, command: cmd.Body) -> cmd.Body:
        """Return the command with its values sealed. Raises ApiError 422 for a member that authorization needs,
        HandlerFault, and what a handler raises."""
        match command:
            case cmd.CreateThread():
                return replace(
                    command,
                    metadata=await self._metadata("thread", command.metadata, command.visible),
                    config=await self._handlers.seal_config(command.config, self._context, "thread"),
                )
            case cmd.PatchThread():
                return replace(command, metadata=await self._metadata("thread", command.metadata, command.visible))
            case cmd.CreateRun():
                return await self._run(command)
            case cmd.DeleteRun():
                return replace(
                    command,
                    values=Raw(await self._handlers.seal_json(bytes(command.values), self._about("thread", "values"))),
                    interrupts=Raw(await self._handlers.seal_interrupts(bytes(command.interrupts), self._context)),
                )
            case cmd.CreateAssistant() | cmd.PatchAssistant():
                return await self._assistant(command)
            case cmd.WriteStore():
                about = self._about("store", "value")
                ops = [
                    replace(op, value=Raw(await self._handlers.seal_json(bytes(op.value), about))) if op.value else op
                    for op in command.ops
                ]
                return replace(command, ops=ops)
            case cmd.CreateCron() | cmd.PatchCron():
                return await self._cron(command)
            case _:
                return command

    async def _run(self, command: cmd.CreateRun) -> cmd.CreateRun:
        kwargs = await self._handlers.seal_request(msgspec.json.decode(command.kwargs), self._context, "run")
        return replace(
            command,
            kwargs=Raw(msgspec.json.encode(kwargs)),
            metadata=await self._metadata("run", command.metadata, command.visible),
            assistant_metadata=await self._metadata("assistant", command.assistant_metadata, None),
            thread_config=await self._handlers.seal_config(command.thread_config, self._context, "thread"),
        )

    async def _assistant(self, command: cmd.CreateAssistant | cmd.PatchAssistant) -> cmd.Body:
        changes: dict[str, Any] = {}
        if command.metadata is not UNSET:
            changes["metadata"] = await self._metadata("assistant", command.metadata, command.visible)
        if command.config is not UNSET:
            changes["config"] = await self._handlers.seal_config(command.config, self._context, "assistant")
        if command.context is not UNSET:
            changes["context"] = await self._handlers.seal(command.context, self._about("assistant", "context"))
        return replace(command, **changes)

    async def _cron(self, command: cmd.CreateCron | cmd.PatchCron) -> cmd.Body:
        payload = await self._handlers.seal_request(command.payload, self._context, "cron")
        payload.pop(CONTEXT_KEY, None)
        if self._context != NO_CONTEXT:  # what its runs' workers seal by
            payload[CONTEXT_KEY] = self._context
        metadata: dict[str, Any] | UnsetType = command.metadata
        if metadata is not UNSET:
            metadata = await self._metadata("cron", metadata, command.visible)
        return replace(command, payload=payload, metadata=metadata)

    async def _metadata(
        self, model: str, metadata: Mapping[str, Any], visible: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        sealed = await self._handlers.seal_metadata(metadata, self._about(model, "metadata"))
        for name in _names(visible or {}):
            if name in metadata and sealed[name] != metadata[name]:
                raise unprocessable(SEALED_FILTER.format(name))
        return sealed

    def _about(self, model: str, field: str) -> About:
        return About(self._context, model, field)


def _names(wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield the members of metadata that a filter compares."""
    for term in terms(wanted):
        if isinstance(term, Group):
            for inner in term.filters:
                yield from _names(inner)
        else:
            yield term.key
