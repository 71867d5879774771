"""The processes of a world: langlog's own services on stand-ins for servers, started, stopped and killed as processes are.

Real in each: `run_services` and the services of decider, projector and scheduler with all that they use; the gateway's commands, watches,
streams and waits (`gateway`); the worker's claims, run executions, records, checkpointer, frames, lease and queries. Stand-ins: see
`stand_ins`. What a process' ``main`` does besides (settings, logging, signals, the health port) is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from langlog_backbone.context import Backbone
from langlog_backbone.log import LogUnavailable
from langlog_backbone.postgres.pool import Pool
from langlog_backbone.process.ending import Ending, stop_limit_s
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.service import Service, StartError, run_services
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import UNAVAILABLE_ERRORS
from langlog_backbone.read_model.positions import ReadPositions
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import Bus, RedisPipe
from langlog_backbone.redis.hot_queue import HotQueue
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.checkpoints.serde import json_cipher
from langlog_executor.decider.service import DeciderService
from langlog_executor.queries.server import QueryServer
from langlog_executor.queries.threads import StateQuestion
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.lease import Lease
from langlog_executor.worker.claims import Worker
from langlog_executor.worker.process import caught_up
from langlog_executor.worker.run_execution import RunTools
from langlog_projector.service import ProjectorService
from langlog_scheduler.service import SchedulerService
from redis.exceptions import ConnectionError as RedisConnectionError

from .gateway import GatewayService
from .loop import NODE, Node
from .network import LogLink
from .stand_ins.graphs import StubLoops
from .stand_ins.memory_log import MemoryLog
from .stand_ins.memory_postgres import MemoryPool

if TYPE_CHECKING:
    from .world import World

Kind = Literal["gateway", "decider", "projector", "scheduler", "worker", "dev"]
RESTART_S = 1.0
"""Until a supervisor starts a process again that has ended."""


class QuietEnding(Ending):
    """Signals come from the world."""

    def listen(self) -> None:
        return None


class Process:
    """One process that is started again whenever it ends. ``node``: its present life."""

    def __init__(self, world: World, kind: Kind, number: int) -> None:
        self.world, self.kind, self.name = world, kind, f"{kind}-{number}"
        self.node = Node(self.name)
        self.lives = 0
        self.gateway: GatewayService | None = None
        self.ending: Ending | None = None
        self.worker: WorkerService | None = None
        self.stopped_at: float | None = None
        """When it was told to stop, once."""
        self.stopping = False
        self.wanted = True
        self.up = False
        self._task: asyncio.Task[int] | None = None

    def start(self) -> None:
        if not self.wanted or self._task is not None:
            return
        self.lives += 1
        self.stopping = False
        self.node = Node(self.name)
        self.world.nodes.append(self.node)
        context = self.world.context_of(self.node)
        self._task = self.world.loop.create_task(self._life(), name=self.name, context=context)
        task = self._task
        task.add_done_callback(lambda _: self._ended(task), context=self.world.own_context)

    async def _life(self) -> int:
        self.ending = QuietEnding(stop_limit_s(self.world.settings))
        try:
            async with self._backbone() as backbone:
                return await run_services(self._services(backbone), ending=self.ending, ready=self._ready)
        except (StartError, LogUnavailable, RedisUnavailable, *UNAVAILABLE_ERRORS):
            return 1

    def _ready(self) -> None:
        self.up = True

    def _services(self, backbone: Backbone) -> list[Service]:
        made: dict[str, Callable[[Backbone], Service]] = {
            "decider": DeciderService,
            "projector": ProjectorService,
            "scheduler": SchedulerService,
            "worker": self._worker,
            "gateway": self._gateway,
        }
        names = ["projector", "decider", "scheduler", "gateway"] if self.kind == "dev" else [self.kind]
        return [made[name](backbone) for name in names]

    def _worker(self, backbone: Backbone) -> Service:
        assert self.ending is not None
        self.worker = WorkerService(backbone, self.world, self.ending)
        return self.worker

    def _gateway(self, backbone: Backbone) -> Service:
        self.gateway = GatewayService(backbone)
        return self.gateway

    @contextlib.asynccontextmanager
    async def _backbone(self) -> AsyncIterator[Backbone]:
        """As `langlog_backbone.context.open_backbone`, on stand-ins."""
        world, settings = self.world, self.world.settings
        async with contextlib.AsyncExitStack() as stack:
            positions = ReadPositions()
            pool = Pool(world.postgres_pool(6, positions.advance))  # type: ignore[arg-type]
            stack.push_async_callback(pool.close)
            log = MemoryLog(settings, world.log, LogLink(world.net, NODE.get(), world.net.server("log")))
            await log.start()
            stack.push_async_callback(log.stop)
            pipe = RedisPipe(settings)
            stack.push_async_callback(pipe.stop)
            bus = Bus(pipe, settings, local=self.kind == "dev")
            await bus.start()
            stack.push_async_callback(bus.stop)
            await bus.subscribe(channels.WATERMARK, positions.on_watermark, remote=False)
            queue = HotQueue(pipe, settings)
            stack.push_async_callback(queue.stop)
            yield Backbone(settings, log, pool, pipe, bus, queue, positions)

    def _ended(self, task: asyncio.Task[int]) -> None:
        """Its own end, by a stop or a failure."""
        if task is not self._task:
            return
        self._task, self.up, self.gateway = None, False, None
        self.node.alive = False
        self.world.process_ended(self, task)
        self.worker = self.stopped_at = None
        self.world.later(RESTART_S, self.start)

    def kill(self) -> None:
        """As by SIGKILL: nothing of it ever runs again, and its connections end."""
        if self._task is None:
            return
        self.world.graves.append(self._task)
        self._task, self.up, self.gateway = None, False, None
        self.worker = self.stopped_at = None
        self.node.alive = False
        self.world.node_died(self.node)
        self.world.later(RESTART_S, self.start)

    def stop(self) -> None:
        """As by SIGTERM."""
        if self._task is not None and self.ending is not None:
            self.stopped_at = self.world.loop.time() if self.up and not self.stopping else None
            self.stopping = True  # a second signal means: at once, and leaves all to the lease
            self.ending.on_signal()

    @property
    def running(self) -> bool:
        return self._task is not None


class LoopLease(Lease):
    """Renewed by a task instead of a thread; each renewal is the real one."""

    def __init__(self, world: World, node: Node, **options: Any) -> None:
        self._world, self._node = world, node
        super().__init__(world.settings, **options)
        self._woken = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    def _connect(self) -> Any:
        return _SyncRedis(self._world, self._node)

    async def begin(self) -> None:
        self._renewing = asyncio.create_task(self._renew_all())
        while not self._taken.is_set():
            await asyncio.sleep(0.05)

    async def _renew_all(self) -> None:
        while not self._stopping:
            pause = self.renew()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            self._woken.clear()

    def hurry(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        if self._renewing is not None:
            self._renewing.cancel()


class _SyncRedis:
    """redis-py's blocking client, as far as the lease uses it."""

    def __init__(self, world: World, node: Node) -> None:
        self._world, self._node = world, node

    def eval(self, script: str, count: int, *arguments: Any) -> Any:
        server = self._world.net.server("redis")
        if server.down or server.silent or self._world.net.is_cut(self._node, server):
            raise RedisConnectionError("connection refused")
        parts = [b"EVAL", script.encode(), b"%d" % count, *(str(argument).encode() for argument in arguments)]
        return self._world.redis.run(None, parts)

    def close(self) -> None:
        return None


