"""JSON over HTTP with a server that is not trusted: bounded in size and time, no redirects, repeated if it is unavailable for a moment.

Death: whatever a server does, `call` returns its JSON or raises `Refused` or `Unanswered` with one line that includes the remedy.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
from langlog_backbone.process.activity import shown_in_line

BODY_BYTES_MAX = 512_000_000
"""Maximum size of one response, in bytes."""
CONNECT_S, SILENT_S, WHOLE_S = 10.0, 60.0, 600.0
"""Seconds to connect, between two chunks of a response, and for all of one."""
TRIES = 6
PAUSE_S, PAUSE_MAX_S = 0.5, 15.0
"""Seconds before a request is repeated; doubled each time."""
RETRY_AFTER_MAX_S = 120.0
"""Maximum pause in seconds that a server can ask for by ``Retry-After`` (RFC 9110, section 10.2.3)."""
FAILED_MAX = 8
"""Requests that fail one after the other, each after all its repetitions: the server is taken to be unavailable."""
NOT_OFFERED = (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED)
"""Statuses by which a server shows that it has no such endpoint."""
FINAL = (httpx.codes.NOT_IMPLEMENTED, httpx.codes.HTTP_VERSION_NOT_SUPPORTED)
"""Statuses of a server's own failures that a repetition does not change."""
DETAIL_CHARACTERS_MAX = 300
JSON = {"content-type": "application/json", "accept-encoding": "gzip"}
GZIP = 31
"""Window bits for zlib: a gzip header, and the largest window (RFC 1952)."""
PIECE_BYTES = 1_000_000
"""Maximum bytes of one step of unpacking."""


class Unanswered(Exception):
    """The server cannot be reached, or its response is unusable: the import cannot continue."""


class Refused(Unanswered):
    """The server refuses this request, or its response cannot be used, and a repetition would not help. ``status``: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class JsonServer:
    """One server, for the duration of an ``async with``. ``name``: its name in messages."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        name: str,
        option: str,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url, self._headers, self._name, self._option = url.rstrip("/"), dict(headers), name, option
        self._most, self._sleep = body_bytes_max, sleep
        self._failed = 0
        """Requests that have failed since the last one that did not."""

    async def __aenter__(self) -> JsonServer:
        try:
            timeout = httpx.Timeout(SILENT_S, connect=CONNECT_S, pool=None)
            self._http = httpx.AsyncClient(headers=self._headers, timeout=timeout, follow_redirects=False)
        except (ValueError, UnicodeError, httpx.InvalidURL) as error:  # of the proxy that the environment names
            raise Unanswered(f"cannot connect to {self.url}: {error}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the JSON of the response. Raises Refused, Unanswered."""
        content = None if body is None else msgspec.json.encode(body)
        what = f"{method} {path.partition('?')[0]}"
        pause, problem, failing, wanted = PAUSE_S, "", 0, 0.0
        for attempt in range(TRIES):
            if attempt:
                await self._sleep(max(pause, wanted))  # nothing signals that the server is back
                pause, wanted = min(2 * pause, PAUSE_MAX_S), 0.0
            try:
                async with asyncio.timeout(WHOLE_S):
                    status, reason, data, wanted = await self._once(method, path, content)
            except TimeoutError:
                problem = f"no whole response within {WHOLE_S:.0f} s"
                continue
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
                continue
            except (httpx.InvalidURL, UnicodeError) as error:
                raise Unanswered(f"{self.url} cannot be queried for {what}: {error}") from None
            if status == httpx.codes.TOO_MANY_REQUESTS or (
                status >= httpx.codes.INTERNAL_SERVER_ERROR and status not in FINAL
            ):
                problem, failing = f"{status}: {_detail(data, reason)}", status
                continue
            self._failed = 0
            return self._read(what, status, reason, data)
        self._failed += 1
        if failing and failing != httpx.codes.TOO_MANY_REQUESTS and self._failed < FAILED_MAX:
            raise Refused(failing, f"the {self._name} {self.url} fails at {what} ({problem})")
        raise Unanswered(
            f"the {self._name} {self.url} does not answer {what} ({_line(problem)}): check {self._option} and that it runs, "
            "then start the same import again: it goes on"
        )

    async def _once(self, method: str, path: str, content: bytes | None) -> tuple[int, str, bytes, float]:
        """Return status, reason, body, and the pause in seconds that the server asks for."""
        async with self._http.stream(method, self.url + path, content=content, headers=JSON) as answer:
            if answer.is_redirect:
                target = _line(answer.headers.get("location", "?"))
                raise Refused(
                    answer.status_code,
                    f"the {self._name} {self.url} redirects {method} {path.partition('?')[0]} to {target}: name that address in {self._option}",
                )
            data = bytearray()
            async for piece in self._unpacked(answer, f"{method} {path.partition('?')[0]}"):
                data += piece
                if len(data) > self._most:
                    raise Refused(
                        httpx.codes.REQUEST_ENTITY_TOO_LARGE,
                        f"the {self._name} {self.url} answers {method} {path.partition('?')[0]} with more than {self._most:,} bytes",
                    )
            return answer.status_code, answer.reason_phrase, bytes(data), _pause_of(answer.headers)

    async def _unpacked(self, answer: httpx.Response, what: str) -> AsyncIterator[bytes]:
        """Yield the body in bounded chunks, however far it unpacks: httpx unpacks all that has arrived at once, also what
        is packed several times."""
        packed = answer.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("identity", "gzip", "x-gzip"):
            raise Refused(
                httpx.codes.BAD_GATEWAY,
                f"the {self._name} {self.url} answers {what} packed by {_line(packed)}, which was not requested",
            )
        if packed == "identity":
            async for piece in answer.aiter_raw():
                yield piece
            return
        unpacking = zlib.decompressobj(GZIP)
        try:
            async for piece in answer.aiter_raw():
                while piece and not unpacking.eof:
                    yield unpacking.decompress(piece, PIECE_BYTES)
                    piece = unpacking.unconsumed_tail
        except zlib.error as error:
            raise Refused(
                httpx.codes.BAD_GATEWAY, f"the {self._name} {self.url} answers {what} with a damaged body: {error}"
            ) from None
        if not unpacking.eof:
            raise httpx.RemoteProtocolError("the packed body ends too early")

    def _read(self, what: str, status: int, reason: str, data: bytes) -> Any:
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Refused(
                status,
                f"the {self._name} {self.url} refused {what} ({status}: {_detail(data, reason)}): send credentials",
            )
        if status >= httpx.codes.BAD_REQUEST:
            raise Refused(status, f"the {self._name} {self.url} refused {what} ({status}: {_detail(data, reason)})")
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Refused(
                httpx.codes.BAD_GATEWAY,
                f"{self.url} is no server of this API: it answers {what} with no JSON. Check {self._option}",
            ) from None


def _pause_of(headers: Mapping[str, str]) -> float:
    """Return the pause that ``Retry-After`` asks for, in seconds: a number, or a time by the clock of the server's own ``Date``."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_MAX_S)
    try:
        wanted = (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, min(wanted, RETRY_AFTER_MAX_S))


def _detail(data: bytes, reason: str) -> str:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = msgspec.json.decode(data)
        if isinstance(body, dict) and "detail" in body:
            detail = body["detail"]
            return _line(detail if isinstance(detail, str) else msgspec.json.encode(detail).decode())
    return _line(reason)


def _line(text: str) -> str:
    return shown_in_line(text, DETAIL_CHARACTERS_MAX)
