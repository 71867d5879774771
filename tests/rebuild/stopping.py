"""`langlog …`, as a process that stops at a point of a rebuild and reports it, with the number of records that its first batch held: there
it is killed.

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
"""A batch takes reads until it has so many; a read may have as many itself."""
REACHED = "reached"
PLACES = ("between batches", "within a batch", "comparing", "swapping")


def stand_still(*_: Any, folded: int = 0) -> Any:
    print(REACHED, folded, flush=True)
    signal.pause()


def prepare(place: str) -> None:
    """Let it stand still there."""
    rebuild.BATCH_RECORDS = BATCH_RECORDS
    folded = 0

    async def dying(connection: Any, changes: Any, steps: Any) -> None:
        nonlocal folded
        if not folded:
            await apply(connection, changes, steps)
            folded = sum(step.after - step.before for step in steps.values())
            return
        if place == "between batches":
            stand_still(folded=folded)
        async with connection.transaction():
            await apply(connection, changes, steps)
            stand_still(folded=folded)

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
