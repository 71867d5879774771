"""``/operator/log``: the records of the log, from the newest back or as they are appended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from aiohttp import web
from langlog_backbone.log import LogUnavailable
from langlog_backbone.operation.log_search import TOPICS, BadCursor, following, newest, read_record
from langlog_backbone.operation.record_view import RecordFilter

from ..auth.access import admit_operator
from ..core import Core, json_response
from ..http.errors import ApiError, not_found, unavailable, unprocessable
from ..http.validation import query_int, query_names, whole_number
from ..streams import sse
from ..threads.events import moment
from .live import LiveStreams

LIMIT = 100
LIMIT_MAX = 500
NAMES_MAX = 50
"""Maximum number of keys, types or topics in one request."""
PAGES_AT_ONCE = 2
"""Concurrent searches of one gateway; others wait. A log of large records is read through a window that may take much memory."""
TAILS_MAX = 16
"""Maximum number of open tails of one gateway: each reads the whole log as it grows."""


class LogRecords:
    def __init__(self, core: Core, streams: LiveStreams) -> None:
        self._core, self._streams = core, streams
        self._tails = 0
        self._paging = asyncio.Semaphore(PAGES_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/operator/log/records", self.records),
            web.get("/operator/log/records/{topic}/{partition}/{offset}", self.record),
            web.get("/operator/log/stream", self.tail),
        ]

    async def records(self, request: web.Request) -> web.Response:
        """Records of the log, the newest first.

        A page scans a bounded number of records: it may have fewer than `limit`, or none, and a `cursor` to go on from. Bodies over
        64 KiB are left out (`omitted`): get such a record by itself.
        """
        admit_operator(request)
        wanted = filter_of(request)
        limit = max(1, min(query_int(request, "limit", LIMIT), LIMIT_MAX))
        try:
            async with self._paging:
                page = await newest(self._core.log, wanted, request.query.get("cursor") or None, limit)
        except BadCursor as error:
            raise unprocessable(str(error)) from None
        except LogUnavailable:
            raise unavailable("The log") from None
        return json_response(msgspec.json.encode(page))

    async def record(self, request: web.Request) -> web.Response:
        """One record of the log, with its whole body."""
        admit_operator(request)
        topic = request.match_info["topic"]
        if topic not in TOPICS:
            raise unprocessable(f"Unknown topic: {topic}. Expected one of: {', '.join(TOPICS)}")
        partition, offset = _number(request, "partition"), _number(request, "offset")
        try:
            record = None
            if partition < self._core.log.partitions:
                record = await read_record(self._core.log, topic, partition, offset)
        except LogUnavailable:
            raise unavailable("The log") from None
        if record is None:
            raise not_found(f"The log has no record {topic}-{partition}-{offset}")
        return json_response(msgspec.json.encode(record))

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """Streams records as they are appended, as events `records`, each a list. With `from`, records since that time come first.

        A client that reconnects sets `from` to the time of its last record, and drops the records that it has already.
        """
        admit_operator(request)
        wanted = filter_of(request)
        if self._tails >= TAILS_MAX:
            raise ApiError(429, f"{TAILS_MAX} tails of the log are open on this gateway: close one first")
        self._tails += 1
        try:
            return await self._streams.follow(request, self._followed(wanted))
        finally:
            self._tails -= 1

    async def _followed(self, wanted: RecordFilter) -> AsyncGenerator[bytes, None]:
        try:
            async for records in following(self._core.log, wanted):
                yield sse.event("records", msgspec.json.encode(records))
        except LogUnavailable:
            raise ConnectionResetError("the log is not available") from None  # the client reconnects


def filter_of(request: web.Request) -> RecordFilter:
    """Return the filters of the query. Raises ApiError 422."""
    names = {
        name: tuple(part for text in query_names(request, name) for part in text.split(",") if part)
        for name in ("topic", "key", "type")
    }
    for name, values in names.items():
        if len(values) > NAMES_MAX:
            raise unprocessable(f"At most {NAMES_MAX} values of {name} can be given")
    for topic in names["topic"]:
        if topic not in TOPICS:
            raise unprocessable(f"Unknown topic: {topic}. Expected one of: {', '.join(TOPICS)}")
    since, until = moment(request.query.get("from"), "from"), moment(request.query.get("to"), "to")
    return RecordFilter(names["topic"], frozenset(names["key"]), names["type"], since, until)


def _number(request: web.Request, name: str) -> int:
    text = request.match_info[name]
    number = whole_number(text)
    if number is None:
        raise unprocessable(f"Invalid {name}: must be a whole number, not {text[:40]!r}")
    return number
