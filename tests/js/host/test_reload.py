"""``langlog dev`` takes up a change of a graph in TypeScript, and keeps what ran where the change does not load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from langgraph_sdk import get_client

from tests.js.host import stack
from tests.stack.server import Process, free_port
from tests.stack.typescript import rewrite


async def test_a_changed_graph_is_taken_up(host_program: Path, tmp_path: Path) -> None:
    project = stack.copied_project(tmp_path / "project")
    text = (project / "src" / "echo.ts").read_text()
    port = free_port()
    arguments = ["dev", "--config", str(project / "langgraph.json"), "--port", str(port)]
    dev = Process("dev", [*arguments, "--data-dir", str(tmp_path / "data")], tmp_path, {"LANGLOG_WORKERS": "1"})
    await asyncio.to_thread(dev.start)
    try:
        async with get_client(url=f"http://127.0.0.1:{port}") as client:
            rewrite(project, "src/echo.ts", text.replace('Said = "said"', "Said = = 1"))
            failed = await asyncio.to_thread(dev.wait_for, lambda e: e.get("event") == "graphs.reload_failed")
            assert "src/echo.ts, line 5" in failed["error"] and "SyntaxError" in failed["error"]
            assert await client.runs.wait(None, "echo", input={"text": "a"}) == {"text": "a", "seen": ["said a"]}
            rewrite(project, "src/echo.ts", text.replace('Said = "said"', 'Said = "wrote"'))
            await asyncio.to_thread(dev.wait_for, lambda e: e.get("event") == "graphs.reloaded")
            done: Any = await client.runs.wait(None, "echo", input={"text": "a"})
            assert done["seen"] == ["wrote a"]
    finally:
        await asyncio.to_thread(dev.stop)