class StubQueries(QueryServer):
    """The real server of queries, for the one that is asked in worlds: a thread's state, which has no graph to be asked."""

    def __init__(self, backbone: Backbone, loops: StubLoops, reader: CheckpointReader) -> None:
        self._backbone, self._loops, self._reader = backbone, loops, reader  # type: ignore[assignment]
        self._json = json_cipher(reader.serde)
        self._kinds = {"state": (msgspec.json.Decoder(StateQuestion).decode, self._state)}
        self._before = {"state": self._recorded}
        self._own = {}
        self._hosted = None
        self._under_way = set()

    async def _recorded(self, question: StateQuestion) -> tuple[Any, ...]:
        await self._reader.recorded_so_far(question.thread_id)
        return ()

    async def _state(self, question: StateQuestion) -> bytes:
        stored = await self._reader.checkpoint(question.thread_id, "", None, None)
        if stored is None:
            return b'{"values":{},"checkpoint":null,"next":[],"tasks":[]}'
        kind, data = stored.blobs["steps"]
        values = {"steps": self._reader.serde.loads_typed((kind, data))}
        return msgspec.json.encode({"values": values, "checkpoint": {}, "next": [], "tasks": []})


class WorkerService:
    """As `worker.process` has it, as a service."""

    name = "worker"

    def __init__(self, backbone: Backbone, world: World, ending: Ending) -> None:
        self._backbone, self._world, self._ending = backbone, world, ending
        self.worker: Worker
        self.lease: LoopLease
        self._queries: asyncio.Task[None] | None = None

    async def start(self) -> None:
        io = IoLoop(self._backbone)
        loops, reader = StubLoops(io), CheckpointReader(io)
        self.lease = LoopLease(
            self._world,
            NODE.get(),
            on_lost=lambda _: io.post(lambda: self.worker.lost()),
            on_wiped=lambda held_as: io.post(lambda: self.worker.wiped(held_as)),
        )
        tools = RunTools(io, None, loops, reader, None)  # type: ignore[arg-type]
        self.worker = Worker(self._backbone, tools, self.lease)
        await caught_up(self._backbone, self._ending)
        await self.lease.begin()
        self._queries = asyncio.create_task(StubQueries(self._backbone, loops, reader).serve(), name="queries")
        await self.worker.start()

    async def serve(self) -> None:
        assert self._queries is not None
        await asyncio.wait([self._queries, self.worker.failed], return_when=asyncio.FIRST_COMPLETED)
        if self.worker.failed.done():
            self.worker.failed.result()
        self._queries.result()

    async def drain(self) -> None:
        await self.worker.drain()

    async def stop(self) -> None:
        if self._queries is not None:
            self._queries.cancel()
            await asyncio.gather(self._queries, return_exceptions=True)
        self.lease.stop()

    async def not_ready(self) -> str | None:
        return None


def pool_of(world: World, settings: Settings, size: int | None, opened: Any) -> MemoryPool:
    return world.postgres_pool(size or 6, opened)
