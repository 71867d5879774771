"""A source with all kinds of objects, and a target on a log of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from aiohttp import web
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.stack.command_line import TOOL_S
from tests.stack.server import LiveServer, free_port, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(PROJECT, tmp_path_factory.mktemp("source"), name="source").up(verified=False) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path, log_kind: str, request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """Its read model is verified at the end."""
    env = {"LANGLOG_MAX_RECORD_BYTES": "1000000"}  # so that large checkpoints come in pieces
    env |= kafka_env(request.getfixturevalue("kafka")) if log_kind == "kafka" else {}
    with LiveServer(PROJECT, tmp_path, env, name="target").up() as server:
        yield server


@pytest.fixture(scope="module")
def graphs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("graphs", PROJECT.parent / "graphs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["graphs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(postgres: Any) -> Iterator[str]:
    """An empty database."""
    name = f"saver_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        info = connection.info
        address = f"postgresql://{info.user}:{info.password or 'x'}@/{name}?host={info.host}&port={info.port}"
    yield address


def client(server: LiveServer) -> SyncLangGraphClient:
    return get_sync_client(url=server.url)


def history(server: LiveServer, thread_id: str, **at: Any) -> list[Any]:
    return client(server).threads.get_history(thread_id, limit=1000, **at)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.contextmanager
def answering(handler: Handler) -> Iterator[str]:
    """The address of a server in a thread of its own, all of whose answers are the handler's."""
    loop, port = asyncio.new_event_loop(), free_port()

    async def serve() -> web.AppRunner:
        app = web.Application(client_max_size=100_000_000)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    runner = loop.run_until_complete(serve())
    serving = threading.Thread(target=loop.run_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        serving.join()
        loop.close()


def run_import(source: str | LiveServer, target: LiveServer, *words: str, code: int = 0, **env: str) -> Any:
    """The report of ``langlog import``."""
    address = source if isinstance(source, str) else source.url
    done = subprocess.run(
        [sys.executable, "-m", "langlog", "import", "--from", address, "--to", target.url, "--json", *words],
        env={**target.env, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)
