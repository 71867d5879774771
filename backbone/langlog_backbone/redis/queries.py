"""Sends workers queries that need the graph object: puts a query into Redis, and waits for the answer on the channel of a `ReplyRouter`.

Redis may lose query or answer, and the worker that took the query may die. Queries change nothing, so they are simply sent again:
once the connection to Redis is back, and once after a third of the time unless the query still waits for a worker.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from langlog_schemas import messages
from langlog_schemas.messages import Answer, Query

from ..process.server_errors import RedisUnavailable
from ..time.clock import new_id, now_ms
from .client import RedisPipe
from .replies import ReplyRouter, time_out

logger = structlog.get_logger(__name__)

QUERIES = "queries"
"""Redis list of queries, taken by any worker."""
QUERIES_MAX = 1_000
"""Maximum number of queries that wait for a worker; further ones are refused at once."""
LIST_KEPT_S = 600
"""Seconds after the last query until Redis drops the list: no worker takes them."""
RESEND_SHARE = 1 / 3
"""Share of the time limit after which a query that was taken but not answered is sent again."""


class TooManyQueries(Exception):
    """Workers do not keep up with queries, or there are none."""


class QueryClient:
    def __init__(self, pipe: RedisPipe, replies: ReplyRouter) -> None:
        self._pipe = pipe
        self._replies = replies
        self._under_way: dict[str, bytes] = {}
        replies.on_reconnect.append(self._resend_all)

    async def query(self, kind: str, body: bytes, limit_s: float) -> Answer:
        """Send a query and return a worker's answer. ``body``: JSON, in the form that the kind requires.

        Raises RedisUnavailable when the query cannot be put into Redis, TooManyQueries when too many wait
        there, and TimeoutError without an answer within ``limit_s``.
        """
        query = Query(
            id=new_id(),
            kind=kind,
            reply_to=self._replies.id,
            body=body,
            deadline_ms=now_ms() + int(limit_s * 1000),
        )
        data = messages.encode(query)
        future = self._replies.pending_answer(query.id)
        loop = asyncio.get_running_loop()
        again = loop.call_later(limit_s * RESEND_SHARE, self._check, query.id)
        limit = loop.call_later(limit_s, time_out, [future])
        try:
            self._push(data, future)
            self._under_way[query.id] = data
            return messages.decode_answer(await future)
        except (TimeoutError, asyncio.CancelledError, TooManyQueries):
            self._pipe.send("LREM", self._pipe.key(QUERIES), 0, data)  # no worker needs to take it any more
            raise
        finally:
            again.cancel()
            limit.cancel()
            self._under_way.pop(query.id, None)
            self._replies.discard(query.id, future)

    def _push(self, data: bytes, future: asyncio.Future[bytes]) -> None:
        """Put a query into the list without waiting: the answer may arrive first. On failure the query's future fails."""

        def pushed(done: asyncio.Future[int]) -> None:
            error = None if done.cancelled() else done.exception()
            if error is None and not done.cancelled() and done.result() > QUERIES_MAX:
                error = TooManyQueries(f"more than {QUERIES_MAX} queries wait for a worker")
            if error is not None and not future.done():
                future.set_exception(error)

        self._pipe.submit("LPUSH", self._pipe.key(QUERIES), data).add_done_callback(pushed)
        self._pipe.send("EXPIRE", self._pipe.key(QUERIES), LIST_KEPT_S)

    def _resend_all(self) -> None:
        for data in self._under_way.values():
            self._pipe.send("LPUSH", self._pipe.key(QUERIES), data)

    def _check(self, id: str) -> None:
        data = self._under_way.get(id)
        if data is not None:
            task = asyncio.ensure_future(self._resend_if_taken(id, data))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _resend_if_taken(self, id: str, data: bytes) -> None:
        """Send a query again, unless it still waits in Redis because workers are busy."""
        with contextlib.suppress(RedisUnavailable):
            key = self._pipe.key(QUERIES)
            if await self._pipe.call("LPOS", key, data) is None and id in self._under_way:
                logger.warning("query.asked_again", query_id=id)
                await self._pipe.call("LPUSH", key, data)
