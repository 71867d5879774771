"""What the project's encryption handlers get as ``ctx.metadata``: the request's ``X-Encryption-Context``, or what the project makes of it.

The header is base64 of a JSON object. A handler registered by ``@encryption.context`` is called once per request, with the authenticated
user. The context is no secret: it stands beside what is encrypted under it, in the run's configurable and in checkpoints, so that it is
there again when they are read.

Concurrency: on the gateway's event loop. What the handler raises refuses the request (500), before anything is written.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from langlog_backbone.process.service import StartError
from langlog_backbone.project.imports import load_object

from ..http.errors import ApiError
from ..http.options import Options
from .access import caller
from .starlette import Caller

if TYPE_CHECKING:
    from langgraph_sdk import Encryption

HEADER = "x-encryption-context"
CONTEXT_MAX = 8_190
"""Bytes of a context as JSON."""
CONTEXT_KEY = "langgraph_encryption_context"
"""Member of a run's configurable: the context as JSON text."""
NOTHING = "{}"
WRONG = "X-Encryption-Context must be a JSON object in base64"


class EncryptionContexts:
    """``encryption`` None: the project encrypts nothing, and the header means nothing."""

    def __init__(self, encryption: Encryption | None) -> None:
        self._encryption = encryption

    @property
    def any(self) -> bool:
        """Whether the project encrypts."""
        return self._encryption is not None

    async def of(self, request: web.Request) -> dict[str, str]:
        """The member of the configurable, if there is a context. Raises ApiError 400 for a header of another form."""
        if self._encryption is None:
            return {}
        if CONTEXT_KEY not in request:
            request[CONTEXT_KEY] = await self._made(self._encryption, request)
        context: str = request[CONTEXT_KEY]
        return {} if context == NOTHING else {CONTEXT_KEY: context}

    async def _made(self, encryption: Encryption, request: web.Request) -> str:
        found = _given(request.headers.get(HEADER, ""))
        user = caller(request)
        if encryption._context_handler is not None and user is not None:
            from langgraph_sdk import EncryptionContext

            handler: Any = encryption._context_handler
            found = await handler(Caller(user), EncryptionContext(metadata=found))
            if not isinstance(found, dict):
                raise TypeError(f"the encryption.context handler must give a dict, not {type(found).__name__}")
        text = msgspec.json.encode(found).decode()
        if len(text) > CONTEXT_MAX:
            raise ApiError(400, f"The encryption context has {len(text)} characters as JSON, more than {CONTEXT_MAX}")
        return text


def _given(header: str) -> dict[str, Any]:
    if not header:
        return {}
    try:
        found = msgspec.json.decode(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        raise ApiError(400, WRONG) from None
    if not isinstance(found, dict):
        raise ApiError(400, WRONG)
    return found


def load_encryption_contexts(options: Options) -> EncryptionContexts:
    """Imports the project's encryption object, where it has one. Raises StartError."""
    section = {} if options.project is None else options.project.section("encryption")
    if not section:
        return EncryptionContexts(None)
    found = load_object(options.owner(), "encryption.path", section["path"])
    from langgraph_sdk import Encryption  # here: only projects that encrypt need it

    if not isinstance(found, Encryption):
        raise StartError(
            f"encryption.path: {section['path']!r} is a {type(found).__name__}, not a langgraph_sdk.Encryption"
        )
    return EncryptionContexts(found)
