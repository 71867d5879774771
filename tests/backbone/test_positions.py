"""No connection is used that shows less of the read model than is known."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

from langlog_backbone.read_model.positions import ReadPositions
from langlog_backbone.read_model.watermark import Watermark


class Postgres:
    """A connection, and the positions that it shows."""

    def __init__(self, *offsets: int) -> None:
        self.offsets = offsets
        self.asked = asyncio.Event()

    async def fetch(self, _: str) -> list[dict[str, Any]]:
        self.asked.set()
        return [{"topic": "run-events", "part": part, "offset": offset} for part, offset in enumerate(self.offsets)]


async def test_what_a_connection_has_shown_is_waited_for_by_the_next_without_a_message_of_it() -> None:
    positions = ReadPositions()
    message = json.dumps({"run-events": {"0": 5}}).encode()
    positions.on_watermark(message)
    await positions.advance(cast(Any, Postgres(5, 7)))
    behind = Postgres(5, 3)
    waiting = asyncio.create_task(positions.advance(cast(Any, behind)))
    await behind.asked.wait()
    assert not waiting.done()
    behind.offsets = (5, 7)
    positions.on_watermark(message)
    await waiting


async def test_a_position_that_was_read_for_a_run_is_waited_for_by_later_connections() -> None:
    """Checkpoints are read after it without another look, and Redis may not have said it."""
    positions = ReadPositions()
    watermark = Watermark(cast(Any, SimpleNamespace(on_missed=[])), positions)
    watermark.learn(1, 7)
    assert watermark.passed(1, 6)
    behind = Postgres(5, 3)
    waiting = asyncio.create_task(positions.advance(cast(Any, behind)))
    await behind.asked.wait()
    assert not waiting.done()
    behind.offsets = (5, 7)
    positions.on_watermark(json.dumps({"run-events": {"0": 5}}).encode())
    await waiting
