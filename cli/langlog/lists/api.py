"""The server whose lists are shown: pages of a search, and the feed of changes (docs/reference/console-api.md), over HTTP.

Death: a server that does not answer, or refuses, ends the command with one line (`NotAnswered`). A feed that breaks off later is
reopened where it ended, however long that takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Literal, NamedTuple

import httpx
import msgspec
from langlog_backbone.process.activity import shown_in_line

Kind = Literal["threads", "runs"]
Row = dict[str, Any]

PAGE_MAX = 1_000
"""Maximum rows in one page of a search (the API's limit)."""
CONNECT_S = 10.0
REPLY_S = 60.0
"""Seconds for a page, and between two lines of the feed, whose heartbeats are more frequent."""
PAUSE_S, PAUSE_MAX_S = 0.5, 10.0
"""Seconds before a feed that broke off is reopened; doubled each time."""
DETAIL_CHARACTERS_MAX = 500


class NotAnswered(Exception):
    """The server cannot be reached, or refuses; the message is one line with the remedy."""


class Unavailable(NotAnswered):
    """Like `NotAnswered`, but another attempt may succeed."""


class Change(NamedTuple):
    """A message of the feed: ``open``, or ``changes``."""

    name: str
    data: dict[str, Any]


class Server:
    """One server, for the duration of an ``async with``. ``note``: receives a line when the feed breaks off."""

    def __init__(self, url: str, headers: Mapping[str, str], note: Callable[[str], None]) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._note = note

    async def __aenter__(self) -> Server:
        try:
            self._http = httpx.AsyncClient(headers=self._headers, timeout=httpx.Timeout(REPLY_S, connect=CONNECT_S))
        except (ValueError, UnicodeError, httpx.InvalidURL) as error:  # of the proxy that the environment names
            raise NotAnswered(f"cannot connect to {self._url}: {error}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def pages(self, kind: Kind, conditions: Mapping[str, Any], limit: int) -> AsyncGenerator[list[Row]]:
        """Yield at most ``limit`` rows, page by page. Raises NotAnswered."""
        after: str | None = None
        while limit > 0:
            size = min(limit, PAGE_MAX)
            body = {**conditions, "limit": size, **({"after": after} if after else {})}
            rows, headers = await self._post(f"/{kind}/search", body)
            if not isinstance(rows, list):
                raise NotAnswered(f"{self._url} is no langlog server: POST /{kind}/search returned no list")
            yield rows
            limit -= len(rows)
            after = headers.get("x-pagination-after")
            if not after or not rows:
                return

    async def count(self, kind: Kind, conditions: Mapping[str, Any]) -> int:
        """Return the number of rows. Raises NotAnswered."""
        body = {name: value for name, value in conditions.items() if name not in ("select", "sort_by", "sort_order")}
        count, _ = await self._post(f"/{kind}/count", body)
        return count if isinstance(count, int) else 0

    async def changes(self, kind: Kind) -> AsyncGenerator[Change]:
        """Yield the messages of the feed without end. Raises NotAnswered when it cannot be opened the first time, and
        whenever it is refused."""
        last_id: str | None = None
        pause, opened = PAUSE_S, False
        while True:
            reason = "the server ended the stream"
            try:
                async with contextlib.aclosing(self._feed(kind, last_id)) as feed:
                    async for change, id in feed:
                        last_id, pause, opened = id, PAUSE_S, True
                        yield change
            except httpx.TransportError as error:
                if not opened:
                    raise self._away(error) from None
                reason = _reason(error)
            except Unavailable as error:
                if not opened:
                    raise
                reason = str(error)
            self._note(f"langlog: the feed of changes broke off ({reason}); connecting again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_S)

    async def _feed(self, kind: Kind, last_id: str | None) -> AsyncGenerator[tuple[Change, str | None]]:
        # here: its imports are half of a command's start, and only the feed needs it
        from langgraph_sdk.sse import SSEDecoder, aiter_lines_raw

        headers = {"accept": "text/event-stream", **({"last-event-id": last_id} if last_id else {})}
        url = f"{self._url}/changes"
        async with self._http.stream("GET", url, params={"kinds": kind}, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                await answer.aread()
                raise self._refused(answer, "GET /changes")
            decoder = SSEDecoder(last_event_id=last_id)
            async for line in aiter_lines_raw(answer):
                part = decoder.decode(bytes(line))
                if part is None or not isinstance(part.data, dict):
                    continue
                if part.event == "error":
                    raise NotAnswered(f"{self._url} ended the feed of changes: {_line(part.data.get('message'))}")
                if part.event in ("open", "changes"):
                    yield Change(part.event, part.data), decoder.last_event_id

    async def _post(self, path: str, body: Mapping[str, Any]) -> tuple[Any, httpx.Headers]:
        try:
            answer = await self._http.post(self._url + path, content=msgspec.json.encode(body), headers=JSON)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._away(error) from None
        if answer.status_code != httpx.codes.OK:
            raise self._refused(answer, f"POST {path}")
        try:
            return msgspec.json.decode(answer.content), answer.headers
        except msgspec.DecodeError:
            raise NotAnswered(f"{self._url} is no langlog server: POST {path} returned no JSON") from None

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"no server answers at {self._url} ({_reason(error)}): start it with langlog dev, or name another one with --url or LANGLOG_URL"
        )

    def _refused(self, answer: httpx.Response, what: str) -> NotAnswered:
        """Return the error for a response other than 200, with the remedy."""
        status, detail = answer.status_code, _detail(answer)
        match status:
            case 401 | 403:
                return NotAnswered(
                    f"{self._url} refused {what} ({status}: {detail}): send credentials with --header 'Name: value', or in LANGLOG_REQUEST_HEADERS"
                )
            case 404 | 405:
                return NotAnswered(
                    f"{self._url} has no {what} ({status}): check --url (with the MOUNT_PREFIX of the server), or upgrade that server"
                )
            case _ if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
                return Unavailable(f"{self._url} cannot do {what} now ({status}: {detail}): try again later")
            case _:
                return NotAnswered(f"{self._url} refused {what} ({status}): {detail}")


JSON = {"content-type": "application/json"}


def _detail(answer: httpx.Response) -> str:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        body = msgspec.json.decode(answer.content)
        if isinstance(body, dict) and "detail" in body:
            return _line(body["detail"])
    return answer.reason_phrase


def _line(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return shown_in_line(text, DETAIL_CHARACTERS_MAX)


def _reason(error: Exception) -> str:
    return _line(str(error) or type(error).__name__)
