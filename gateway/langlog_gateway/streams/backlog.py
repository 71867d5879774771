"""Frames that were published before a reader came: from the thread's Redis stream, or as recorded in Postgres.

Redis holds the recent ones of every run, Postgres those of resumable runs for good. Either may be incomplete: a
`FrameSequencer` puts them together by their numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

import structlog
from langlog_backbone.log.port import LogUnavailable
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.values.compression import restored
from langlog_schemas import frames
from langlog_schemas.frames import FrameBatch

from ..http.backends import Pause, Reads
from ..http.errors import ApiError
from .folding import Folding
from .opening import opened_frames
from .sse import Batch, FrameId, FramePosition

logger = structlog.get_logger(__name__)

_SQL = load_sql("langlog_gateway", "frames.sql")

CATCH_UP_S = 20.0
"""Maximum seconds for a projector that is behind: another one takes over from one that is gone within `Settings.group_session_s`."""
PAGE = 200
"""Number of batches that one query reads, the newest first."""
RECORDED_BATCHES = 200
"""Maximum number of recorded batches that one query reads."""
RECORDED_BYTES = 4_000_000
"""Size in bytes beyond which a query reads no further recorded batch: streams of clients that do not read hold as much."""
PAGES_GROW_BY = 4
"""Factor from one query for a run's batches to the next, so that a run far back, or none, takes few."""


class Portion(NamedTuple):
    """Batches of a run that were read together, in order of (attempt, sequence), perhaps with overlaps."""

    batches: list[Batch]
    later: Mapping[int, FrameId]
    """Attempt -> the id with which a later one begins; see `later_starts`."""
    attempt: int
    """The newest attempt that any portion has."""

    def in_turn(self) -> list[Batch]:
        """Return the batches without the frames that `in_turn` leaves out."""
        return in_attempts(self.batches, self.later)


