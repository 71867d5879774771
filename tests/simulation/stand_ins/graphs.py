"""Stand-ins for graphs and the threads that they run on: stubs that step, stream, sleep, interrupt, fail and block.

A run's input says its plan, a list of actions. Each action is a step: one checkpoint by langlog's own checkpointer, which holds the list
of all steps that the thread has made so far, and frames. So a step that counts twice, or not at all, is seen in the thread's values.
`StubAttempt` takes the place of `GraphAttempt`, which opens and streams a graph of langgraph; `StubLoops` that of `GraphLoops`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from langlog_backbone.time.clock import now_iso
from langlog_backbone.time.sources import uuid7
from langlog_executor.frames.protocol_events import ProtocolEvents
from langlog_executor.runtime.io_loop import Inbox, IoLoop
from langlog_executor.runtime.loop_thread import Work
from langlog_executor.worker.graph_attempt import TIMED_OUT, USER_INTERRUPT, USER_ROLLBACK, Ended, Stop
from langlog_schemas.commands import RunError
from langlog_schemas.messages import Task

GRAPH = "stub"
BLOCKS_S = 7.0
"""A step that blocks hears of nothing for so long: longer than a worker waits for a graph to stop."""

_encode = msgspec.json.encode


class StubStream:
    """Of `RunStream`, what a run's supervisor uses."""

    def __init__(self) -> None:
        self.values_json: bytes | None = None

    def end(self, status: str, error: str | None) -> None:
        return None


class StubAttempt:
    """Takes what `GraphAttempt` takes, and ends as it does."""

    def __init__(
        self,
        task: Task,
        kwargs: Any,
        graphs: Any,
        checkpointer: Any,
        store: Any,
        settings: Any,
        emit: Callable[[str, bytes], None],
        recorded: Any = None,
        private: Any = None,
        mark: Any = None,
    ) -> None:
        self._task, self._saver, self._emit = task, checkpointer, emit
        self._plan: list[str] = (kwargs.input or {}).get("plan", ["step"])
        self._stop: Stop | None = None
        self.traceparent: str | None = None
        self.protocol = ProtocolEvents(emit, task.graph_id)
        self.stream = StubStream()

    def stop(self, reason: Stop) -> None:
        self._stop = reason

    async def run(self) -> Ended:
        try:
            return await self._run()
        except asyncio.CancelledError:
            if self._stop in ("drain", "drop", None):
                raise
            if self._stop == "rollback":
                return Ended(outcome="rolled_back", output=self.stream.values_json, error=USER_ROLLBACK)
            timed_out = self._stop == "timeout"
            known = self.stream.values_json is not None
            return Ended(
                outcome="timeout" if timed_out else "interrupted",
                values=self.stream.values_json,
                state_known=known or self._task.fresh,
                error=TIMED_OUT if timed_out else USER_INTERRUPT,
            )

    async def _run(self) -> Ended:
        task = self._task
        config: Any = {"configurable": {"thread_id": task.thread_id, "checkpoint_ns": ""}}
        saved = await self._saver.aget_tuple(config)
        steps: list[Any] = []
        version: str | None = None
        if saved is not None:
            config = saved.config
            steps = list(saved.checkpoint["channel_values"].get("steps", ()))
            version = saved.checkpoint["channel_versions"].get("steps")
            self.stream.values_json = _encode({"steps": steps})
        done = sum(1 for run_id, _ in steps if run_id == task.run_id)
        for index in range(done, len(self._plan)):
            action = self._plan[index]
            await self._act(action)
            steps = [*steps, [task.run_id, index]]
            version = self._saver.get_next_version(version, None)
            config = await self._saver.aput(config, _checkpoint(steps, version), {"step": index}, {"steps": version})
            self.stream.values_json = _encode({"steps": steps})
            self._emit("values", _encode({"step": index, "attempt": task.attempt}))
            if action == "fail":
                error = RunError(error="ValueError", message="the plan says so")
                self._emit("error", _encode({"error": error.error, "message": error.message}))
                return Ended(outcome="error", values=self.stream.values_json, error=error)
            if action == "interrupt":
                asked = {"node": [{"id": f"i-{task.run_id}", "value": "?"}]}
                return Ended(values=self.stream.values_json, next=["node"], interrupts=_encode(asked))
            if self._stop == "drain" and index + 1 < len(self._plan):
                return Ended(stopped="drain")
        return Ended(values=self.stream.values_json)

    async def _act(self, action: str) -> None:
        name, _, argument = action.partition(":")
        match name:
            case "sleep":
                await asyncio.sleep(float(argument))
            case "stream":
                for number in range(int(argument)):
                    self._emit("custom", _encode(number))
                    await asyncio.sleep(0.01)
            case "block":
                until = asyncio.get_running_loop().time() + BLOCKS_S
                while (left := until - asyncio.get_running_loop().time()) > 0:
                    try:
                        await asyncio.sleep(left)
                    except asyncio.CancelledError:
                        continue
            case _:
                await asyncio.sleep(0)


def _checkpoint(steps: list[Any], version: str) -> Any:
    return {
        "v": 4,
        "id": uuid7(),
        "ts": now_iso(),
        "channel_values": {"steps": steps},
        "channel_versions": {"steps": version},
        "versions_seen": {},
        "updated_channels": ["steps"],
    }


class _OneLoop:
    """Of `GraphLoop`, what `Work` uses: the loop that everything runs on."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.inbox = Inbox(self.loop)
        self.work: set[Any] = set()
        self.discard = self.work.discard


class StubLoops:
    """Of `GraphLoops`, what a worker uses."""

    size = 1
    suspects: frozenset[str] = frozenset()
    held = False

    def __init__(self, io: IoLoop) -> None:
        self._io = io
        self._loop: Any = _OneLoop()
        self.on_held: list[Callable[[], None]] = []

    def submit(self, graph_id: str, start: Callable[[], Coroutine[Any, Any, Any]]) -> Work[Any]:
        work: Work[Any] = Work(graph_id, start, self._io.loop.create_future())
        work.wait_for(self._loop)
        self._loop.work.add(work)
        self._loop.inbox.post(work.run_on, self._loop, self._io, self._loop.discard)
        return work
