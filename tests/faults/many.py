"""Many cheap runs: clients make batches of them, up to so many open runs. Judged by the log, in time linear in the runs.

The rounds of `tests.history.workload` judge what clients see, call by call; a batch only asks that nothing acknowledged is lost, doubled,
stuck or answered with another run's output. So hundreds of runs are in flight at once, and each costs the load as little as can be.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from langlog_schemas import events

from tests.history.clients import Answer
from tests.history.workload import Workload
from tests.loss.witness import Witness

GRAPH = "once"
OPEN_MAX = 400
"""Runs that were acknowledged and have not ended, over all batches, above which no further one is begun. A batch does not wait for its own
last run, which a fault may hold up for many seconds."""
SHOWN = 20
"""Maximum number of violations of one kind that are listed."""


class ManyRuns:
    """``size``: runs of a batch."""

    def __init__(self, clients: Workload, witness: Witness, size: int) -> None:
        self.acknowledged: dict[str, str] = {}
        """Run id -> the label that its output must have."""
        self._open: set[str] = set()
        """Those whose end the log has not shown yet."""
        self._clients, self._witness, self._size = clients, witness, size
        self._stopping = asyncio.Event()
        self._labels = 0

    @property
    def open(self) -> int:
        """Runs of batches whose end was not seen yet, as of the last look."""
        return len(self._open)

    @asynccontextmanager
    async def going(self, width: int) -> AsyncIterator[None]:
        """``width`` batches at once, while the block runs; afterwards the last ones are acknowledged."""
        tasks = [asyncio.create_task(self._repeat()) for _ in range(width)]
        try:
            yield
        finally:
            self._stopping.set()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

    async def _repeat(self) -> None:
        client = self._clients.client("batch")
        while not self._stopping.is_set():
            labels = [f"b{self._labels + n}" for n in range(self._size)]
            self._labels += self._size
            body = [
                {"assistant_id": GRAPH, "input": {"label": label}, "metadata": {"batch": label}, "durability": "exit"}
                for label in labels
            ]

            def made(answer: Answer) -> tuple[tuple[str, str], ...]:
                assert answer.status == 200, answer
                return tuple((run["run_id"], run["metadata"]["batch"]) for run in answer.body)

            known = await client.call("batch:", "look", None, ("POST", "/runs/batch", body), made)
            assert isinstance(known, tuple)
            self.acknowledged.update(known)
            self._open.update(run_id for run_id, _ in known)
            await self._room()

    async def _room(self) -> None:
        """Wait until few enough runs are open, or the load is to stop: what is stuck then is found at the end."""

        def few() -> bool:
            self._open.difference_update([run_id for run_id in self._open if run_id in self._witness.finals])
            return len(self._open) <= OPEN_MAX

        waits = [asyncio.create_task(self._witness.until(few, None)), asyncio.create_task(self._stopping.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def violations(self) -> list[str]:
        """Return differences of the log from what was acknowledged; `chaos.ended_once` has those of ends."""
        witness, found = self._witness, []
        created = Counter(run_id for runs in witness.order.values() for run_id in runs)
        for run_id, label in self.acknowledged.items():
            if created[run_id] != 1:
                found.append(f"run {run_id}, which was acknowledged, was created {created[run_id]} times")
            for end in witness.finals.get(run_id, []):
                if isinstance(end, events.RunSucceeded) and end.values:
                    output = msgspec.json.decode(end.values)
                    if output != {"label": label, "seen": label}:
                        found.append(f"run {run_id} of {label} ended with the output {output}")
        return found[:SHOWN]
