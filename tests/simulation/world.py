"""One world: its servers, processes, clients and faults, lived through in virtual time, and judged all along (`run`)."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import langlog_executor.worker.run_execution as run_execution
import langlog_projector.service as projector_service
import langlog_scheduler.webhooks as scheduler_webhooks
import msgspec
import structlog
from langlog_backbone.log import Record
from langlog_backbone.process import service
from langlog_backbone.process.settings import Settings
from langlog_backbone.read_model.watermark import Waiter
from langlog_backbone.time import clock, sources
from langlog_executor.runtime.loop_thread import Work
from langlog_executor.runtime.records import RecordsClosed
from langlog_gateway.streams.watch import Watch
from langlog_schemas import ids

from tests.stack.sources import SteppedClock

from .acts import Acts, left_behind
from .clients import Clients
from .judgement import Judge
from .ledger import Ledger
from .loop import NODE, WORLD, Node, NothingLeft, SimulationLoop, within
from .machine import closed
from .network import Network, Wire
from .plan import FAULTS_S, Fault, Plan
from .processes import Process
from .stand_ins.graphs import StubAttempt
from .stand_ins.log_server import LogServer
from .stand_ins.memory_postgres import MemoryPool, PostgresServer
from .stand_ins.memory_redis import RedisServer
from .stand_ins.receivers import Receiver, StubSender
from .stand_ins.redis_connections import connect
from .stand_ins.statements import statements

ENDS_WITHIN_S = 240.0
"""After the last fault everything that was begun ends within this."""
CHECK_S = 0.5
MOST_STEPS = 3_000_000

HARMLESS = frozenset(
    {
        "service.step_cut_off",
        "query.failed",
    }
)
"""Errors that may be logged under faults."""


class WorldChance:
    """Everything that is drawn, from the seed. Ids of version 7 begin with the world's time."""

    def __init__(self, seed: int, clock_of: SteppedClock) -> None:
        self._draw, self._clock = random.Random(seed), clock_of
        self._count = 0

    def random_bytes(self, size: int) -> bytes:
        return self._draw.randbytes(size)

    def uuid4(self) -> str:
        text = self._draw.randbytes(16).hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"

    def uuid7(self) -> str:
        self._count += 1
        ms, text = f"{self._clock.time_ns() // 1_000_000:012x}", self._draw.randbytes(8).hex()
        return f"{ms[:8]}-{ms[8:]}-7{self._count % 0xFFF:03x}-8{text[1:4]}-{text[4:]}"


class Result(msgspec.Struct):
    seed: int
    violations: list[str]
    digest: str
    virtual_s: float
    steps: int
    marks: dict[str, int]
    faults: dict[str, int]
    checks: dict[str, int]
    records: int = 0
    runs: int = 0


