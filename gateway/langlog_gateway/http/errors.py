"""Error responses: the shapes of the wire contract (§1.2).

Handlers raise; the middleware turns what was raised into an answer. An exception that nobody foresaw becomes 500 in plain
text, and the log has its trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from aiohttp import web
from langlog_backbone.values.lone_surrogates import encodable

RETRY_AFTER_S = 1
"""Seconds after which a client may try again when a server behind us is away."""

DETAIL_CHARACTERS_MAX = 10_000
"""Characters of a detail: what a client has sent is not sent back in full."""

CLOSING = frozenset({401, 408, 413})
"""Answers that end the connection: the rest of such a request is not read."""

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


REASON_BYTES_MAX = 65_536
"""Of an answer that is read for why it refuses."""


class ErrorAnswer(msgspec.Struct):
    """Why a request failed."""

    detail: str
    """What failed, on what value, and what to do"""


class KeyedAnswer(msgspec.Struct):
    """Why a request failed, at the few endpoints that say so under another member."""

    error: str
    """What failed, on what value, and what to do"""


class ApiError(Exception):
    """An answer with ``{"detail": …}``."""

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


class HintedError(ApiError):
    """As `ApiError`, with a hint behind the detail for REST clients; the streaming protocol answers the detail alone, as recorded."""

    def __init__(self, status: int, detail: str, hint: str) -> None:
        super().__init__(status, detail)
        self._hint = hint

    def response(self) -> web.Response:
        return ApiError(self.status, f"{self.detail}\n{self._hint}", self.headers).response()


class KeyedError(ApiError):
    """As `ApiError`, under the member ``error``: a few endpoints of the store say it so (wire contract §11)."""

    def response(self) -> web.Response:
        return web.Response(status=self.status, body=msgspec.json.encode(KeyedAnswer(self.detail)), content_type=JSON)


class PlainError(ApiError):
    """As `ApiError`, in plain text: namespace rules of the store (wire contract §11)."""

    def response(self) -> web.Response:
        return web.Response(status=self.status, text=self.detail, headers={"content-type": TEXT}, content_type=None)


def missing_thread(thread_id: str) -> ApiError:
    return not_found(f"Thread with ID {thread_id} not found")


def not_found(detail: str = "Not Found") -> ApiError:
    return ApiError(404, detail)


def unprocessable(detail: str) -> ApiError:
    return ApiError(422, detail)


def unavailable(what: str) -> ApiError:
    """Something behind us is away; nothing was changed."""
    return ApiError(503, f"{what} is unavailable, try again shortly", {"retry-after": str(RETRY_AFTER_S)})


def not_ready(reasons: Iterable[str]) -> ApiError:
    """Servers behind us would not do their work, each with its reason."""
    return ApiError(503, "; ".join(reasons), {"retry-after": str(RETRY_AFTER_S)})


class _Refusal(msgspec.Struct):
    detail: str = ""
    error: str = ""


def reason_of(response: web.StreamResponse) -> str:
    """Why a request was refused, as far as its answer says it; empty for other answers, and for large ones."""
    body = response.body if isinstance(response, web.Response) and 400 <= response.status < 500 else None
    if not isinstance(body, bytes) or len(body) > REASON_BYTES_MAX:
        return ""
    if response.content_type == "text/plain":
        return body.decode(errors="replace")
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return refusal.detail or refusal.error


def internal_error(raised: str = "") -> web.Response:
    """``raised``: class and text of what the project's graph raised, which its developer has to see. Plain text, as recorded."""
    return web.Response(status=500, text=f"Internal Server Error\n{raised}" if raised else "Internal Server Error")
