"""The clients of a world: they make runs, follow, cancel and delete them, come back when their connection breaks, and repeat what they do
not know the outcome of, if they have an ``Idempotency-Key`` for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_backbone.time.clock import iso, now
from langlog_gateway.http.errors import ApiError
from langlog_schemas import commands as cmd
from langlog_schemas.frames import attempt_in
from langlog_schemas.messages import Reply
from msgspec import Raw

from .gateway import GatewayService
from .loop import Node, within
from .plan import OPS_S, Op, Plan
from .stand_ins.graphs import GRAPH

if TYPE_CHECKING:
    from .world import World

ASSISTANT = "a0000000-0000-4000-8000-000000000001"
CRON = "c0000000-0000-4000-8000-000000000001"
CRON_LIVES_S = OPS_S + 8.0
PAUSE_S = 0.4
TRIES = 200
Work = Callable[[GatewayService], Awaitable[Any]]


class Broken(Exception):
    """The connection to the gateway ended, or there is no gateway."""


class Refused(Exception):
    """The request was refused, and nothing changed."""


class Unknown(Exception):
    """Whether the request was carried out is not known, and it cannot be repeated."""


class StreamReader:
    """The events that a client has received of a run, over all of its connections. ``whole``: from the run's first event on."""

    def __init__(self, run_id: str, violate: Callable[[str], None], *, whole: bool) -> None:
        self.run_id, self.whole = run_id, whole
        self.ids: list[tuple[int, int]] = []
        self.missing = False
        self.refused = False
        self._violate = violate
        self._rest = b""

    @property
    def last_id(self) -> str:
        return f"{self.ids[-1][0]}-{self.ids[-1][1]}" if self.ids else ("-1" if self.whole else "")

    def connected(self, *, anew: bool = False) -> None:
        """``anew``: by a request that goes on from nowhere, and gets everything again."""
        self._rest = b""
        if anew:
            self.ids.clear()

    def write(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b":"):
                    self.missing = self.missing or b"missing" in line
                elif line.startswith(b"id: "):
                    ms, _, n = line[4:].partition(b"-")
                    id = int(ms), int(n)
                    if self.ids and _order(id) <= _order(self.ids[-1]):
                        self._violate(f"the stream of {self.run_id} has {id} after {self.ids[-1]}")
                    self.ids.append(id)
                elif line.startswith(b"event: error") and b"HTTPException" in event:
                    self.refused = True


