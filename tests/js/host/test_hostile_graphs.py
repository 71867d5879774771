"""Graphs that throw, print, return and stream what nobody expects: each run ends with a text, and the process goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langlog_executor.graph_host import process as process_module
from langlog_executor.graph_host.jobs import HostLost
from langlog_executor.graph_host.process import GraphHost, GraphRefused
from langlog_executor.graph_host.protocol import GraphFile

from tests.js.host.stack import Observed, run, started

LIMIT_S = 120.0
MB = 1_000_000

GRAPH = """
import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ kind: Annotation<string>, count: Annotation<number>, out: Annotation<any> });
const trap = () => { throw new Error("a trap"); };
const evil = () => new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap });
const member = (name: string) => Object.defineProperty(new Error("said"), name, { get: trap });
const uninspectable = () => ({ [Symbol.for("nodejs.util.inspect.custom")]: trap });
const turn = () => new Promise((resolve) => setImmediate(resolve));

const kinds: Record<string, (state: any, config: any) => any> = {
  text: () => { throw "a text"; },
  nothing: () => { throw null; },
  proxy: () => { throw evil(); },
  untextual: () => { throw { toString: trap }; },
  name: () => { throw member("name"); },
  message: () => { throw member("message"); },
  stack: () => { throw member("stack"); },
  loop: () => { const error: any = new Error("said"); error.cause = error; throw error; },
  huge: () => { throw new Error("e".repeat(5_000_000)); },
  exit: () => process.exit(3),
  prints: () => { console.log(uninspectable(), evil()); return { out: "ok" }; },
  unhandled: async () => {
    Promise.reject(uninspectable());
    Promise.reject(member("stack"));
    setTimeout(() => { throw uninspectable(); }, 0);
    setTimeout(() => process.exit(1), 0);
    for (let at = 0; at < 5; at++) await new Promise((resolve) => setTimeout(resolve, 1));
    return { out: "ok" };
  },
  circular: () => { const value: any = { a: 1 }; value.self = value; return { out: value }; },
  values: () => ({ out: [10n, new Date(0), new Map([["a", 1]]), new Set([1]), new Uint8Array([1, 2, 3]), NaN, undefined] }),
  missing: () => ({ out: undefined }),
  function: () => ({ out: () => 1 }),
  symbol: () => ({ out: Symbol("s") }),
  proxied: () => ({ out: evil() }),
  deep: () => { let value: any = {}; for (let at = 0; at < 50_000; at++) value = { value }; return { out: value }; },
  tojson: () => ({ out: { toJSON: trap } }),
  burst: (state, config) => { for (let at = 0; at < state.count; at++) config.writer("c".repeat(1_000_000)); return { out: "ok" }; },
  steady: async (state, config) => { for (let at = 0; at < state.count; at++) { config.writer("c".repeat(1_000_000)); await turn(); } return { out: "ok" }; },
  output: async (state, config) => {
    config.writer("begun");
    for (let at = 0; at < state.count; at++) console.log("y".repeat(20_000));
    return { out: process.memoryUsage().rss };
  },
  held: (state, config) => { config.writer("begun"); return turn().then(() => { for (;;); }); },
  list: () => { const list: number[] = []; list[4_000_000_000] = 1; return { out: { list } }; },
  leaks: async (state, config) => {
    const held: Buffer[] = [];
    for (;;) { held.push(Buffer.alloc(10_000_000, 1)); await turn(); }
  },
  asks: () => ({ out: interrupt({ big: 10n }) }),
};

export const graph = new StateGraph(State)
  .addNode("work", (state: any, config: any) => kinds[state.kind]!(state, config))
  .addEdge(START, "work")
  .addEdge("work", END)
  .compile();
