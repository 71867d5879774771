"""One server on each log, with a history, and the command line beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import requests
from langlog_backbone.embedded.servers import EmbeddedPostgres

from tests.e2e.conftest import PROJECT
from tests.stack import command_line
from tests.stack.command_line import TOOL_S, Done
from tests.stack.server import LiveServer, kafka_env

LIVE = "langlog_live"


class Scene:
    def __init__(self, server: LiveServer) -> None:
        self.server = server

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, self.server.url + path, json=body, timeout=TOOL_S)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def lived(self) -> str:
        """A thread with some history."""
        thread: str = self.call("POST", "/threads", {"metadata": {"n": 0}})["thread_id"]
        for n in range(3):
            self.call("PATCH", f"/threads/{thread}", {"metadata": {"n": n}})
        self.call("POST", f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": "hello"}})
        return thread

    def command(self, *words: str) -> list[str]:
        return [*words, "--data-dir", str(self.server.data)]

    def langlog(self, *words: str, **env: str) -> Done:
        return command_line.langlog(self.server, *words, **env)

    async def alongside(self, *words: str) -> Done:
        """The same, while others are served."""
        return await asyncio.to_thread(self.langlog, *words)

    def verified(self) -> None:
        done = self.langlog("verify")
        assert done.code == 0 and "No differences." in done.out, done


@pytest.fixture(scope="package", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    env["LANGLOG_PROJECTION"] = LIVE
    with LiveServer(PROJECT, tmp_path_factory.mktemp(f"rebuild-{request.param}"), env).up() as server:
        result = Scene(server)
        for _ in range(4):
            result.lived()
        yield result


@pytest.fixture
async def postgres_of(scene: Scene) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(EmbeddedPostgres(scene.server.data).uri)
    yield connection
    await connection.close()
