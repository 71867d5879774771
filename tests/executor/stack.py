"""Decider, projector and real worker processes on a project of the test's own, driven by commands as a gateway would."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.log import NewRecord
from langlog_backbone.process.service import Service
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import new_id, now_iso
from langlog_backbone.values.compression import restored
from langlog_executor.decider.service import DeciderService
from langlog_executor.worker.graphs_service import GraphsService
from langlog_executor.worker.pool import WorkerPoolService
from langlog_projector.service import ProjectorService
from langlog_schemas import commands, envelope, frames, messages
from langlog_schemas.frames import Frame
from langlog_schemas.ids import default_assistant_id

GRAPHS = '''
import asyncio, operator, time
from pathlib import Path
from typing import Annotated, TypedDict
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph

HERE = Path(__file__).parent


class State(TypedDict, total=False):
    label: str
    log: Annotated[list[str], operator.add]


def note(state, node):
    """What nodes did, seen from outside; a step that is done twice is there twice."""
    with (HERE / f"{state['label']}.log").open("a") as file:
        file.write(node + "\\n")


async def wait_for(state, name):
    while not (HERE / f"{state['label']}.{name}").exists():
        await asyncio.sleep(0.01)


async def first(state):
    note(state, "first")
    return {"log": ["first"]}


async def second(state):
    note(state, "second")
    get_stream_writer()({"at": "second"})
    await wait_for(state, "go")
    return {"log": ["second"]}


def third(state):
    note(state, "third")
    return {"log": ["third"]}


def chain(*nodes):
    builder = StateGraph(State)
    at = START
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(at, node.__name__)
        at = node.__name__
    return builder.compile()


async def stubborn(state):
    get_stream_writer()({"at": "stubborn"})
    while not (HERE / f"{state['label']}.go").exists():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
    return {"log": ["stubborn"]}


async def again(state):
    note(state, "again")
    get_stream_writer()({"at": "again"})
    await wait_for(state, "on")
    return {"log": ["again"]}


def parting(state):
    raise SystemExit(3)


def widen(state):
    return {"log": [state["label"]] * 3}


wide = chain(widen)
steps = chain(first, second, third)
deaf = chain(first, stubborn)
leaving = chain(first, parting)
twice = chain(first, second, again, third)
'''
PROJECT = {
    "dependencies": ["."],
    "graphs": {name: f"./graphs.py:{name}" for name in ("steps", "deaf", "leaving", "wide", "twice")},
}


LIMIT_S = 60.0
"""Whatever else the machine does."""


class Run(NamedTuple):
    thread_id: str
    run_id: str
    frames: list[Frame]
    custom: asyncio.Event
    """The graph has written to its custom stream: it waits in the middle of a step."""
    started: asyncio.Event
    """The log has the record of its start: frames may come before that."""
    ended: asyncio.Future[tuple[str, dict[str, Any]]]
    """Type and body of the final event."""


def pids(pool: WorkerPoolService) -> list[int]:
    """Return the pids of the live worker processes."""
    return [worker.process.pid for worker in pool._workers if worker.process.returncode is None]


class Stack:
    """Handle on the running parts."""

    def __init__(self, backbone: Backbone, folder: Path) -> None:
        self.backbone = backbone
        self.folder = folder
        self.pool = WorkerPoolService(backbone)
        self._id = new_id()
        self._replies: dict[str, asyncio.Future[messages.Reply]] = {}

    async def listen(self) -> None:
        await self.backbone.bus.subscribe(channels.gateway(self._id), self._on_reply)

    async def send(self, command: commands.Body) -> messages.Reply:
        """Append a command and wait for its outcome in the read model."""
        id = new_id()
        self._replies[id] = asyncio.get_running_loop().create_future()
        await self.append(command, id)
        return await asyncio.wait_for(self._replies[id], LIMIT_S)

    async def append(self, command: commands.Body, id: str = "") -> None:
        headers = envelope.headers(
            id=id or new_id(), type=command.TYPE, source="/test", time=now_iso(), subject=command.key, reply_to=self._id
        )
        await self.backbone.log.append([NewRecord(commands.TOPIC, command.key, commands.encode(command), headers)])

    async def start(self, graph_id: str, thread_id: str = "", **kwargs: Any) -> Run:
        """A run, created and dispatched. ``kwargs`` as in the wire contract (§5); the input's label is the thread's id."""
        fresh, thread_id, run_id = not thread_id, thread_id or new_id(), new_id()
        run = Run(thread_id, run_id, [], asyncio.Event(), asyncio.Event(), asyncio.get_running_loop().create_future())

        def on_frames(data: bytes) -> None:
            batch = frames.decode(restored(data))
            if batch.run_id == run_id:
                run.frames.extend(batch.frames)
                if any(frame.event == "custom" for frame in batch.frames):
                    run.custom.set()

        def on_update(data: bytes) -> None:
            update = messages.decode_lifecycle_update(data)
            body = json.loads(update.body)
            if body.get("run_id") == run_id and update.type == "run.started.v1":
                run.started.set()
            final = update.type not in ("run.started.v1", "run.cancel_requested.v1")
            if body.get("run_id") == run_id and final and not run.ended.done():
                run.ended.set_result((update.type, body))

        await self.backbone.bus.subscribe(channels.frames(thread_id), on_frames)
        await self.backbone.bus.subscribe(channels.lifecycle(thread_id), on_update)
        asked = {"input": {"label": thread_id}, "stream_mode": ["values", "custom"], **kwargs}
        asked["config"] = {"configurable": {"run_id": run_id, "thread_id": thread_id}}
        reply = await self.send(
            commands.CreateRun(
                thread_id=thread_id,
                run_id=run_id,
                assistant_id=default_assistant_id(graph_id),
                graph_id=graph_id,
                kwargs=msgspec.Raw(json.dumps(asked).encode()),
                if_not_exists="create",
                fresh=fresh,
            )
        )
        assert reply.status == 200, reply.detail
        return run

    def go(self, run: Run) -> None:
        """Let the run's waiting node continue."""
        (self.folder / f"{run.thread_id}.go").touch()

    def done(self, run: Run) -> list[str]:
        """Return the executed nodes of the run, in order."""
        return (self.folder / f"{run.thread_id}.log").read_text().split()

    async def end(self, run: Run) -> tuple[str, dict[str, Any]]:
        return await asyncio.wait_for(run.ended, LIMIT_S)

    def _on_reply(self, data: bytes) -> None:
        reply = messages.decode_reply(data[1:])
        future = self._replies.pop(reply.command_id, None)
        if future is not None and not future.done():
            future.set_result(reply)


def write_project(folder: Path, graphs: str = GRAPHS) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "graphs.py").write_text(graphs)
    file = folder / "langgraph.json"
    file.write_text(json.dumps(PROJECT))
    return file


@contextlib.asynccontextmanager
async def running_stack(settings: Settings) -> AsyncIterator[Stack]:
    """The parts at work; ``settings.project`` names the project."""
    async with open_backbone(settings) as backbone:
        stack = Stack(backbone, settings.project.parent)
        services: list[Service] = [
            ProjectorService(backbone),
            stack.pool,
            DeciderService(backbone),
            GraphsService(backbone),
        ]
        tasks: list[asyncio.Task[None]] = []
        try:
            for service in services:
                await service.start()
                tasks.append(asyncio.create_task(service.serve()))
            await stack.listen()
            yield stack
        finally:
            for service in reversed(services):
                await service.drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for service in reversed(services):
                await service.stop()
