"""The feed of list changes of one gateway: receives the projectors' messages, collects them, reads changed objects once for all readers
with an equal sight, and queues each reader's messages.

One subscription, however many readers there are; it begins with the first reader and lasts for `KEPT_S` after the last, so that
a reader that returns gets the changes it missed. No loss goes unnoticed: messages carry the log positions that they cover,
and every `CHECK_S` these are compared with the saved ones; losses (Redis was unavailable, a projector died between commit and
message) make the lists stale. Without changes that comparison is the only work. On the gateway's event loop, no locks.
Death: readers reconnect with the id of their last message, to any gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import Bus
from langlog_schemas import events as ev
from langlog_schemas import messages
from langlog_schemas.messages import ListChanges

from ..auth.sight import Sight
from ..http.backends import Reads
from ..http.errors import ApiError, unavailable
from ..streams import sse
from . import cursor
from .content import SQL, Content, content_of
from .cursor import TopicPartition
from .gathering import KINDS, Gathering, Kind
from .positions import ReceivedPositions
from .reader import Reader

logger = structlog.get_logger(__name__)

GATHER_S = 0.1
"""Seconds between two messages to a reader: changes in between are sent together."""
STALE_S = 2.0
"""Seconds between two messages that report the same list as stale: each makes its readers query it again."""
CHECK_S = 5.0
AGAIN_S = 1.0
"""Seconds between two attempts while Postgres is unavailable."""
SUBSCRIBE_S = 5.0
KEPT_S = 300.0
"""Seconds for which changes are received and kept after the last reader has gone."""


class Hub:
    def __init__(self, bus: Bus, reads: Reads, secret: bytes) -> None:
        """``secret``: the deployment's; cursors of another one are rejected."""
        self._bus, self._reads = bus, reads
        self._secret = secret
        self._model = 0
        self._received: ReceivedPositions | None = None
        self._early: list[ListChanges] = []
        """Messages that arrived while the read model's positions were being read."""
        self._gathering = Gathering()
        self._changed = asyncio.Event()
        self._check_now = asyncio.Event()
        self._readers: set[Reader] = set()
        self._starting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._owing: asyncio.TimerHandle | None = None
        """Timer for the next report of stale lists to some reader."""
        self._draining = False

    async def open(self, sights: Mapping[Kind, Sight], last_id: str | None) -> Reader:
        """Return a reader of these kinds. Its first message has its position, and the kinds that became stale. Raises ApiError 503."""
        reader = Reader(sights)
        self._readers.add(reader)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        try:
            await self._started()
            received = self._received
            assert received is not None
            missed = Gathering()
            if last_id is not None:
                positions = cursor.decode(last_id, self._mark())
                if positions is None:
                    missed.stale.update(KINDS)
                else:
                    missed = received.since(positions)
            at = self._cursor()
            reader.begun = True
            body = await self._body(sights, missed, {})
            stale = body.stale & sights.keys()
            opened = {"kinds": list(sights)} | ({"stale": sorted(stale)} if stale else {})
            reader.begin(sse.event("open", msgspec.json.encode(opened), at) + body.message(at))
            reader.closing = self._draining
        except BaseException:
            self.close(reader)
            raise
        return reader

    def close(self, reader: Reader) -> None:
        self._readers.discard(reader)
        if not self._readers and self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(KEPT_S, self._let_go)

    def see(self, reader: Reader, sights: Mapping[Kind, Sight]) -> None:
        """Change the sight of a reader, after the project's handlers returned another one: its lists are stale."""
        changed = {kind for kind, sight in sights.items() if reader.sights.get(kind) != sight}
        reader.sights = dict(sights)
        reader.owed |= changed
        if changed:
            self._changed.set()

    def close_all(self) -> None:
        """End all readers: the server is going down."""
        self._draining = True
        for reader in self._readers:
            reader.closing = True
            reader.wake()

    async def stop(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._let_go()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    # --- hearing -----------------------------------------------------------------------------

    async def _started(self) -> None:
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        starting = self._starting
        try:
            await asyncio.shield(starting)
        except Exception:
            if self._starting is starting:
                self._starting = None
            raise

    async def _start(self) -> None:
        """Subscribe, and read the positions. Raises ApiError 503."""
        self._received, self._early = None, []
        self._bus.on_missed.append(self._check_now.set)
        try:
            async with asyncio.timeout(SUBSCRIBE_S):
                await self._bus.subscribe(channels.LISTS, self._on_message, remote=False)
                await self._bus.subscribe(channels.SUCCESSION, self._on_succession)
            positions, self._model = await self._saved()
        except TimeoutError:
            await self._unsubscribe()
            raise unavailable("Redis") from None
        except BaseException:
            await self._unsubscribe()
            raise
        self._received = ReceivedPositions(positions)
        for message in self._early:
            self._take(message)
        self._early = []
        self._tasks = [
            asyncio.create_task(self._keep(self._send_gathered), name="list-changes"),
            asyncio.create_task(self._keep(self._check), name="list-changes-check"),
        ]

    def _let_go(self) -> None:
        self._closing = None
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        if self._owing is not None:
            self._owing.cancel()
            self._owing = None
        if self._starting is not None:
            self._starting = None
            self._received = None
            leaving = asyncio.ensure_future(self._unsubscribe())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _unsubscribe(self) -> None:
        with contextlib.suppress(ValueError):
            self._bus.on_missed.remove(self._check_now.set)
        await self._bus.unsubscribe(channels.LISTS, self._on_message)
        await self._bus.unsubscribe(channels.SUCCESSION, self._on_succession)

    def _on_message(self, data: bytes) -> None:
        message = messages.decode_list_changes(data)
        if self._received is None:
            self._early.append(message)
        else:
            self._take(message)

    def _on_succession(self, _: bytes) -> None:
        """Check at once: the former projector may have died between a commit and its message."""
        self._check_now.set()

    def _take(self, message: ListChanges) -> None:
        assert self._received is not None
        lost = self._received.take(message)
        self._gathering.stale |= lost
        self._gathering.add(message)
        if self._gathering:
            self._changed.set()

    async def _saved(self) -> tuple[dict[TopicPartition, int], int]:
        rows = await self._reads.rows(SQL["positions"], list(ev.LISTED_TOPICS))
        return {(row["topic"], row["part"]): row["offset"] for row in rows}, rows[0]["model"] if rows else 0

    async def _check(self) -> None:
        """Compare the received positions with those in Postgres."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECK_S):
                await self._check_now.wait()
        self._check_now.clear()
        received = self._received
        if received is None or not self._readers:
            return
        before = dict(received.positions)
        saved, model = await self._saved()
        lost = received.check(before, saved)
        if model != self._model:
            self._model = model
            lost = set(KINDS)  # another read model was swapped in: rows may differ although no event came
        if lost:
            logger.warning("gateway.list_changes_lost", kinds=sorted(lost))
            self._gathering.stale |= lost
            self._changed.set()

    # --- sending -----------------------------------------------------------------------------

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat the check; retry while a server is unavailable."""
        while True:
            try:
                await work()
            except ApiError as error:
                logger.warning("gateway.list_changes_wait", reason=error.detail)
                await asyncio.sleep(AGAIN_S)  # nothing signals that Postgres is back
            except Exception:
                logger.exception("gateway.list_changes_failed")
                await asyncio.sleep(AGAIN_S)

    async def _send_gathered(self) -> None:
        await self._changed.wait()
        self._changed.clear()
        gathered, self._gathering = self._gathering, Gathering()
        at = self._cursor()
        readers = [reader for reader in self._readers if reader.begun]
        try:
            await self._send(readers, gathered, at)
        except BaseException:
            self._gathering.add_all(gathered)
            self._changed.set()
            raise
        await asyncio.sleep(GATHER_S)

    async def _send(self, readers: list[Reader], gathered: Gathering, at: str) -> None:
        shared: dict[tuple[Kind, bytes], Content] = {}
        bodies: dict[frozenset[tuple[Kind, bytes]], Body] = {}
        # the kinds are part of what a reader sees: several have the same sight where nothing is filtered, or by one rule
        views = [(reader, frozenset((kind, sight.key) for kind, sight in reader.sights.items())) for reader in readers]
        for reader, view in views:
            if view not in bodies:
                bodies[view] = await self._body(reader.sights, gathered, shared)
        loop = asyncio.get_running_loop()
        now, owing = loop.time(), False
        for reader, view in views:
            body = bodies[view]
            stale = (body.stale | reader.owed) & reader.sights.keys()
            reader.owed = {kind for kind in stale if reader.stale_at.get(kind, now - STALE_S) + STALE_S > now}
            reported = frozenset(stale - reader.owed)
            reader.stale_at.update(dict.fromkeys(reported, now))
            # a reader that returns with a cursor must receive what it is still owed, so it keeps its id
            message = body.message(None if reader.owed else at, reported)
            if message:
                reader.put(message)
            owing = owing or bool(reader.owed)
        if owing and self._owing is None:
            self._owing = loop.call_later(STALE_S, self._pay)

    def _pay(self) -> None:
        self._owing = None
        self._changed.set()

    async def _body(
        self, sights: Mapping[Kind, Sight], gathered: Gathering, shared: dict[tuple[Kind, bytes], Content]
    ) -> Body:
        by_kind: dict[Kind, Content] = {}
        for kind, sight in sights.items():
            key = (kind, sight.key)
            if key not in shared:
                shared[key] = await content_of(self._reads, kind, gathered, sight)
            by_kind[kind] = shared[key]
        return Body(by_kind)

    def _mark(self) -> bytes:
        return hashlib.blake2b(self._secret + self._model.to_bytes(8), digest_size=8).digest()

    def _cursor(self) -> str:
        assert self._received is not None
        return cursor.encode(self._mark(), self._received.positions)


class Body:
    """Text of a message for readers with an equal sight; encoded once for those with the same stale lists."""

    def __init__(self, content: Mapping[Kind, Content]) -> None:
        self._content = content
        self.stale = {kind for kind, changed in content.items() if changed.stale}
        self._encoded: dict[tuple[str | None, frozenset[Kind]], bytes] = {}

    def message(self, at: str | None, stale: frozenset[Kind] = frozenset()) -> bytes:
        """Return the event; empty if there is nothing to report. ``at``: its id; None: without one."""
        key = (at, stale)
        if key not in self._encoded:
            self._encoded[key] = self._encode(at, stale)
        return self._encoded[key]

    def _encode(self, at: str | None, stale: frozenset[Kind]) -> bytes:
        parts = [f'"{kind}":[{",".join(changed.rows)}]' for kind, changed in self._content.items() if changed.rows]
        deleted = [
            {"kind": kind.removesuffix("s"), "id": id}
            for kind, changed in self._content.items()
            for id in changed.deleted
        ]
        if deleted:
            parts.append(f'"deleted":{msgspec.json.encode(deleted).decode()}')
        if stale:
            parts.append(f'"stale":{msgspec.json.encode(sorted(stale)).decode()}')
        return sse.event("changes", f"{{{','.join(parts)}}}".encode(), at) if parts else b""