class Backlog:
    def __init__(self, pipe: RedisPipe, reads: Reads, folding: Folding, *, counting: Backlog | None = None) -> None:
        """``counting``: the backlog that counts missing events for this one."""
        self._pipe = pipe
        self._reads = reads
        self._folding = folding
        self._counting = counting or self
        self.missing_events = 0
        """Events that streams skipped since the start because they are lost."""

    def outlasting(self, pause: Pause) -> Backlog:
        """Return a backlog like this one, for a stream that has begun: its reads outlast what makes Postgres unavailable. See
        `Reads.outlasting`."""
        return Backlog(self._pipe, self._reads.outlasting(pause), self._folding, counting=self._counting)

    def count_missing(self, run_id: str, events: int) -> None:
        """Count events that a stream leaves out although they were published."""
        self._counting.missing_events += events
        logger.info("stream.events_missing", run_id=run_id, events=events)

    async def tip(self, thread_id: str, run_id: str) -> FramePosition:
        """Return the position of the run's newest frame in Redis; (0, 0) without frames."""
        try:
            entries = await self._pipe.call("XREVRANGE", self._key(thread_id), "+", "-", "COUNT", 1)
        except RedisUnavailable:
            return (0, 0)
        for _, fields in entries:
            batch = frames.decode(_field(fields))
            if batch.run_id == run_id and batch.frames:
                return (batch.attempt, batch.frames[-1].sequence)
        return (0, 0)

    async def recent(self, thread_id: str) -> list[Batch]:
        """Return the batches in Redis of the thread; none while Redis is unavailable."""
        try:
            entries = await self._pipe.call("XRANGE", self._key(thread_id), "-", "+")
        except RedisUnavailable:
            return []
        batches = [frames.decode(_field(fields)) for _, fields in entries]
        return [await self._opened(b) for b in batches if b.frames]

    async def recent_of(self, thread_id: str, run_id: str) -> list[Batch]:
        """Return the batches in Redis of a run; none while Redis is unavailable. Those of the runs before it are not read, since a
        thread may have many."""
        newest_first: list[FrameBatch] = []
        end, size = "+", PAGE
        while not is_whole(newest_first):
            try:
                page = await self._pipe.call("XREVRANGE", self._key(thread_id), end, "-", "COUNT", size)
            except RedisUnavailable:
                return []
            read = [frames.decode(_field(fields)) for _, fields in page]
            newest_first += [batch for batch in read if batch.run_id == run_id and batch.frames]
            if len(page) < size:
                break
            end, size = f"({_text(page[-1][0])}", size * PAGES_GROW_BY
        return [await self._opened(batch) for batch in reversed(newest_first)]

    async def since(self, thread_id: str, seq: int) -> list[Batch]:
        """Return the batches in Redis with the thread's protocol numbers above ``seq``, and a few before; none while Redis
        is unavailable."""
        newest_first: list[Batch] = []
        end = "+"
        while True:
            try:
                page = await self._pipe.call("XREVRANGE", self._key(thread_id), end, "-", "COUNT", PAGE)
            except RedisUnavailable:
                return []
            read = [frames.decode(_field(fields)) for _, fields in page]
            batches = [await self._opened(batch) for batch in read if batch.frames]
            newest_first += batches
            if len(page) < PAGE or any(0 < frame.seq <= seq for batch in batches[-1:] for frame in batch.frames):
                return newest_first[::-1]
            end = f"({_text(page[-1][0])}"

    async def recorded_pages(self, run_id: str, after: FramePosition = (0, 0)) -> AsyncIterator[list[Batch]]:
        """Yield a run's recorded frames beyond a frame, and those in one batch with it, in order of (attempt, sequence). Of a long
        run, about `RECORDED_BYTES` are read at a time. Raises ApiError 503."""
        attempt = sequence = 0
        if after > (0, 0):
            row = await self._reads.row(_SQL["batch_with"], run_id, after[0], after[1] + 1)
            if row is not None:
                attempt, sequence = row["attempt"], row["first_sequence"] - 1
        while rows := await self._reads.rows(
            _SQL["page_of_run"], run_id, attempt, sequence, RECORDED_BATCHES, RECORDED_BYTES
        ):
            attempt, sequence = rows[-1]["attempt"], rows[-1]["first_sequence"]
            yield [await self._opened(b) for row in rows if (b := frames.decode(row["data"])).frames]
            del rows

    async def recorded_starts(self, run_id: str) -> list[Batch]:
        """Return the first recorded batch of each of a run's attempts."""
        rows = await self._reads.rows(_SQL["starts_of_run"], run_id)
        return [Batch(b) for row in rows if (b := frames.decode(row["data"])).frames]

    async def pages_of_run(
        self,
        thread_id: str,
        run_id: str,
        *,
        recorded: bool,
        end: FramePosition | None = None,
        after: FramePosition = (0, 0),
    ) -> AsyncIterator[Portion]:
        """Yield all available frames of a run, in order of (attempt, sequence), with overlaps, and without recorded ones up to ``after``.
        What is recorded is read page by page. ``recorded``: the run is resumable. ``end``: its last frame, when that is known.
        Raises ApiError 503."""
        recent = await self.recent_of(thread_id, run_id)
        recent.sort(key=_position)
        wanted = recorded and not is_complete(recent, end)
        async for portion in self.portions(run_id, recent, recorded=wanted, after=after):
            yield portion

    async def portions(
        self, run_id: str, recent: list[Batch], *, recorded: bool, after: FramePosition = (0, 0)
    ) -> AsyncIterator[Portion]:
        """Yield a run's recent frames, in order of (attempt, sequence), and where ``recorded`` the recorded ones among them, page by page,
        those up to ``after`` excepted. A portion is empty once the next one is requested. Raises ApiError 503."""
        starts = [*recent, *(await self.recorded_starts(run_id) if recorded else ())]
        later, newest = later_starts(starts), max((batch.attempt for batch in starts), default=0)
        del starts
        if recorded:
            async for page in self.recorded_pages(run_id, after):
                upto = _position(page[-1]) if page else (0, 0)
                page += [batch for batch in recent if _position(batch) <= upto]
                recent = [batch for batch in recent if _position(batch) > upto]
                page.sort(key=_position)
                yield Portion(page, later, newest)
                page.clear()
        yield Portion(recent, later, newest)

    async def caught_up(self, thread_id: str) -> None:
        """Wait until `pages_of_run` has what is recorded of the thread's runs by now; `CATCH_UP_S` at most, and not for a log that is
        unavailable. Raises ApiError 503."""
        while True:
            try:
                async with asyncio.timeout(CATCH_UP_S):
                    await self._folding.caught_up(thread_id)
            except (TimeoutError, LogUnavailable) as error:
                logger.info("stream.read_model_behind", thread_id=thread_id, error=type(error).__name__)
            except ApiError:
                if not await self._reads.pause():
                    raise
                continue
            return

    async def recent_runs(self, thread_id: str) -> dict[str, list[Batch]]:
        """Return the batches in Redis of the thread's resumable runs, each in order of (attempt, sequence); the run that began first
        is the first."""
        runs: dict[str, list[Batch]] = {}
        for batch in sorted((b for b in await self.recent(thread_id) if b.resumable), key=lambda b: b.first_id):
            runs.setdefault(batch.run_id, []).append(batch)
        for batches in runs.values():
            batches.sort(key=_position)
        return runs

    async def last_ids(self, thread_id: str, recent: Mapping[str, list[Batch]]) -> dict[str, FrameId]:
        """Return run id -> id of the last frame, of the thread's runs with recorded or ``recent`` frames, in the order in which they were
        executed. Raises ApiError 503."""
        run_ids = [row["run_id"] for row in await self._reads.rows(_SQL["runs_of_thread"], thread_id)]
        last: dict[str, tuple[FramePosition, FrameId]] = {}
        while run_ids:
            rows = await self._reads.rows(_SQL["last_of_runs"], run_ids[:RECORDED_BATCHES], RECORDED_BYTES)
            for row in rows:
                last[row["run_id"]] = _last_of(Batch(frames.decode(row["data"])))
            del run_ids[: rows[-1]["n"] if rows else RECORDED_BATCHES]
            del rows
        for run_id, batches in recent.items():
            newest = _last_of(batches[-1])
            last[run_id] = max(last.get(run_id, newest), newest)
        return {run_id: id for run_id, (_, id) in last.items()}

    async def ended(self, thread_id: str, run_ids: Iterable[str]) -> dict[str, FramePosition]:
        """Return run id -> its last frame, for those of a thread's runs that have ended."""
        rows = await self._reads.rows(_SQL["ended"], thread_id, list(run_ids))
        return {row["run_id"]: (row["attempt"], row["frame_count"]) for row in rows}

    async def _opened(self, batch: FrameBatch) -> Batch:
        return Batch(await opened_frames(self._reads.handlers(), batch))

    def _key(self, thread_id: str) -> str:
        return self._pipe.key(channels.frames(thread_id))


