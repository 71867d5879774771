"""The floor: the same graph by ``graph.ainvoke`` in a process of its own, with the in-memory saver. No server, nothing kept."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
import uuid
from pathlib import Path

GRAPHS = Path(__file__).parent / "project" / "graphs.py"
WARM_UP = 200
RUNS = 2000


async def measure() -> dict[str, float]:
    """Return the milliseconds of wall clock and of CPU for one run, of sequential runs."""
    from langgraph.checkpoint.memory import InMemorySaver

    spec = importlib.util.spec_from_file_location("graphs", GRAPHS)
    assert spec is not None and spec.loader is not None
    graphs = importlib.util.module_from_spec(spec)
    sys.modules["graphs"] = graphs
    spec.loader.exec_module(graphs)
    graph = graphs.echo
    graph.checkpointer = InMemorySaver()

    async def run() -> None:
        config = {"configurable": {"thread_id": str(uuid.uuid4())}}
        await graph.ainvoke({"text": "hello"}, config)

    for _ in range(WARM_UP):
        await run()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(RUNS):
        await run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_ms": wall * 1000 / RUNS, "cpu_ms": cpu * 1000 / RUNS}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