class Clients:
    def __init__(self, world: World, plan: Plan) -> None:
        self._world, self._plan = world, plan
        self._draw = random.Random(plan.seed * 7 + 5)
        self._pending: dict[asyncio.Future[Any], Node] = {}
        self._left: dict[str, None] = {}
        self.acknowledged: dict[str, cmd.Body] = {}
        """Id of a command whose outcome was received -> the command."""
        self.repeated: set[str] = set()
        """Ids among them that were sent with an Idempotency-Key."""
        self.made: dict[str, Op] = {}
        """Runs whose creation was acknowledged."""
        self.threads: dict[str, str] = {}
        """Run -> its thread."""
        self.plans: dict[str, list[str]] = {}
        self.cron: str | None = None

    # a request

    async def request(self, work: Work) -> Any:
        """Raises ApiError and Broken."""
        world, loop = self._world, self._world.loop
        up = [process for process in world.processes.values() if process.gateway is not None and process.up]
        if not up:
            raise Broken("no gateway")
        process = up[self._draw.randrange(len(up))]
        node, gateway = process.node, process.gateway
        assert gateway is not None
        answer: asyncio.Future[Any] = loop.create_future()
        self._pending[answer] = node

        def begin() -> None:
            if answer.done():
                return
            task = loop.create_task(_coroutine(work(gateway)), context=within(node))
            world.graves.append(task)
            task.add_done_callback(partial(_answered, answer), context=world.own_context)

        loop.call_later(0.001 + 0.002 * self._draw.random(), begin, context=world.own_context)
        try:
            return await answer
        finally:
            self._pending.pop(answer, None)

    def gateway_died(self, node: Node) -> None:
        for answer, of in list(self._pending.items()):
            if of is node and not answer.done():
                answer.set_exception(Broken("the gateway is gone"))

    async def until_known(self, work: Work, *, key: bool) -> Any:
        """Repeats what may be repeated. Raises Refused and Unknown."""
        sent = False
        for _ in range(TRIES):
            try:
                return await self.request(work)
            except Broken as error:
                if not key and str(error) != "no gateway":
                    raise Unknown from error
                sent = sent or str(error) != "no gateway"
            except ConnectionResetError as error:
                if not key:
                    raise Unknown from error
            except ApiError as error:
                if error.status < 500:
                    raise Refused(f"{error.status} {error.detail}") from error
                if error.status == 504 and not key:
                    raise Unknown from error
            await asyncio.sleep(PAUSE_S * (0.5 + self._draw.random()))
        raise Unknown("no answer after so many tries")

    # what clients do

    async def prepare(self) -> None:
        command = cmd.CreateAssistant(assistant_id=ASSISTANT, graph_id=GRAPH, if_exists="do_nothing")
        await self.until_known(lambda gateway: gateway.execute(command, "assistant"), key=True)

    def begin(self, began: float) -> None:
        for op in self._plan.ops:
            self._left[f"{op.what} {op.number}"] = None
            self._world.loop.call_at(began + op.at, self._start, op, context=self._world.own_context)

    def _start(self, op: Op) -> None:
        self._world.spawn(self._do(op))

    def unfinished(self) -> str:
        return ", ".join(self._left)

    async def _do(self, op: Op) -> None:
        try:
            await getattr(self, f"_{op.what}")(op)
        except Refused as error:
            self._world.marks["world.refused"] += 1
            self._world.ledger.note(f"{op.number} {error}")
        except Unknown:
            self._world.marks["world.unknown_outcome"] += 1
        finally:
            self._left.pop(f"{op.what} {op.number}", None)

    def _acknowledge(self, command: cmd.Body, key: str | None, reply: Reply) -> None:
        self._world.ledger.note(f"reply {reply.command_id} {reply.type} {reply.status}")
        self.acknowledged[reply.command_id] = command
        if key is not None:
            self.repeated.add(reply.command_id)
        self._world.judge.replied(command, reply)

    async def _run(self, op: Op) -> None:
        o = op.options
        run_id, thread_id = f"r{op.number}", f"tmp{op.number}" if o["temporary"] else f"t{op.thread}"
        kwargs: dict[str, Any] = {
            "input": {"plan": o["plan"]},
            "config": {"configurable": {}},
            "stream_mode": ["values", "custom"],
        }
        if o["resumable"]:
            kwargs["resumable"] = True
        if o["webhook"]:
            kwargs["webhook"] = "http://world/hook"
        command = cmd.CreateRun(
            thread_id=thread_id,
            run_id=run_id,
            assistant_id=ASSISTANT,
            graph_id=GRAPH,
            kwargs=Raw(msgspec.json.encode(kwargs)),
            multitask_strategy=o["strategy"],
            if_not_exists="create",
            temporary=o["temporary"],
            not_before=iso(now().fromtimestamp(now().timestamp() + o["delay"], now().tzinfo)) if o["delay"] else None,
        )
        key = f"key {op.number}" if o["key"] else None
        self.plans[run_id] = o["plan"]

        def made(reply: Reply) -> None:
            if run_id not in self.made:
                self.made[run_id], self.threads[run_id] = op, thread_id
                self._acknowledge(command, key, reply)

        if o["follow"] == "stream":
            await self._streamed(command, key, made, resumable=o["resumable"])
            return
        made(await self.until_known(lambda gateway: gateway.execute(command, key), key=key is not None))
        if o["follow"] == "wait":
            await self._waited(thread_id, run_id)

    async def _waited(self, thread_id: str, run_id: str) -> None:
        for _ in range(TRIES):
            try:
                answer = await self.request(lambda gateway: gateway.wait(thread_id, run_id))
            except (Broken, ConnectionResetError):
                await asyncio.sleep(PAUSE_S)
            except ApiError as error:
                if error.status < 500:
                    return
                await asyncio.sleep(PAUSE_S)
            else:
                if b"404" not in answer or not self._world.judge.taken_for_gone(run_id):
                    self._world.judge.waited(run_id, answer)
                    return
                await asyncio.sleep(PAUSE_S)

    async def _streamed(
        self, command: cmd.CreateRun, key: str | None, made: Callable[[Reply], None], *, resumable: bool
    ) -> None:
        reader = StreamReader(command.run_id, self._world.violate, whole=True)

        async def first(gateway: GatewayService) -> None:
            reader.connected(anew=True)
            await gateway.stream(command, key, reader.write, made)

        try:
            await self.until_known(first, key=key is not None and command.run_id not in self.made)
        except Unknown:
            if command.run_id not in self.made:
                raise
            await self._followed(command.thread_id, reader)
        else:
            if self._world.judge.taken_for_gone(command.run_id):
                await self._followed(command.thread_id, reader)
        self._world.judge.streamed(reader, resumable=resumable)

    async def _followed(self, thread_id: str, reader: StreamReader) -> None:
        """Joins until the stream ends by itself."""
        for _ in range(TRIES):
            reader.connected()
            reader.refused = False
            try:
                await self.request(lambda gateway: gateway.join(thread_id, reader.run_id, reader.last_id, reader.write))
            except (Broken, ConnectionResetError):
                self._world.marks["world.reconnected"] += 1
            except ApiError as error:
                if error.status < 500:
                    return
            else:
                if not self._world.judge.taken_for_gone(reader.run_id):
                    return
            await asyncio.sleep(PAUSE_S)
        self._world.violate(f"the stream of {reader.run_id} never ends")

    def _some_run(self, op: Op) -> str | None:
        runs = [run_id for run_id, of in self.made.items() if of.thread == op.thread and not of.options["temporary"]]
        return runs[op.options["of"] % len(runs)] if runs else None

    async def _join(self, op: Op) -> None:
        run_id = self._some_run(op)
        if run_id is not None:
            resumable = self.made[run_id].options["resumable"]
            reader = StreamReader(run_id, self._world.violate, whole=True)
            await self._followed(self.threads[run_id], reader)
            self._world.judge.streamed(reader, resumable=resumable)

    async def _cancel(self, op: Op) -> None:
        run_id = self._some_run(op)
        if run_id is not None:
            action = op.options["action"]
            await self._send(cmd.CancelRuns(thread_id=self.threads[run_id], run_ids=[run_id], action=action), None)

    async def _delete_run(self, op: Op) -> None:
        run_id = self._some_run(op)
        if run_id is not None:
            await self._send(cmd.DeleteRun(thread_id=self.threads[run_id], run_id=run_id), None)

    async def _delete_thread(self, op: Op) -> None:
        await self._send(cmd.DeleteThread(thread_id=f"t{op.thread}"), None)

    async def _patch(self, op: Op) -> None:
        command = cmd.PatchThread(thread_id=f"t{op.thread}", metadata={"n": op.number})
        await self._send(command, f"key {op.number}" if op.options["key"] else None)

    async def _cron(self, op: Op) -> None:
        command = cmd.CreateCron(
            cron_id=CRON,
            assistant_id=ASSISTANT,
            schedule="* * * * * */4",
            payload={"assistant_id": ASSISTANT, "input": {"plan": ["step", "step"]}},
            on_run_completed="keep" if op.options["stateless"] else None,
        )
        await self._send(command, "cron")
        self.cron = CRON
        await asyncio.sleep(CRON_LIVES_S)
        await self._send(cmd.DeleteCron(cron_id=CRON), "end of cron")

    async def _send(self, command: cmd.Body, key: str | None) -> None:
        reply = await self.until_known(lambda gateway: gateway.execute(command, key), key=key is not None)
        self._acknowledge(command, key, reply)


def _order(id: tuple[int, int]) -> tuple[int, int, int]:
    """Ids grow along an attempt: a worker that was taken for lost may publish after the next one has begun."""
    ms, n = id
    return (attempt_in(n), ms, n)


async def _coroutine(work: Awaitable[Any]) -> Any:
    return await work


def _answered(answer: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
    if answer.done():
        return
    if task.cancelled():
        answer.set_exception(Broken("the gateway stopped"))
    elif (error := task.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())
