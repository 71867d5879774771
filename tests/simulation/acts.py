"""The last acts of a world, once all else is over: one thing happens at a time, so that nothing else excuses what is late, left or lost.

Faults that meet by chance (`plan`) find what nobody thought of; an act brings about one situation that a rule is there for, and each has
a limit of virtual seconds that a world without further faults keeps. A world plays those that its plan names.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_backbone.log import DECIDERS
from langlog_projector.service import GROUP as PROJECTORS
from langlog_schemas import commands as cmd
from msgspec import Raw

from .clients import ASSISTANT
from .stand_ins.graphs import GRAPH

if TYPE_CHECKING:
    from .processes import Process
    from .world import World

LOOK_S = 0.1
SETTLES_WITHIN_S = 60.0
"""All that is under way ends within this when nothing fails: leases run out first, and attempts follow on each other."""
STOPPED_WITHIN_S = 15.0
"""A worker has left within this, whatever it executes (twice the time for draining, and a step that blocks)."""
CANCELLED_WITHIN_S = 5.0
FOLDED_AGAIN_WITHIN_S = 30.0
UNFOLDED_S = 2.0
"""In which a decider asks Postgres again, and no projector folds: less than a session."""
UNHEARD_S = 8.0
"""Longer than a lease, and shorter than the run that goes on meanwhile."""
LONG_RUN = ["step", *["sleep:1.5"] * 7]


class Acts:
    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = random.Random(world.plan.seed * 7 + 6)
        self._number = 0

    async def play(self) -> None:
        for name in self._world.plan.acts:
            self._world.ledger.note(f"act {name}")
            await getattr(self, f"_{name}")()
            await self._until(lambda: not self._world.judge.unfinished(), SETTLES_WITHIN_S, f"{name}: not over")
            if self._world.over:
                return

    # acts

    async def _workers_stop(self) -> None:
        """While one run is under way and another waits; cancels reach a run that a worker has, and one that none has."""
        ledger, workers = self._world.ledger, self._of("worker")
        lost = self._world.marks["lease.lost"]
        cancelled, moved = await self._run(["sleep:40"]), await self._run(["sleep:2.5", "step"])
        await self._until(lambda: {cancelled, moved} <= ledger.begun, SETTLES_WITHIN_S, "a run is not begun")
        await self._cancel(cancelled, "while a worker has it", lost)
        for process in workers:
            process.wanted = False
            process.stop()
        await self._until(lambda: not any(p.running for p in workers), STOPPED_WITHIN_S, "a worker does not stop")
        waiting = await self._run(["step"])
        await self._cancel(waiting, "while no worker has it", self._world.marks["lease.lost"])
        for process in workers:
            process.wanted = True
            process.start()

    async def _commits_lost(self) -> None:
        """Postgres loses its last commits when nothing is written any more that would bring it to light."""
        world = self._world
        world.ledger.checks["lost commits are folded again"] += 1
        world.postgres.end_sessions()
        world.judge.lost(world.postgres.lose_commits(self._draw.randint(1, 8)))
        limit = FOLDED_AGAIN_WITHIN_S
        await self._until(lambda: not world.judge.unfinished(), limit, "lost commits are not folded again")

    async def _commits_lost_unheard(self) -> None:
        """Postgres loses commits of which a decider has read, and no message: of what is notified, all is there."""
        world, deciders, projectors = self._world, self._of("decider"), self._of("projector")
        if not deciders:
            return
        for process in deciders:
            world.net.cut.add((process.name, "redis"))
        for number in range(4):
            await self._patch(number)
        assigned = world.marks["decider.assigned"]
        await self._evict(DECIDERS)
        late = "no decider has taken over"
        await self._until(lambda: world.marks["decider.assigned"] > assigned, SETTLES_WITHIN_S, late)
        for process in projectors:
            process.node.paused = True
        world.postgres.end_sessions()
        world.judge.lost(world.postgres.lose_commits(4))
        decided = world.spawn(self._patch(0))
        await asyncio.sleep(UNFOLDED_S)
        for process in projectors:
            process.node.paused = False
        await decided
        for process in deciders:
            world.net.join_again((process.name, "redis"))

    async def _deciders_die(self) -> None:
        """Soon after they have decided: their positions are not committed yet."""
        for _ in range(3):
            await self._patch(0)
        for process in self._of("decider", "dev"):
            process.kill()
        await self._patch(0)

    async def _worker_unheard(self) -> None:
        """Redis, and so the scheduler, no longer hears of a worker, which goes on with its run and writes to the log."""
        world = self._world
        run_id = await self._run(LONG_RUN)
        await self._until(lambda: run_id in world.ledger.begun, SETTLES_WITHIN_S, "a run is not begun")
        for process in self._of("worker"):
            world.net.cut.add((process.name, "redis"))
        world.troubled_until = world.loop.time() + UNHEARD_S
        await asyncio.sleep(UNHEARD_S)
        for process in self._of("worker"):
            world.net.join_again((process.name, "redis"))

    async def _two_deciders(self) -> None:
        """One is out of its group and goes on for a while, beside the one that has its partitions now."""
        late = await self._evict(DECIDERS)
        made = [self._world.spawn(self._run(["step"], after=self._draw.uniform(0.0, late))) for _ in range(5)]
        made += [self._world.spawn(self._patch(n, after=self._draw.uniform(0.0, late))) for n in range(3)]
        await asyncio.gather(*made)

    async def _two_projectors(self) -> None:
        late = await self._evict(PROJECTORS)
        made = [self._world.spawn(self._patch(n % 3, after=self._draw.uniform(0.0, late))) for n in range(8)]
        await asyncio.gather(*made)

    # what they are made of

    def _of(self, *kinds: str) -> list[Process]:
        return [process for process in self._world.processes.values() if process.kind in kinds]

    async def _evict(self, group: str) -> float:
        late, members = self._draw.choice((1.0, 2.0)), self._world.log.groups[group].members
        if members:
            self._world.log.evict(group, self._draw.choice(list(members)), late_s=late)
        await asyncio.sleep(0.05)
        return late

    async def _run(self, plan: list[str], after: float = 0.0) -> str:
        await asyncio.sleep(after)
        self._number += 1
        run_id = thread_id = f"act{self._number}"
        kwargs: Any = {"input": {"plan": plan}, "config": {"configurable": {}}, "stream_mode": ["values"]}
        command = cmd.CreateRun(
            thread_id=thread_id,
            run_id=run_id,
            assistant_id=ASSISTANT,
            graph_id=GRAPH,
            kwargs=Raw(msgspec.json.encode(kwargs)),
            if_not_exists="create",
        )
        await self._send(command)
        return run_id

    async def _patch(self, number: int, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        thread_id = f"act-thread{number}"
        self._number += 1
        await self._send(cmd.CreateThread(thread_id=thread_id, if_exists="do_nothing"))
        await self._send(cmd.PatchThread(thread_id=thread_id, metadata={"n": self._number}))

    async def _cancel(self, run_id: str, when: str, lost: int) -> None:
        """``lost``: number of leases that were lost before the run was created."""
        self._world.ledger.checks["a cancelled run ends in time"] += 1
        await self._send(cmd.CancelRuns(thread_id=run_id, run_ids=[run_id], action="interrupt"))
        late = f"{run_id} was cancelled {when}, and is not over"
        ended, marks = self._world.ledger.ended, self._world.marks
        await self._until(lambda: run_id in ended or marks["lease.lost"] > lost, CANCELLED_WITHIN_S, late)
        # a worker that had not renewed its lease since the last fault loses its runs yet, also before the cancel: they are taken up again
        await self._until(lambda: run_id in ended, SETTLES_WITHIN_S, late)

    async def _send(self, command: cmd.Body) -> None:
        self._number += 1
        key = f"act {self._number}"
        await self._world.clients.until_known(lambda gateway: gateway.execute(command, key), key=True)

    async def _until(self, holds: Callable[[], bool], limit_s: float, late: str) -> None:
        """The world's end ends the wait, too."""
        loop, world = self._world.loop, self._world
        until = loop.time() + limit_s
        while not holds() and not world.over:
            if loop.time() > until:
                world.violate(f"{late} after {limit_s:g} s without further faults: {world.judge.unfinished()}")
            await asyncio.sleep(LOOK_S)


def left_behind(world: World, process: Process) -> str:
    """Return the leftovers in Redis of a worker that has stopped; empty: none, as it must be when all could be reached meanwhile."""
    service = process.worker
    if service is None or process.stopped_at is None or world.troubled_until >= process.stopped_at:
        return ""
    world.ledger.checks["a worker leaves nothing behind"] += 1
    worker, prefix = service.lease.worker, world.settings.redis_prefix
    held = world.redis.lists.get(f"{prefix}held:{worker}".encode(), [])
    if held:
        return f"{process.name} has stopped, and holds {held}"
    if worker.encode() in world.redis.sorted.get(f"{prefix}leases".encode(), {}):
        return f"{process.name} has stopped, and has a lease"
    return ""
