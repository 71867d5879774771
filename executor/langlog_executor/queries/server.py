"""Answers gateways' queries that need the graph object; gateways send them through Redis to any worker.

    gateway ─LPUSH queries─► Redis ─BRPOP─► one worker ─► graph loop ─► PUBLISH on the gateway's channel

Concurrency: `QueryServer.serve` receives queries on the I/O loop, at most `MAX_AT_ONCE` at a time; graph code answers them on a
graph loop. When it dies, the gateway sends the query again after a third of its time, and responds with 504 at its deadline. A
worker that stops puts unanswered queries back into Redis. One whose graph loop a node blocks takes no queries, and puts back those
that wait for the loop. A query whose deadline has passed is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langlog_backbone.process.retry import Availability
from langlog_backbone.process.server_errors import RedisRefused, RedisUnavailable
from langlog_backbone.process.unavailable import UNAVAILABLE_ERRORS
from langlog_backbone.redis import channels
from langlog_backbone.redis.list_consumer import ListConsumer
from langlog_backbone.redis.queries import QUERIES
from langlog_backbone.redis.replies import ANSWER
from langlog_backbone.time.clock import now_ms
from langlog_schemas import messages
from langlog_schemas.messages import Answer, Query

from ..checkpoints.emission import UnstorableCheckpoint
from ..checkpoints.serde import OtherLanguage, json_cipher
from ..graphs.loading import UnknownGraph
from ..runtime.io_loop import came_from_io
from ..store.embeddings import EmbeddingFailed, ItemQuestion, QueryQuestion, TooManyTexts
from ..values.error_text import described, text_of, traceback_of
from ..values.redaction import shown
from .graphs import DrawingQuestion, GraphQueries, GraphQuestion, SubgraphsQuestion
from .hosted import HostedQueries
from .imports import HistoryImport, ImportQueries, RowsImport
from .threads import (
    TOO_LARGE,
    HistoryQuestion,
    Refused,
    StateQuestion,
    SuperstepsQuestion,
    ThreadQueries,
    UpdateQuestion,
    WithoutRunQuestion,
)

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ..checkpoints.reader import CheckpointReader
    from ..graph_host.hosts import GraphHosts
    from ..graphs.loading import Graphs
    from ..runtime.graph_loops import GraphLoops
    from ..runtime.io_loop import IoLoop
    from ..runtime.loop_thread import Work
    from ..store.embeddings import Embedder

logger = structlog.get_logger(__name__)

MAX_AT_ONCE = 64
"""Maximum number of queries that one worker answers at the same time; others wait in Redis for a free worker."""
PUBLISH_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 0.8)
"""Seconds after each attempt to publish an answer without a receiver. A gateway whose subscription returns later sends the
query again."""
NO_ROOM = "Redis has no room for this answer of {} bytes, try again shortly"
DEFAULT_LIMIT_S = 30.0
"""Seconds for queries without a deadline."""

REFUSALS = (Refused, OtherLanguage, UnknownGraph, msgspec.MsgspecError, TooManyTexts, UnstorableCheckpoint)
"""Errors of a query's own content; their texts are for the caller."""

_graph_id = msgspec.json.Decoder(GraphQuestion).decode