class World:
    def __init__(self, plan: Plan, loop: SimulationLoop) -> None:
        self.plan, self.loop = plan, loop
        self.settings = Settings(
            log_uri="memory://",
            database_uri="memory://",
            redis_uri="unix:///redis.sock",
            project=Path("/nowhere/langgraph.json"),
            partitions=plan.partitions,
            lease_s=4.0,
            sweep_s=2.0,
            group_session_s=4.0,
            append_deadline_s=5.0,
            drain_s=3.0,
            projector_give_up_s=8.0,
            reply_timeout_s=20.0,
            jobs_per_worker=4,
            job_timeout_s=60.0,
            base_url="http://world",
        )
        draw = random.Random(plan.seed * 7 + 1)
        self.net = Network(loop, plan.seed * 7 + 2)
        loop.connect_to = self._connect
        self.log = LogServer(plan.partitions, self.settings.group_session_s)
        seconds = seconds_of(loop.clock)
        self.postgres = PostgresServer(seconds, statements())
        self.redis = RedisServer(seconds)
        self.receiver = Receiver(self, draw)
        self.own_context = within(WORLD)
        self.violations: list[str] = []
        self.marks = Counter[str]()
        self.faults = Counter[str]()
        self.ledger = Ledger(self.violate)
        self.log.on_append.append(self._appended)
        self.redis.on_push.append(self._pushed)
        self.nodes: list[Node] = []
        self.graves: list[Any] = []
        self.processes: dict[str, Process] = {}
        self.clients = Clients(self, plan)
        self.judge = Judge(self)
        self.healed = False
        self.troubled_until = -1.0
        """Until when a server or a process may not answer."""
        self.records = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # what others use

    def violate(self, what: str) -> None:
        if len(self.violations) < 20:
            self.violations.append(f"{self.loop.time():.3f} s: {what}")

    @property
    def over(self) -> bool:
        """Whether there is nothing more to find: something was, from which anything may follow."""
        return bool(self.violations)

    def later(self, seconds: float, act: Callable[[], Any]) -> None:
        self.loop.call_later(seconds, act, context=self.own_context)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work, context=self.own_context)
        self._tasks.add(task)
        task.add_done_callback(self._spawned, context=self.own_context)
        return task

    def _spawned(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.violate(f"the world itself failed: {_trace(error)}")

    def context_of(self, node: Node) -> Context:
        return within(node)

    def postgres_pool(self, size: int, opened: Any) -> MemoryPool:
        return MemoryPool(self.net, NODE.get(), self.postgres, size, opened)

    async def _connect(self, factory: Callable[[], Any]) -> tuple[Any, Any]:
        wire = Wire(self.net, NODE.get(), self.net.server("redis"))
        return await connect(self.net, wire, self.redis, factory)

    def _appended(self, record: Record) -> None:
        self.records += 1
        self.ledger.take(record)

    def _pushed(self, key: bytes, id: bytes) -> None:
        """A task that is put into the queue is nowhere else: an attempt is executed once."""
        prefix = self.settings.redis_prefix.encode()
        if key != prefix + b"queue" or self.ledger.queue_lost:
            return
        self.ledger.checks["a task is in one place"] += 1
        lists = self.redis.lists
        places = [name for name in lists if name == key or name.startswith(prefix + b"held:")]
        times = sum(lists[name].count(id) for name in places)
        if times != 1:
            self.violate(f"task {id.decode()} is {times} times in the queue and with workers")

    def process_ended(self, process: Process, task: asyncio.Task[int]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.violate(f"{process.name} failed: {_trace(error)}")
        self.marks["world.process_ended"] += 1
        if left := left_behind(self, process):
            self.violate(left)
        self.node_died(process.node)

    def node_died(self, node: Node) -> None:
        """Its connections are reset, as the kernel does."""
        self.loop.forget(node)
        for session in list(self.postgres.sessions):
            if session.connection.wire.node is node:
                session.close()
        for connected in list(self.redis.sessions.values()):
            if connected.transport.wire.node is node:
                connected.close()
        self.clients.gateway_died(node)

    # life

    async def live(self) -> None:
        for kind, count in self.plan.processes:
            for number in range(count):
                process = Process(self, kind, number)  # type: ignore[arg-type]
                self.processes[process.name] = process
                process.start()
        await self.clients.prepare()
        began = self.loop.time()
        for fault in self.plan.faults:
            self.loop.call_at(began + fault.at, partial(self._inject, fault), context=self.own_context)
        self.clients.begin(began)
        while self.loop.time() < began + FAULTS_S + 1.0 and not self.over:
            await self._pass()
        self.heal()
        until = self.loop.time() + ENDS_WITHIN_S
        while not self.over and (left := self.clients.unfinished() or self.judge.unfinished()):
            if self.loop.time() > until:
                self.violate(f"not over {ENDS_WITHIN_S:g} s after the last fault: {left}")
                break
            await self._pass()
        if not self.over:
            await Acts(self).play()
        if not self.over:
            await self.judge.at_the_end()

    async def _pass(self) -> None:
        await asyncio.sleep(CHECK_S)
        await self.judge.read_model()
        if self.loop.steps > MOST_STEPS:
            self.violate(f"{MOST_STEPS} steps, and no end")

    # faults

    def _inject(self, fault: Fault) -> None:
        if self.healed:
            return
        self.faults[fault.what] += 1
        self.ledger.note(f"{fault}")
        process = self.processes.get(fault.target)
        redis, postgres, log = (self.net.server(name) for name in ("redis", "postgres", "log"))
        back = partial(self.later, fault.seconds)
        if fault.what not in ("kill", "stop"):
            self.troubled_until = max(self.troubled_until, self.loop.time() + fault.seconds)
        match fault.what:
            case "kill" if process is not None:
                process.kill()
            case "stop" if process is not None:
                process.stop()
            case "pause" if process is not None:
                node = process.node
                node.paused = True
                back(lambda: setattr(node, "paused", False))
            case "redis down" | "redis wiped":
                redis.down = True
                if fault.what == "redis wiped":
                    self.redis.wipe()
                    self.ledger.queue_lost = True
                self.redis.disconnect_all()
                back(lambda: setattr(redis, "down", False))
            case "redis cut":
                self.redis.disconnect_all()
            case "redis silent" | "postgres silent":
                server = self.net.server(fault.what.partition(" ")[0])
                server.silent = True
                back(lambda: self.net.speak_again(server))
            case "postgres down" | "postgres lost":
                postgres.down = True
                self.postgres.end_sessions()
                if fault.what == "postgres lost":
                    lost = self.postgres.lose_commits(fault.amount)
                    self.judge.lost(lost)
                    self.marks["world.commits_lost"] += bool(lost)
                back(lambda: setattr(postgres, "down", False))
            case "postgres cut":
                self.postgres.end_sessions()
            case "log down":
                log.down = True
                back(lambda: setattr(log, "down", False))
            case "log answers lost":
                self.net.drop_reply = 0.3
                back(lambda: setattr(self.net, "drop_reply", 0.0))
            case "log slow":
                log.slow = 60.0
                back(lambda: setattr(log, "slow", 1.0))
            case "evicted":
                members = [
                    (name, number)
                    for name, group in self.log.groups.items()
                    if fault.target not in ("deciders", "projectors") or fault.target[:-1] in name
                    for number in group.members
                ]
                if members:
                    self.log.evict(*members[fault.amount % len(members)], late_s=fault.seconds)
            case "unreachable":
                pair = (fault.target, fault.server)
                self.net.cut.add(pair)
                back(lambda: self.net.join_again(pair))
            case _:
                pass

    def heal(self) -> None:
        self.healed = True
        self.troubled_until = self.loop.time()
        for server in self.net.servers.values():
            server.down, server.slow = False, 1.0
            if server.silent:
                self.net.speak_again(server)
        for pair in sorted(self.net.cut):
            self.net.join_again(pair)
        self.net.drop_reply = 0.0
        self.receiver.well = True
        for node in self.nodes:
            node.paused = False
        for process in self.processes.values():
            process.start()

    def log_event(self, _: Any, level: str, event: dict[str, Any]) -> Any:
        """structlog's processor: what the code says of itself are marks that worlds have reached."""
        name = str(event.get("event"))
        self.marks[name] += 1
        if level in ("error", "critical", "exception") and name not in HARMLESS:
            error = event.get("exc_info")
            if error is True:
                error = sys.exc_info()[1]
            text = _trace(error) if isinstance(error, BaseException) else ""
            members = {k: v for k, v in event.items() if k not in ("event", "exc_info")}
            self.violate(f"{NODE.get().name} logged an error: {name} {members} {text}")
        raise structlog.DropEvent


def seconds_of(world_clock: SteppedClock) -> Callable[[], float]:
    return lambda: world_clock.time_ns() / 1e9


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6000:]


@contextmanager
def _replaced(world_clock: SteppedClock, chance: WorldChance) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(sources.replaced(clock=world_clock, chance=chance))
        for target, name, value in (
            (service, "tune_collector", lambda: None),
            (run_execution, "GraphAttempt", StubAttempt),
            (clock.shared, "offset_ns", None),
            *((kind, "__hash__", lambda _: 1) for kind in (Watch, Waiter, Work)),  # sets of them are walked through
        ):
            stack.enter_context(patch.object(target, name, value))
        ids.default_assistant_id.cache_clear()
        yield


def run(plan: Plan, *, mutation: Callable[[], Any] | None = None) -> Result:
    """Live through a world. ``mutation``: makes a context manager that puts a defect into the code meanwhile."""
    enabled, hook = gc.isenabled(), sys.unraisablehook
    gc.disable()  # what it would end, it would end at moments of its own
    gc.freeze()
    try:
        return _live(plan, mutation)
    finally:
        # processes that were killed, or never stopped, are dropped in the middle of what they did, without a word
        configured = structlog.get_config()
        sys.unraisablehook = lambda _: None
        structlog.configure(processors=[_silent], cache_logger_on_first_use=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            gc.collect()
        structlog.configure(**configured)
        sys.unraisablehook = hook
        gc.unfreeze()
        if enabled:
            gc.enable()


def _live(plan: Plan, mutation: Callable[[], Any] | None) -> Result:
    world_clock = SteppedClock()
    loop = SimulationLoop(world_clock, plan.seed * 7 + 3)
    chance = WorldChance(plan.seed * 7 + 4, world_clock)
    configured = structlog.get_config()
    with ExitStack() as stack:
        stack.enter_context(_replaced(world_clock, chance))
        world = World(plan, loop)

        async def connect_pool(settings: Settings, *, size: int | None = None, opened: Any = None, **_: Any) -> Any:
            return world.postgres_pool(size or 6, opened)

        stack.enter_context(patch.object(projector_service, "connect_pool", connect_pool))
        stack.enter_context(patch.object(scheduler_webhooks, "WebhookSender", partial(StubSender, world.receiver)))
        structlog.configure(processors=[world.log_event], cache_logger_on_first_use=False)
        stack.callback(partial(structlog.configure, **configured))
        loop.set_exception_handler(partial(_unhandled, world))
        if mutation is not None:
            stack.enter_context(mutation())
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("always", "coroutine .* was never awaited", RuntimeWarning)
        warnings.showwarning = lambda warning, *_, **__: world.violate(f"{warning}")
        stack.enter_context(closed(world.violate, seconds_of(world_clock)))
        try:
            loop.run_until_complete(loop.create_task(world.live(), context=world.own_context))
        except NothingLeft:
            world.violate("nothing is left to do, and the world is not over")
        except Exception as error:
            world.violate(f"the world itself failed: {_trace(error)}")
        result = Result(
            seed=plan.seed,
            violations=world.violations,
            digest=world.ledger.digest,
            virtual_s=loop.time(),
            steps=loop.steps,
            marks={**world.marks, "world.repeated_events": world.ledger.repeated},
            faults=dict(world.faults),
            checks=dict(world.ledger.checks + world.judge.checks),
            records=world.records,
            runs=len(world.ledger.created),
        )
        loop.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop._ready.clear()
        loop._scheduled.clear()
        loop.close()
    return result


def _silent(*_: Any) -> Any:
    raise structlog.DropEvent


def _unhandled(world: World, loop: Any, context: dict[str, Any]) -> None:
    error = context.get("exception")
    message = str(context.get("message"))
    # a worker that ends closes its records, and fails those that no code waits for any longer
    if isinstance(error, RecordsClosed) and "never retrieved" in message:
        world.marks["world.unretrieved"] += 1
        return
    world.violate(f"unhandled: {message} {_trace(error) if error is not None else ''}")
