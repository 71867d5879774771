"""`langlog …`, as a process that stops at a point of a rebuild and reports it: there it is killed.

``python -m tests.rebuild.stopping PLACE rebuild --data-dir …``
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from langlog.main import cli
from langlog_projector import projection
from langlog_projector.apply import apply
from langlog_projector.rebuild import rebuild, swap

BATCH_RECORDS = 20
AFTER_BATCHES = 2
REACHED = "reached"
PLACES = ("between batches", "within a batch", "comparing", "swapping")


def stand_still(*_: Any) -> Any:
    print(REACHED, flush=True)
    signal.pause()


def prepare(place: str) -> None:
    """Let it stand still there."""
    rebuild.BATCH_RECORDS = BATCH_RECORDS
    batches = 0

    async def dying(connection: Any, *what: Any) -> None:
        nonlocal batches
        batches += 1
        if batches <= AFTER_BATCHES:
            await apply(connection, *what)
            return
        if place == "between batches":
            stand_still()
        async with connection.transaction():
            await apply(connection, *what)
            stand_still()

    class Stopping:
        """Stops after the last ``ALTER SCHEMA``, before the commit."""

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        async def execute(self, query: str, *args: Any) -> Any:
            answer = await self._connection.execute(query, *args)
            if query.endswith("_old"):
                stand_still()
            return answer

    held = rebuild.held

    def held_still(pool: Any) -> Any:
        class Held:
            async def __aenter__(self) -> Any:
                self._inner = held(pool)
                connection, positions = await self._inner.__aenter__()
                return Stopping(connection), positions

            async def __aexit__(self, *error: Any) -> Any:
                return await self._inner.__aexit__(*error)

        return Held()

    match place:
        case "between batches" | "within a batch":
            setattr(projection, "apply", dying)  # noqa: B010
        case "comparing":
            setattr(swap, "compare", stand_still)  # noqa: B010
        case "swapping":
            setattr(swap, "held", held_still)  # noqa: B010
        case _:
            raise ValueError(place)


if __name__ == "__main__":
    prepare(sys.argv[1])
    cli(sys.argv[2:])