"""


def files(folder: Path) -> list[GraphFile]:
    return [GraphFile("hostile", str(folder / "src" / "hostile.ts"), "graph")]


@pytest.fixture(scope="module")
def hostile_project(host_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.js.host import stack

    folder = stack.with_packages(tmp_path_factory.mktemp("hostile") / "project")
    (folder / "src").mkdir()
    (folder / "src" / "hostile.ts").write_text(GRAPH)
    return folder


@pytest.fixture
async def host(hostile_project: Path) -> AsyncIterator[GraphHost]:
    async with started(hostile_project, files(hostile_project), memory_mb=1024) as running:
        yield running


async def ended(host: GraphHost, kind: str, count: int = 0, **changes: Any) -> tuple[dict[str, Any], Observed]:
    job, observed = await run(host, "hostile", {"kind": kind, "count": count}, **changes)
    async with asyncio.timeout(LIMIT_S):
        return await job.done, observed


async def test_whatever_a_node_throws_ends_its_run_with_a_text(host: GraphHost) -> None:
    pid = host.pid
    said = {}
    for kind in (
        "text",
        "nothing",
        "proxy",
        "untextual",
        "name",
        "message",
        "stack",
        "loop",
        "huge",
        "exit",
        "deep",
        "proxied",
    ):
        result, _ = await ended(host, kind)
        assert result["how"] == "failed", (kind, result)
        said[kind] = result["error"]
    assert all(error["error"] and isinstance(error["message"], str) for error in said.values()), said
    assert said["loop"]["message"] == said["stack"]["message"] == "said"
    assert len(said["huge"]["message"]) < 200_000 and len(said["huge"]["stack"]) < 200_000
    assert said["exit"]["error"] == "ProcessExit" and "process.exit(3)" in said["exit"]["message"]
    assert (host.pid, host.starts) == (pid, 1)


async def test_what_nobody_waits_for_ends_no_run_and_no_process(host: GraphHost) -> None:
    pid = host.pid
    for kind in ("prints", "unhandled"):
        result, observed = await ended(host, kind)
        assert result["how"] == "done", (kind, result)
        assert observed.frames("values")[-1]["out"] == "ok"
    assert (host.pid, host.starts) == (pid, 1)


async def test_values_of_every_kind_are_shown(host: GraphHost) -> None:
    result, observed = await ended(host, "values")
    assert result["how"] == "done"
    assert observed.frames("values")[-1]["out"] == [10, "1970-01-01T00:00:00.000Z", {"a": 1}, [1], "AQID", None, None]
    for kind in ("circular", "tojson", "missing"):
        result, _ = await ended(host, kind)
        assert result["how"] == "done", (kind, result)


@pytest.mark.parametrize("kind", ["function", "symbol"])
async def test_a_value_without_json_fails_its_run_before_it_makes_the_state_unreadable(
    host: GraphHost, kind: str
) -> None:
    result, observed = await ended(host, kind)
    assert result["how"] == "failed"
    assert f"'out' of the state is a {kind}" in result["error"]["message"]
    blobs = [blob for name, args in observed.calls if name == "put" for blob in args[8]]
    assert all(blob[3] for blob in blobs)


@pytest.mark.parametrize("kind", ["burst", "steady"])
async def test_a_stream_that_is_larger_than_a_message_arrives_whole(host: GraphHost, kind: str) -> None:
    result, observed = await ended(host, kind, 300, modes=["custom"])
    assert result["how"] == "done", result
    assert len(observed.frames("custom")) == 300
    assert max(sum(len(part) for part in item if isinstance(part, bytes)) for item in observed.items) < 2 * MB


async def test_a_stream_that_is_held_waits_and_loses_nothing(host: GraphHost) -> None:
    job, observed = await run(host, "hostile", {"kind": "steady", "count": 100}, modes=["custom"])
    job.hold(on=True)
    for _ in range(2):  # messages keep their order, and what had gathered before leaves within a turn
        assert await host.answers(LIMIT_S)
    count = len(observed.items)
    for _ in range(20):
        assert await host.answers(LIMIT_S)
    assert (len(observed.items), job.done.done()) == (count, False)
    job.hold(on=False)
    async with asyncio.timeout(LIMIT_S):
        assert (await job.done)["how"] == "done"
    assert len(observed.frames("custom")) == 100


async def test_a_run_whose_stream_is_held_can_be_cancelled(host: GraphHost) -> None:
    job, _ = await run(host, "hostile", {"kind": "steady", "count": 100}, modes=["custom"])
    job.hold(on=True)
    job.stop("cancel")
    async with asyncio.timeout(LIMIT_S):
        assert (await job.done)["how"] == "cancelled"


async def test_a_list_of_billions_of_holes_fails_its_run_at_once(host: GraphHost) -> None:
    result, _ = await ended(host, "list")
    assert (result["how"], result["error"]["error"]) == ("failed", "RangeError")
    assert "'out' of the state has a list of 4000000001 elements" in result["error"]["message"]


async def test_a_graph_that_prints_and_never_yields_fills_no_memory(host: GraphHost) -> None:
    await ended(host, "prints")
    result, observed = await ended(host, "output", 20_000)  # 400 MB
    assert result["how"] == "done"
    assert observed.frames("values")[-1]["out"] < 600 * MB


async def test_a_process_that_a_run_which_is_over_holds_is_replaced(
    host: GraphHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PING_EVERY_S", 0.2)
    async with asyncio.timeout(LIMIT_S):
        job, _ = await run(host, "hostile", {"kind": "held"})
        while not host.blocked:
            await host.answers()
        job.drop()
        while host.starts < 2:
            await asyncio.sleep(0.1)  # nothing signals a start
    result, _ = await ended(host, "prints")
    assert result["how"] == "done"


async def test_a_process_that_takes_too_much_memory_beside_its_heap_is_ended(
    hostile_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PING_EVERY_S", 0.2)
    async with started(hostile_project, files(hostile_project), memory_mb=128) as host:
        job, _ = await run(host, "hostile", {"kind": "leaks"})
        with pytest.raises(HostLost):
            async with asyncio.timeout(LIMIT_S):
                await job.done
        result, _ = await ended(host, "prints")
        assert result["how"] == "done"


async def test_a_stopped_process_ends_with_its_worker(hostile_project: Path) -> None:
    async with started(hostile_project, files(hostile_project)) as host:
        pid = host.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("process.exit(1);", "process.exit(1) was called"),
        ("throw null;", "null"),
        ("throw { toString() { throw 1; } };", "something that has no text"),
        ("export const graph = ;", "Unexpected"),
        ("import './gone.js'; export const graph = 1;", "gone"),
        ("export const graph = new Proxy({}, { get() { throw new Error('a trap'); } });", "a trap"),
        ("export const graph = Promise.reject(new Error('later'));", "later"),
        ("module.exports = {}; export const graph = null;", "module"),
    ],
)
async def test_a_module_that_does_not_load_says_why(
    write_project: Callable[[dict[str, str]], Path], source: str, said: str
) -> None:
    folder = write_project({"src/hostile.ts": source})
    with pytest.raises(GraphRefused) as refused:
        async with started(folder, files(folder)):
            pass
    assert said in str(refused.value), str(refused.value)
    assert json.dumps(str(refused.value))
