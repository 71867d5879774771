"""Error responses: the shapes of the wire contract (§1.2).

Handlers raise; the middleware turns the exception into a response. An unexpected exception becomes 500 in plain
text, and the log has its trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.values.lone_surrogates import encodable

from . import effect

RETRY_AFTER_S = 1
"""Seconds after which a client may try again when a server behind the gateway is unavailable."""

DETAIL_CHARACTERS_MAX = 10_000
"""Maximum length of a detail, in characters: a client's value is not sent back in full."""

SHOWN_MAX = 100
"""Maximum number of characters of a client's value in the error of a protocol of agents."""

UNHEARD = (
    "The request was accepted and will be carried out, but its outcome is not known yet. "
    "Look the object up, or repeat the request with the same Idempotency-Key."
)

CLOSING = frozenset({401, 408, 413})
"""Statuses that close the connection: the rest of the request is not read."""

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


REASON_BYTES_MAX = 65_536
"""Maximum size of a response, in bytes, that is read for its reason."""


class ErrorAnswer(msgspec.Struct):
    """Error of a request."""

    detail: str
    """The failure, its value, and what to do"""


class KeyedAnswer(msgspec.Struct):
    """Error of a request, at the few endpoints that use another member."""

    error: str
    """The failure, its value, and what to do"""


class ApiError(Exception):
    """An error response with ``{"detail": …}``."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail[:DETAIL_CHARACTERS_MAX])
        self.status = status
        self.detail = encodable(detail[:DETAIL_CHARACTERS_MAX])  # it may repeat what a client has sent
        self.headers = headers

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(ErrorAnswer(self.detail)),
            content_type=JSON,
            headers=self.headers,
        )


class JsonError(ApiError):
    """An `ApiError` whose detail is JSON, as handlers of a project raise it; its text is that JSON."""

    def __init__(self, status: int, detail: object) -> None:
        try:
            encoded = msgspec.json.encode(detail, enc_hook=str)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            # what JSON cannot say, cycles, broken text
            encoded = msgspec.json.encode(encodable(f"a {type(detail).__name__} that is no JSON"))
        super().__init__(status, encoded.decode())
        whole = len(self.detail) == len(encoded.decode())
        self._json = msgspec.Raw(encoded) if whole else self.detail

    def response(self) -> web.Response:
        body = msgspec.json.encode({"detail": self._json})
        return web.Response(status=self.status, body=body, content_type=JSON, headers=self.headers)


class HintedError(ApiError):
    """An `ApiError` with a hint after the detail, for REST clients; the streaming protocol sends the detail only, as recorded."""

    def __init__(self, status: int, detail: str, hint: str) -> None:
        super().__init__(status, detail)
        self._hint = hint

    def response(self) -> web.Response:
        return ApiError(self.status, f"{self.detail}\n{self._hint}", self.headers).response()


class KeyedError(ApiError):
    """An `ApiError` under the member ``error``, as a few endpoints of the store send it (wire contract §11)."""

    def response(self) -> web.Response:
        return web.Response(status=self.status, body=msgspec.json.encode(KeyedAnswer(self.detail)), content_type=JSON)


class PlainError(ApiError):
    """An `ApiError` in plain text: namespace rules of the store (wire contract §11)."""

    def response(self) -> web.Response:
        return web.Response(status=self.status, text=self.detail, headers={"content-type": TEXT}, content_type=None)


def missing_thread(thread_id: str) -> ApiError:
    return not_found(f"Thread with ID {thread_id} not found")


def not_found(detail: str = "Not Found") -> ApiError:
    return ApiError(404, detail)


def unprocessable(detail: str) -> ApiError:
    return ApiError(422, detail)


def unavailable(what: str) -> ApiError:
    """Return the error for an unavailable server."""
    return try_again(f"{what} is unavailable")


def try_again(reason: str) -> ApiError:
    """Return the error for a reason that passes: 503 if the request has changed nothing, else 504."""
    retry_after = {"retry-after": str(RETRY_AFTER_S)}
    if effect.possible():
        return ApiError(504, f"{reason}. {UNHEARD}", retry_after)
    return ApiError(503, f"{reason}, try again shortly", retry_after)


def not_ready(reasons: Iterable[str]) -> ApiError:
    """Return the error for unavailable servers, each with its reason."""
    return ApiError(503, "; ".join(reasons), {"retry-after": str(RETRY_AFTER_S)})


class _Refusal(msgspec.Struct):
    detail: Any = ""
    error: Any = ""


def reason_of(response: web.StreamResponse) -> str:
    """Return the reason in an error response; empty for other responses, and for large ones."""
    body = response.body if isinstance(response, web.Response) and 400 <= response.status < 500 else None
    if not isinstance(body, bytes) or len(body) > REASON_BYTES_MAX:
        return ""
    if response.content_type == "text/plain":
        return body.decode(errors="replace")
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    reason = refusal.detail or refusal.error
    return reason if isinstance(reason, str) else msgspec.json.encode(reason).decode()


def internal_error(raised: str = "") -> web.Response:
    """Return the 500. ``raised``: class and text of the graph's exception, which its developer has to see. Plain text, as recorded."""
    return web.Response(status=500, text=f"Internal Server Error\n{raised}" if raised else "Internal Server Error")