class QueryServer:
    def __init__(
        self,
        io: IoLoop,
        graphs: Graphs,
        loops: GraphLoops,
        reader: CheckpointReader,
        store: BaseStore | None,
        embedder: Embedder | None = None,
        host: GraphHosts | None = None,
    ) -> None:
        """``host``: of graphs in JavaScript; None for a project that has none."""
        self._backbone = io.backbone
        self._json = json_cipher(reader.serde)
        self._loops = loops
        self._under_way: set[Work[bytes]] = set()
        """Work of queries on graph loops, begun or not."""
        threads = ThreadQueries(graphs, reader, store, max_bytes=io.backbone.settings.max_answer_bytes)
        drawings = GraphQueries(graphs, store)
        imports = ImportQueries(graphs, reader, store)
        self._kinds: dict[str, tuple[Callable[[bytes], Any], Callable[..., Awaitable[bytes]]]] = {
            "state": (msgspec.json.Decoder(StateQuestion).decode, threads.state),
            "history": (msgspec.json.Decoder(HistoryQuestion).decode, threads.history),
            "update_state": (msgspec.json.Decoder(UpdateQuestion).decode, threads.update_state),
            "supersteps": (msgspec.json.Decoder(SuperstepsQuestion).decode, threads.supersteps),
            "state_without_run": (msgspec.json.Decoder(WithoutRunQuestion).decode, threads.state_without_run),
            "import_history": (msgspec.json.Decoder(HistoryImport).decode, imports.history),
            "import_rows": (msgspec.json.Decoder(RowsImport).decode, imports.rows),
            "graph": (msgspec.json.Decoder(DrawingQuestion).decode, drawings.graph),
            "subgraphs": (msgspec.json.Decoder(SubgraphsQuestion).decode, drawings.subgraphs),
            "schemas": (msgspec.json.Decoder(GraphQuestion).decode, drawings.schemas),
        }

        most = io.backbone.settings.max_answer_bytes
        self._hosted = None if host is None else HostedQueries(host, reader, store, max_bytes=most)
        self._before: dict[str, Callable[[Any], Awaitable[tuple[Any, ...]]]] = {
            "state": threads.before_state,
            "history": threads.before_history,
        }
        """Query kind -> preparation on the I/O loop before the graph is used; the answering function gets its results as
        further arguments."""
        # answered on the I/O loop, which hands on to the project's code by itself
        self._own: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Awaitable[bytes]]]] = {}
        if embedder is not None:
            self._own["embed_item"] = (msgspec.json.Decoder(ItemQuestion).decode, embedder.item)
            self._own["embed_query"] = (msgspec.json.Decoder(QueryQuestion).decode, embedder.search)

    async def serve(self) -> None:
        """Receive and answer queries until cancelled; those under way are cancelled too."""
        pipe = self._backbone.pipe
        available = Availability("worker.queries", "redis")
        consumer = ListConsumer(
            self._backbone.settings, pipe.key(QUERIES), self._take, MAX_AT_ONCE, available, through=pipe
        )

        def on_loops_held() -> None:
            if not self._blocked:
                consumer.resume()
                return
            consumer.pause()
            for work in tuple(self._under_way):
                work.withdraw()  # unless it has begun; another worker answers

        self._loops.on_held.append(on_loops_held)
        try:
            await consumer.run()
        finally:
            self._loops.on_held.remove(on_loops_held)

    @property
    def _blocked(self) -> bool:
        """Whether queries would wait for a graph loop that a node blocks, while other workers may answer them. Those about graphs in
        JavaScript would not."""
        return self._loops.held and self._hosted is None

    async def _take(self, data: bytes) -> None:
        try:
            query = messages.decode_query(data)
        except msgspec.MsgspecError as error:
            logger.error("queries.unreadable", error=str(error))
            return
        limit_s = (query.deadline_ms - now_ms()) / 1000 if query.deadline_ms else DEFAULT_LIMIT_S
        if limit_s <= 0:
            return
        if self._blocked:
            self._put_back(data)
            return
        try:
            answer = await self._answer(query, limit_s)
        except asyncio.CancelledError:  # this worker stops, or a node blocks it: another one answers
            self._put_back(data)
            if _stopping():
                raise
            return
        if answer is not None:
            await self._publish(query, self._fitting(answer))

    def _put_back(self, data: bytes) -> None:
        """Have the query be the next one that a worker takes."""
        self._backbone.pipe.send("RPUSH", self._backbone.pipe.key(QUERIES), data)

    def _fitting(self, answer: Answer) -> Answer:
        """Return the answer, or an error if it is too large."""
        limit = self._backbone.settings.max_answer_bytes
        if len(answer.body) <= limit:
            return answer
        return Answer(id=answer.id, status=413, detail=TOO_LARGE.format(f"{len(answer.body)} bytes", limit))

    async def _publish(self, query: Query, answer: Answer) -> None:
        """Publish the answer until it has a receiver: Redis, or the gateway's subscription, may be unavailable for a moment."""
        channel = channels.gateway(query.reply_to)
        data = ANSWER + messages.encode(answer)
        for pause in PUBLISH_PAUSES_S:
            try:
                if await self._backbone.bus.publish_counted(channel, data):
                    return
            except RedisRefused as error:  # it is full: there is no room for a large answer
                logger.warning("query.answer_refused", query_id=query.id, bytes=len(data), error=str(error))
                data = ANSWER + messages.encode(Answer(id=query.id, status=503, detail=NO_ROOM.format(len(data))))
                continue
            except RedisUnavailable as error:
                logger.debug("query.answer_waits", query_id=query.id, error=str(error))
            await asyncio.sleep(pause)  # nothing signals that the subscription is back
        logger.warning("query.answer_lost", query_id=query.id, kind=query.kind)

    async def _answer(self, query: Query, limit_s: float) -> Answer | None:
        """Return the answer; None if no requester waits for it any more. Raises CancelledError when this worker stops, or when the
        query's work was withdrawn."""
        handler = self._own.get(query.kind) or self._kinds.get(query.kind)
        if handler is None:
            return Answer(id=query.id, status=400, detail=f"Unknown kind of query: {query.kind}")
        decode, answer = handler
        work: Work[bytes] | None = None
        try:
            body = await self._json.open(query.body)  # the thread's config may be sealed
            question = decode(body)
            here = self._answering_here(query.kind, body)
            if here is not None:
                async with asyncio.timeout(limit_s):
                    return Answer(id=query.id, body=await here(question))
            graph_id = _graph_id(body).graph_id
            before = self._before.get(query.kind)
            async with asyncio.timeout(limit_s):
                more = () if before is None else await before(question)
                work = self._submit(graph_id, lambda: _coroutine(answer(question, *more)))
                return Answer(id=query.id, body=await asyncio.shield(work.done))
        except EmbeddingFailed as error:
            logger.warning("query.embedding_failed", query_id=query.id, error=shown(text_of(error), 500))
            # the provider behind the project's function refused, not this server: its text is for the caller
            return Answer(id=query.id, status=502, detail=shown(text_of(error)))
        except TimeoutError:
            if work is None or work.done.cancelled() or not work.done.done():
                return None
            return Answer(id=query.id, status=500, detail="TimeoutError")
        except REFUSALS as error:
            return Answer(id=query.id, status=_status_of(error), detail=shown(str(error)))
        except asyncio.CancelledError:
            if _stopping() or (work is not None and work.withdrawn):
                raise
            return Answer(id=query.id, status=500, detail="CancelledError")  # raised by the graph's code
        except BaseException as error:  # the graph's code may raise anything; the asker still gets an answer
            return _failure(query, error, work)
        finally:
            if work is not None and not work.done.done():
                work.cancel()

    def _submit(self, graph_id: str, start: Callable[[], Coroutine[Any, Any, bytes]]) -> Work[bytes]:
        """Run a coroutine on a graph loop, unless a node blocks that before it begins: then the work is withdrawn."""
        work = self._loops.submit(graph_id, start)
        self._under_way.add(work)
        work.done.add_done_callback(lambda _: self._under_way.discard(work))
        if self._blocked:
            work.withdraw()
        return work

    def _answering_here(self, kind: str, body: bytes) -> Callable[[Any], Awaitable[bytes]] | None:
        """Return the handler of a query on the I/O loop: it needs no graph, or one on the graph host. None: a graph loop answers."""
        if (own := self._own.get(kind)) is not None:
            return own[1]
        hosted = self._hosted
        return hosted.answer if hosted is not None and hosted.has(_graph_id(body).graph_id) else None


def _stopping() -> bool:
    """Whether the present task is to end, and not only what it awaits."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _failure(query: Query, error: BaseException, work: Work[bytes] | None) -> Answer:
    """Return the answer to a query that raised."""
    if isinstance(error, UNAVAILABLE_ERRORS) and (work is None or came_from_io(error)):
        logger.warning("query.postgres_away", kind=query.kind, error=str(error))
        return Answer(id=query.id, status=503, detail="The read model is away")
    logger.warning("query.failed", kind=query.kind, query_id=query.id, traceback=traceback_of(error))
    raised = described(error)
    return Answer(id=query.id, status=500, detail=f"{raised.error}: {raised.message}")


def _status_of(error: Exception) -> int:
    """Return the status of an answer that refuses a query."""
    if isinstance(error, Refused | OtherLanguage):
        return error.status
    return 404 if isinstance(error, UnknownGraph) else 422


async def _coroutine(answer: Awaitable[bytes]) -> bytes:
    return await answer
