"""`langlog …`, as a process that stops in the middle of a copy and reports it: there it is killed.

``python -m tests.transfer.stopping RECORDS log copy --to …``: after so many records the next append, which is under way by then, is the
last one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from langlog.main import cli
from langlog_backbone.log import NewRecord, Position
from langlog_backbone.log.kafka.copy_target import CopyTarget

REACHED = "reached"


def prepare(records: int) -> None:
    """Let it stand still after so many."""
    plainly, left = CopyTarget.append, records

    async def append(self: CopyTarget, records: Sequence[NewRecord]) -> list[Position]:
        nonlocal left
        if left > 0:
            left -= len(records)
            return await plainly(self, records)
        print(REACHED, flush=True)
        await plainly(self, records)
        return await asyncio.Future()

    setattr(CopyTarget, "append", append)  # noqa: B010


if __name__ == "__main__":
    prepare(int(sys.argv[1]))
    cli(sys.argv[2:])
