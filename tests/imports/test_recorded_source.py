"""A source that is the recorded answers of the reference server: its history comes out the same, task ids included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.imports.conftest import answering, client, history, run_import
from tests.stack.server import LiveServer

CONTRACT = Path(__file__).parents[1] / "contract"
THREAD = "01a1fcbc-d814-7554-8ebc-fde37993bafe"
CASE = "threads.state.update"


def recorded() -> list[dict[str, Any]]:
    """The longest history that was recorded of the thread."""
    lines = [json.loads(line) for line in (CONTRACT / "recordings" / "threads.jsonl").read_text().splitlines()]
    histories: list[list[dict[str, Any]]] = [
        line["response"]["json"]
        for line in lines
        if line["case"] == CASE and line["request"]["path"] == f"/threads/{THREAD}/history"
    ]
    return max(histories, key=len)


@pytest.fixture
def address() -> Iterator[str]:
    """A server of the recording, in a thread of its own."""
    entries = recorded()
    changed = entries[0]["created_at"]
    thread = {
        "thread_id": THREAD, "created_at": entries[-1]["created_at"], "updated_at": changed, "status": "idle",
        "metadata": {"graph_id": "counter"},
    }  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        match request.method, request.path:
            case "POST", "/threads/count":
                return web.json_response(1)
            case "POST", "/threads/search":
                return web.json_response([{"thread_id": THREAD, "updated_at": changed}])
            case "GET", path if path == f"/threads/{THREAD}":
                return web.json_response(thread)
            case "POST", path if path == f"/threads/{THREAD}/history":
                return web.json_response(entries)
            case _:
                return web.json_response({"detail": "Not Found"}, status=404)

    with answering(answer) as url:
        yield url


def test_the_history_of_the_reference_server_comes_out_the_same(address: str, tmp_path: Path) -> None:
    with LiveServer(CONTRACT / "graphs" / "langgraph.json", tmp_path, name="target").up() as target:
        report = run_import(address, target, "--only", "threads")
        assert report["counts"]["threads"] == {"imported": 1, "unchanged": 0, "refused": 0}, report
        assert history(target, THREAD) == recorded()
        run = client(target).runs.wait(THREAD, "counter", input={"by": 2})
        assert run["total"] == (recorded()[0]["values"]["total"] + 2) * 2
