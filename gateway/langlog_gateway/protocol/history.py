"""Past events of a thread in the streaming protocol: from Redis, from recorded frames, or derived from the runs' rows.

Every event has its number from its worker, so events of all sources are merged by number. No state; one run at a time, and one page of
its recorded frames, so that neither a long thread nor a long run is ever completely in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.frames import ATTEMPT_SPAN
from langlog_schemas.runs.errors import Refusal
from langlog_schemas.runs.resumes import by_id

from ..http.backends import Pause, Reads
from ..streams.backlog import Backlog, is_complete
from ..streams.sse import Batch, FramePosition
from .events import Ending, Event, Name, derived, event_of, running

SQL = load_sql("langlog_gateway", "protocol.sql")


class Standing(NamedTuple):
    """Position of a thread at one moment."""

    seq: int
    """Number of the last event of the ended runs."""
    run_id: str | None
    """Id of the run that a worker may hold."""
    attempt: int
    resumable: bool
    ended: list[Any]
    """Rows of the ended runs with events since then."""
    beginning: Event | None = None
    """Beginning of the run that a worker executes, if the worker's own event is lost."""


class History:
    def __init__(self, reads: Reads, backlog: Backlog) -> None:
        self._reads = reads
        self._backlog = backlog

    def outlasting(self, pause: Pause) -> History:
        """Return a history like this one, whose reads outlast what makes Postgres unavailable. See `Reads.outlasting`."""
        return History(self._reads.outlasting(pause), self._backlog.outlasting(pause))

    async def position(self, thread_id: str) -> Standing | None:
        """Return the thread's position, without ended runs; None: the thread does not exist."""
        row = await self._reads.row(SQL["position"], thread_id)
        if row is None:
            return None
        return Standing(row["seq"], row["run_id"], row["attempt"] or 0, bool(row["resumable"]), [])

    async def standing(self, thread_id: str, after: int) -> Standing | None:
        """Return the thread's position, with the runs that have ended after an event; None: the thread does not exist."""
        rows = await self._reads.rows(SQL["standing"], thread_id, after)
        if not rows:
            return None
        first = rows[0]
        seq, run_id, attempt = first["thread_seq"], first["active_run_id"], first["active_attempt"] or 0
        return Standing(
            seq,
            run_id,
            attempt,
            bool(first["active_resumable"]),
            [row for row in rows if row["run_id"] is not None],
            None
            if run_id is None
            else running(
                run_id,
                first["active_graph_id"],
                seq + (attempt - 1) * ATTEMPT_SPAN + 1,
                _ms(first["active_started_at"]),
            ),
        )

    async def run(self, thread_id: str, run_id: str) -> Any:
        return await self._reads.row(SQL["run"], thread_id, run_id)

    async def events(self, thread_id: str, after: int, upto: int) -> AsyncIterator[list[Event]]:
        """Yield all events with ``after < seq <= upto``, in order, run after run."""
        if after >= upto:
            return
        standing = await self.standing(thread_id, after)
        if standing is None:
            return
        recent: dict[str, list[Batch]] = {}
        for batch in await self._backlog.since(thread_id, after):
            recent.setdefault(batch.run_id, []).append(batch)
        for row in standing.ended:
            end = (row["attempt"], row["frame_count"])
            newest = 0
            async for events in self._of_run(
                row["run_id"], recent.pop(row["run_id"], []), end, row["attempt"], recorded=row["resumable"]
            ):
                newest = events[-1].seq
                yield [event for event in events if after < event.seq <= upto]
            by_number = {event.seq: event for event in derived(ending_of(row), newest)}
            yield [by_number[seq] for seq in sorted(by_number) if after < seq <= upto]
        run_id, begun = standing.run_id, standing.beginning
        if run_id is not None:
            async for events in self._of_run(
                run_id, recent.pop(run_id, []), None, standing.attempt, recorded=standing.resumable
            ):
                if begun is not None and begun.seq < events[0].seq:  # Redis keeps the newest frames only
                    events.insert(0, begun)
                begun = None
                yield [event for event in events if after < event.seq <= upto]

    async def _of_run(
        self, run_id: str, recent: list[Batch], end: FramePosition | None, attempt: int, *, recorded: bool
    ) -> AsyncIterator[list[Event]]:
        """Yield the events of a run's frames, some at a time, by their numbers. ``attempt``: the newest one in the read model."""
        recent.sort(key=lambda batch: (batch.attempt, batch.first))
        retried = any(batch.attempt > 1 for batch in recent)  # the last numbers of the lost attempts are unknown
        wanted = recorded and (retried or not is_complete(recent, end))
        closed: set[int] = set()
        newest = 0
        async for portion in self._backlog.portions(run_id, recent, recorded=wanted):
            events = []
            for event in events_of(portion.batches, max(attempt, portion.attempt), closed):
                if event.seq > newest:
                    newest = event.seq
                    events.append(event)
            if events:
                yield events


def events_of(batches: list[Batch], attempt: int, closed: set[int]) -> Iterator[Event]:
    """Yield the events of a run's frames; ``attempt``: the newest one. The end of a lost one, and what follows it, is left out:
    ``closed`` has the attempts whose end has come, and gets those of these batches."""
    for batch in batches:
        for frame in batch.frames:
            if not frame.seq:
                continue
            if batch.attempt < attempt and Name(frame.event).closing:
                closed.add(batch.attempt)
            if batch.attempt not in closed:
                event = event_of(batch.run_id, frame)
                if event is not None:
                    yield event


def ending_of(row: Any) -> Ending:
    """Return an ended run of its row in `ended`."""
    values = row["output"] or row["state_values"]
    ended_ms = _ms(row["ended_at"])
    return Ending(
        run_id=row["run_id"],
        graph_id=row["graph_id"],
        status=row["status"],
        first_event_number=row["first_event_number"],
        last_event_number=row["last_event_number"],
        started_ms=_ms(row["started_at"]),
        ended_ms=ended_ms,
        error=row["error"],
        values=None if values is None else values.encode(),
        pending=row["pending"],
        refusal=refusal_in(row["refusal"]),
        answered=answered_in(row["resume"]),
    )


def refusal_in(text: str | None) -> Refusal | None:
    return None if text is None else msgspec.json.decode(text, type=Refusal)


def answered_in(text: str | None) -> list[str]:
    """Return the interrupts that ``command.resume`` answers by id."""
    return [] if text is None else list(by_id(msgspec.json.decode(text)) or ())


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
