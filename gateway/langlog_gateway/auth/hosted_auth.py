"""A project's `Auth` in JavaScript at work: the same gate as `custom_auth`, asked in a process of its own.

The process gets method, address and headers of a request, not its body: that is received once the caller is authenticated. Source of
the order in which handlers are looked for, and of what they are given: ``@langchain/langgraph-api`` (MIT), ``auth``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from langgraph_sdk import Auth
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.hosted_code import HostedCode

from ..http.backends import Reads
from ..http.options import AuthCache, Options
from ..http.validation import url_of
from .custom_auth import CustomAuth, Studios, studios, warn_of_uncovered
from .hosted_session import HostedSession

HTTP_OK = 200
LIMIT_S = 60.0
"""For one answer of the project's code."""


class _Refused(Exception):
    """Response of the project's code, or for the lack of its process, that replaces that of the request."""

    def __init__(self, status: int, detail: str) -> None:
        self.status_code, self.detail = status, detail
        super().__init__(detail)


class _Refusal(msgspec.Struct):
    status: int
    detail: str


class _Answer(msgspec.Struct):
    """``user`` of an authentication; ``answer`` and the changed ``value`` of an authorization."""

    user: Any = None
    answer: Any = None
    value: Any = None
    refused: _Refusal | None = None
    failed: str | None = None


class HandlerFailed(Exception):
    """The project's code threw something else than an HTTPException; its text is in the log alone."""


class HostedAuth(CustomAuth):
    def __init__(
        self, hosted: HostedCode, reads: Reads, cache: AuthCache | None, studio_key: str, studio: Studios | None
    ) -> None:
        self._hosted = hosted
        self._session = HostedSession(lambda: hosted.auth_socket, LIMIT_S)
        auth = Auth()
        auth.authenticate(self._call_authenticate)
        super().__init__(auth, reads, cache, studio_key, studio)

    @property
    def wants_request(self) -> bool:
        """Not Starlette's."""
        return False

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        return {"request": request}

    async def _call_authenticate(self, request: Any) -> Any:
        headers = [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in request.raw_headers
        ]
        answer = await self._query(
            "authenticate", {"method": request.method, "url": str(url_of(request)), "headers": headers}
        )
        return answer.user

    def _handler(self, resource: str, action: str) -> Callable[..., Awaitable[Any]] | None:
        """The most specific one there is, as the JavaScript server looks for it."""
        callbacks = () if self._hosted.loaded is None else self._hosted.loaded.callbacks
        if not {f"{resource}:{action}", resource, f"*:{action}", "*"}.intersection(callbacks):
            return None

        async def handler(ctx: Any, value: dict[str, Any]) -> Any:
            user = ctx.user.to_dict() if hasattr(ctx.user, "to_dict") else dict(ctx.user)
            user["permissions"] = list(ctx.permissions)
            answer = await self._query("authorize", {"event": f"{resource}:{action}", "value": value, "user": user})
            if isinstance(answer.value, dict):
                _take_over(value, answer.value)
            return answer.answer

        return handler

    async def _query(self, path: str, question: dict[str, Any]) -> _Answer:
        """Raises _Refused, HandlerFailed."""
        try:
            body = msgspec.json.encode(question, enc_hook=str)
        except UnicodeEncodeError:
            raise _Refused(400, "A header of the request is not UTF-8") from None
        try:
            session = await self._session.get()
            with self._hosted.request():
                async with session.post(f"http://auth/{path}", data=body) as response:
                    answered = await response.read()
                # not a handler's answer: the lack of one would look like a permission
                if response.status != HTTP_OK:
                    raise HandlerFailed(f"the process answered {response.status}: {answered[:200]!r}")
                answer = msgspec.json.decode(answered, type=_Answer)
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError):
            raise _Refused(503, "The process that runs the project's auth does not answer: try again") from None
        if answer.refused is not None:
            raise _Refused(answer.refused.status, answer.refused.detail)
        if answer.failed is not None:
            raise HandlerFailed(answer.failed)
        return answer

    async def close(self) -> None:
        await self._session.close()


DENY_BY_DEFAULT = 'auth.on("*", () => false)'
"""Handler that covers every action without one of its own."""


def load_hosted_auth(hosted: HostedCode, options: Options, reads: Reads, settings: Settings) -> HostedAuth:
    """Return the gate of a process that has started."""
    studio = studios(options, settings)
    gate = HostedAuth(hosted, reads, options.auth.cache, settings.studio_api_key if studio else "", studio)
    warn_of_uncovered(gate, DENY_BY_DEFAULT)
    return gate


def _take_over(value: dict[str, Any], changed: dict[str, Any]) -> None:
    """Apply a handler's changes to its value in place, since the gateway refers to parts of it."""
    for name in [name for name in value if name not in changed]:
        del value[name]
    for name, member in changed.items():
        present = value.get(name)
        if isinstance(present, dict) and isinstance(member, dict):
            _take_over(present, member)
        else:
            value[name] = member
