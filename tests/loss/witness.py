"""Reads the log beside the services and records facts: final events, dispatches, orders.

Folds as any consumer must (an event whose cause is not larger than the last one of its partition is a duplicate), so what
it has counted are facts of the log, not the number of records.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

from langlog_backbone.log import Log, LogReader, Record
from langlog_schemas import envelope, events


class Witness:
    def __init__(self) -> None:
        self.finals: dict[str, list[events.RunEnded]] = defaultdict(list)
        """run id -> its final events."""
        self.attempts: dict[str, list[int]] = defaultdict(list)
        """run id -> attempts dispatched."""
        self.dispatched: dict[str, list[events.RunDispatched]] = defaultdict(list)
        """run id -> its dispatches."""
        self.order: dict[str, list[str]] = defaultdict(list)
        """thread id -> run ids in order of creation."""
        self.metadata: dict[str, dict[str, Any]] = {}
        """run id -> its metadata."""
        self._causes: dict[int, envelope.Cause] = {}
        self._news = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def following(self, log: Log) -> AsyncIterator[None]:
        """Read everything from the beginning while the block runs."""
        reader = log.reader([events.RUN_EVENTS])
        task = asyncio.create_task(self._follow(reader))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await reader.stop()

    async def until(self, happened: Callable[[], bool], limit_s: float | None = 120.0) -> None:
        """Wait until the log shows it. Raises TimeoutError."""
        async with asyncio.timeout(limit_s), self._news:
            await self._news.wait_for(happened)

    async def _follow(self, reader: LogReader) -> None:
        while True:
            records = await reader.read()
            async with self._news:
                for record in records:
                    self._fold(record)
                self._news.notify_all()

    def _fold(self, record: Record) -> None:
        header = record.headers.get("ce_cause")
        if header is None:
            return
        cause = envelope.Cause.parse(header)
        if not cause.follows(self._causes.get(cause.partition)):
            return
        self._causes[cause.partition] = cause
        for event in events.parts(events.decode(envelope.type_of(record.headers), record.value)):
            match event:
                case events.RunCreated():
                    self.order[event.thread_id].append(event.run_id)
                    self.metadata[event.run_id] = event.metadata
                case events.RunDispatched():
                    self.attempts[event.run_id].append(event.attempt)
                    self.dispatched[event.run_id].append(event)
                case events.RunEnded():
                    self.finals[event.run_id].append(event)
                case _:
                    pass