def is_whole(batches: Iterable[FrameBatch]) -> bool:
    """Return whether a run has no batches before these of its: the first frame of its first attempt is here, and of each that
    is here. Pure."""
    begun: dict[int, bool] = {}
    for batch in batches:
        begun[batch.attempt] = begun.get(batch.attempt, False) or batch.frames[0].sequence == 1
    return begun.get(1, False) and all(begun.values())


def is_complete(batches: Iterable[Batch], end: FramePosition | None = None) -> bool:
    """Return whether no frame is missing from the first one of the run to the last one here; in order of (attempt, sequence). Pure.

    ``end``: the last frame of the run, as far as it is known.
    """
    attempt = sequence = 0
    for batch in batches:
        if not batch.frames or batch.attempt < attempt:
            continue
        if batch.attempt > attempt:
            if attempt == 0 and batch.attempt > 1:
                return False
            attempt, sequence = batch.attempt, 0
        if batch.first > sequence + 1:
            return False
        sequence = max(sequence, batch.last)
    return attempt > 0 and (end is None or (attempt, sequence) >= end or end[1] <= 0)


def in_turn(batches: list[Batch]) -> list[Batch]:
    """Return a run's batches, in order of (attempt, sequence), without the frames that a worker published although the next attempt
    had begun: it was taken for dead, and did not know. So ids grow from one attempt to the next, for those who come later. Pure.
    """
    return in_attempts(batches, later_starts(batches))


def later_starts(batches: Iterable[Batch]) -> dict[int, FrameId]:
    """Return attempt -> the id with which a later one begins, for each attempt that is not the last. ``batches``: at least the first of
    each attempt. Pure."""
    starts: dict[int, FrameId] = {}
    for batch in batches:
        starts[batch.attempt] = min(batch.first_id, starts.get(batch.attempt, batch.first_id))
    later: dict[int, FrameId] = {}
    first: FrameId | None = None
    for attempt in sorted(starts, reverse=True):
        if first is not None:
            later[attempt] = first
        first = starts[attempt] if first is None else min(first, starts[attempt])
    return later


def in_attempts(batches: Iterable[Batch], later: Mapping[int, FrameId]) -> list[Batch]:
    """Return the batches without the frames of an attempt since a later one began (`later_starts`). Pure."""
    cut = (
        batch if (begun := later.get(batch.attempt)) is None or batch.last_id < begun else batch.before(begun)
        for batch in batches
    )
    return [batch for batch in cut if batch.frames]


def _last_of(batch: Batch) -> tuple[FramePosition, FrameId]:
    return (batch.attempt, batch.last), batch.last_id


def _position(batch: Batch) -> FramePosition:
    return (batch.attempt, batch.first)


def _text(id: bytes | str) -> str:
    return id.decode() if isinstance(id, bytes) else id


def _field(fields: list[bytes] | dict[bytes, bytes]) -> bytes:
    return restored(fields[b"f"] if isinstance(fields, dict) else fields[fields.index(b"f") + 1])
