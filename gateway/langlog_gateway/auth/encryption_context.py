"""The ``ctx.metadata`` of the project's encryption handlers: the request's ``X-Encryption-Context``, or what the project derives from it.

The header is base64 of a JSON object. A handler registered by ``@encryption.context`` is called once per request, with the authenticated
user. The context is no secret: it is stored beside the values encrypted under it, in the run's configurable and in
checkpoints, so that it is available when they are read.

Concurrency: on the gateway's event loop. An exception of the handler refuses the request (500), before anything is written.
"""

from __future__ import annotations

import base64
import binascii
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from langlog_backbone.process.service import StartError
from langlog_backbone.project.exits import contained
from langlog_backbone.project.imports import load_object
from langlog_backbone.project.json_handlers import (
    CONTEXT_KEY,
    NO_CONTEXT,
    HandlerFault,
    JsonHandlers,
    has_json_handlers,
)
from langlog_schemas import commands as cmd

from ..http.errors import ApiError
from ..http.options import Options
from .access import caller
from .sealed_commands import CommandSealer
from .starlette import Caller

if TYPE_CHECKING:
    from langgraph_sdk import Encryption

HEADER = "x-encryption-context"
CONTEXT_MAX = 8_190
"""Maximum size of a context as JSON, in bytes."""
WRONG = "X-Encryption-Context must be a JSON object in base64"

_request: ContextVar[web.Request | None] = ContextVar("langlog_request", default=None)


def serving(request: web.Request) -> None:
    """Mark this task as serving the request: commands that it appends are sealed with the request's context."""
    _request.set(request)


class EncryptionContexts:
    """Contexts of requests. ``encryption`` None: the project encrypts nothing, and the header is ignored."""

    def __init__(self, encryption: Encryption | None, handlers: JsonHandlers | None = None) -> None:
        self._encryption = encryption
        self._handlers = handlers

    @property
    def any(self) -> bool:
        """Whether the project encrypts."""
        return self._encryption is not None

    async def of(self, request: web.Request) -> dict[str, str]:
        """Return the member of the configurable, if there is a context. Raises ApiError 400 for a header of another form."""
        if self._encryption is None:
            return {}
        if CONTEXT_KEY not in request:
            request[CONTEXT_KEY] = await self._made(self._encryption, request)
        context: str = request[CONTEXT_KEY]
        return {} if context == NO_CONTEXT else {CONTEXT_KEY: context}

    @property
    def json(self) -> JsonHandlers | None:
        """The project's handlers for JSON."""
        return self._handlers

    async def sealed(self, command: cmd.Body) -> cmd.Body:
        """Return the command, sealed for appending. Raises ApiError, HandlerFault and what a handler raises."""
        if self._handlers is None:
            return command
        request = _request.get()
        context = NO_CONTEXT if request is None else (await self.of(request)).get(CONTEXT_KEY, NO_CONTEXT)
        return await CommandSealer(self._handlers, context).sealed(command)

    async def _made(self, encryption: Encryption, request: web.Request) -> str:
        context = _given(request.headers.get(HEADER, ""))
        user = caller(request)
        if encryption._context_handler is not None and user is not None:
            from langgraph_sdk import EncryptionContext

            handler: Any = encryption._context_handler
            with contained():
                context = await handler(Caller(user), EncryptionContext(metadata=context))
            if not isinstance(context, dict):
                raise TypeError(f"the encryption.context handler must give a dict, not {type(context).__name__}")
        text = msgspec.json.encode(context).decode()
        if len(text) > CONTEXT_MAX:
            raise ApiError(400, f"The encryption context has {len(text)} characters as JSON, more than {CONTEXT_MAX}")
        return text


def _given(header: str) -> dict[str, Any]:
    if not header:
        return {}
    try:
        members = msgspec.json.decode(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        raise ApiError(400, WRONG) from None
    if not isinstance(members, dict):
        raise ApiError(400, WRONG)
    return members


def load_encryption_contexts(options: Options) -> EncryptionContexts:
    """Imports the project's encryption object, where it has one. Raises StartError."""
    section = {} if options.project is None else options.project.section("encryption")
    if not section:
        return EncryptionContexts(None)
    encryption = load_object(options.owner(), "encryption.path", section["path"])
    from langgraph_sdk import Encryption  # here: only projects that encrypt need it

    if not isinstance(encryption, Encryption):
        raise StartError(
            f"encryption.path: {section['path']!r} is a {type(encryption).__name__}, not a langgraph_sdk.Encryption"
        )
    try:
        sealing = section.get("json") != "clear" and has_json_handlers(encryption)
    except HandlerFault as fault:
        raise StartError(f"encryption.path: {section['path']!r}: {fault}") from None
    return EncryptionContexts(encryption, JsonHandlers(encryption) if sealing else None)
