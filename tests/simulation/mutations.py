"""``python -m tests.simulation.mutations``: puts fixed bugs back, one at a time, and counts in how many worlds each is found.

A mutation is a context manager that replaces a function of the product in this process; nothing of it is in the product. The table of
docs/explanation/proof.md is written from ``docs/explanation/proof/mutations.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from langlog_backbone.redis import channels
from langlog_backbone.redis.hot_queue import HotQueue
from langlog_executor.decider.aggregates import Aggregates
from langlog_executor.decider.effects import Effects
from langlog_executor.decider.read_model import ReadModel
from langlog_executor.decider.service import DeciderService
from langlog_executor.worker.claims import Worker
from langlog_gateway.streams.sequencer import FrameSequencer
from langlog_projector import announce, apply, projection
from langlog_projector.folding import fold
from langlog_scheduler.leases import Leases
from langlog_schemas import messages

from .__main__ import git
from .plan import drawn
from .world import run


class Found(msgspec.Struct):
    """How often worlds found one."""

    bug: str
    worlds: int
    found: int
    says: str = ""
    """The first violation."""
    commit: str = ""


def _no_fence() -> Any:
    """Worker records count whatever attempt is dispatched."""
    original = fold.Fold.event

    def event(self: Any, event: Any, time: str, offset: int, partition: int) -> bool:
        run_id = getattr(event, "run_id", None)
        kept = self.fences.attempts.get(run_id) if run_id else None
        if run_id and hasattr(event, "attempt") and event.TYPE.startswith("checkpoint"):
            self.fences.attempts[run_id] = event.attempt
        counts = original(self, event, time, offset, partition)
        if run_id and event.TYPE.startswith("checkpoint"):
            if kept is None:
                self.fences.attempts.pop(run_id, None)
            else:
                self.fences.attempts[run_id] = kept
        return counts

    return patch.object(fold.Fold, "event", event)


async def _push_again(self: HotQueue, tasks: Any) -> None:
    args: list[object] = []
    for task in tasks:
        args += [self._pipe.key("task", task.id), messages.encode(task)]
    await self._pipe.call("MSET", *args)
    await self._pipe.call("LPUSH", self._pipe.key("queue"), *(task.id for task in tasks))


async def _nothing(*_: Any, **__: Any) -> list[Any]:
    return []


@contextmanager
def _decides_again() -> Iterator[None]:
    """A new owner waits for the read model, and does not look how far its predecessor has come."""
    original = ReadModel.folded

    async def folded(self: ReadModel, parts: Any, ends: Any) -> dict[Any, Any]:
        await original(self, parts, ends)
        return {}

    with patch.object(ReadModel, "folded", folded), _decides_on_anything():
        yield


def _decides_on_anything() -> AbstractContextManager[Any]:
    return patch.object(DeciderService, "_is_passed", lambda *_: False)


def _replies_early() -> Any:
    original = announce.Announcer.folded

    def folded(self: Any, record: Any, event: Any, cause: Any) -> None:
        original(self, record, event, cause)
        for command in self._settled:
            if command in self._pending:
                waiting, reply = self._pending[command]
                self.replies.publish(reply.command_id, channels.gateway(waiting), b"R" + messages.encode(reply))

    return patch.object(announce.Announcer, "folded", folded)


def _claim_anyhow() -> Any:
    original = apply._claim

    async def claim(connection: Any, steps: Any, index: Any = None) -> None:
        try:
            await original(connection, steps, index)
        except apply.PositionsMoved:
            return

    return patch.object(apply, "_claim", claim)


MUTATIONS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "records of a past attempt count (fencing)": _no_fence,
    "events that were written twice are folded twice": lambda: patch.object(fold.Fences, "duplicate", lambda *_: False),
    "a new owner decides commands again that a former owner has decided for it": _decides_again,
    "an owner decides on rows that show what another has decided from the same commands": _decides_on_anything,
    "a repeated command is decided again": lambda: patch.object(Aggregates, "known", lambda *_: _two_nothings()),
    "a dispatched task that Redis has lost is not looked for": lambda: patch.object(Leases, "missing", _nothing),
    "tasks of a worker whose lease ran out are not requeued": lambda: patch.object(Leases, "lost", _nothing),
    "a task may be pushed and claimed twice": lambda: patch.object(HotQueue, "push", _push_again),
    "a worker does not hand back what it holds when it drains": lambda: patch.object(Worker, "_hand_back", _nothing),
    "a worker does not give back what it has not begun when it drains": lambda: patch.object(
        HotQueue, "give_back", _nothing
    ),
    "replies are sent before the commit": _replies_early,
    "a batch is written although another projector has moved the positions": _claim_anyhow,
    "frames that a reader has are sent to it again": lambda: patch.object(FrameSequencer, "accept", _accept_all),
    "a lost commit of Postgres is not noticed by the projector": lambda: patch.object(
        projection.Projection, "check", _nothing
    ),
    "withdrawn and stopped runs are not reported": lambda: patch.object(Effects, "_stop_runs", _nothing),
}


async def _two_nothings() -> tuple[set[str], set[str]]:
    return set(), set()


def _accept_all(self: Any, batch: Any) -> Any:
    from langlog_gateway.streams.sequencer import FrameSlice

    self._anchored = True
    self.attempt, self.sequence = batch.attempt, batch.last
    return FrameSlice(batch, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--figures", type=Path, default=Path("docs/explanation/proof/mutations.json"))
    options = parser.parse_args()
    rows, commit = [], git("rev-parse", "--short", "HEAD")
    for bug, mutation in MUTATIONS.items():
        row = Found(bug, options.seeds, 0, commit=commit)
        for seed in range(1, options.seeds + 1):
            result = run(drawn(seed), mutation=mutation)
            if result.violations:
                row.found += 1
                row.says = row.says or result.violations[0].split(" Traceback")[0][:160]
        print(f"{row.found:4} of {row.worlds}  {bug}  {row.says[:110]!r}", flush=True)
        rows.append(row)
        options.figures.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation.mutations", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})
    sys.exit(main())
