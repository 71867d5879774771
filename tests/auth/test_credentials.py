"""A caller's credentials reach the graph that runs for the caller, and nothing else. On both logs, with real workers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from langlog_backbone.credentials.run_credentials import CredentialsGone, Private, RunCredentials
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.postgres.pool import Pool
from langlog_backbone.process.settings import Settings

from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "credentials" / "langgraph.json"
LIMIT_S = 120.0
HEADERS = {"authorization": "alice", "x-upstream-key": "HEADER-TOKEN-OF-alice", "x-colour": "red"}
TOKENS = ("MEMBER-TOKEN-OF-alice", "HEADER-TOKEN-OF-alice")
SAW = {"member": len(TOKENS[0]), "header": len(TOKENS[1]), "colour": "red", "team": "blue"}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    with LiveServer(PROJECT, tmp_path_factory.mktemp("credentials"), env).up() as live:
        yield live


@pytest.fixture
async def session(server: LiveServer) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(server.url, headers=HEADERS, timeout=timeout) as opened:
        yield opened


@pytest.fixture
async def hooks() -> AsyncIterator[tuple[str, asyncio.Queue[str]]]:
    """The address of a receiver, and the bodies that it gets."""
    bodies: asyncio.Queue[str] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        bodies.put_nowait(await request.text())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", bodies
    await runner.cleanup()


async def text_of(session: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> str:
    async with session.request(method, path, json=body) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        return text


def shown(text: str) -> list[str]:
    return [token for token in TOKENS if token in text]


async def test_the_graph_has_its_callers_credentials_and_nobody_else_sees_them(
    session: aiohttp.ClientSession, hooks: tuple[str, asyncio.Queue[str]], server: LiveServer
) -> None:
    address, bodies = hooks
    thread = json.loads(await text_of(session, "POST", "/threads", {}))["thread_id"]
    runs = f"/threads/{thread}/runs"
    modes = ["values", "debug", "checkpoints", "tasks", "updates", "events"]
    asked = {
        "assistant_id": "teller",
        "input": {},
        "webhook": address,
        "stream_mode": modes,
        "stream_resumable": True,
    }
    texts = {"stream": await text_of(session, "POST", f"{runs}/stream", asked)}
    resumed = {"assistant_id": "teller", "command": {"resume": 1}, "webhook": address}
    assert json.loads(await text_of(session, "POST", f"{runs}/wait", resumed))["saw"] == SAW
    first = json.loads(await text_of(session, "GET", runs))[-1]["run_id"]
    for path in (
        runs,
        f"{runs}/{first}",
        f"{runs}/{first}/stream",
        f"/threads/{thread}/state",
        f"/threads/{thread}/history",
        f"/threads/{thread}",
        f"/threads/{thread}/events?include=frames",
    ):
        texts[path] = await text_of(session, "GET", path)
    async with asyncio.timeout(LIMIT_S):
        texts["webhook"] = await bodies.get()
        texts["second webhook"] = await bodies.get()
    texts["log"] = await asyncio.to_thread(exported, server)
    assert '"team"' in texts["log"] and "alice" in texts["log"], "public members stay"
    assert {name: shown_text for name, text in texts.items() if (shown_text := shown(text))} == {}
    kwargs = json.loads(texts[f"{runs}/{first}"])["kwargs"]
    assert "sealed" not in kwargs
    assert kwargs["config"]["configurable"]["langgraph_auth_user"]["team"] == "blue"
    assert kwargs["config"]["configurable"]["x-colour"] == "red"


@pytest.mark.parametrize("path", ["/runs/wait", "/runs/batch"])
async def test_stateless_runs_and_batches_have_them_too(session: aiohttp.ClientSession, path: str) -> None:
    body: Any = {"assistant_id": "teller", "input": {}, "on_completion": "keep"}
    decoded = json.loads(await text_of(session, "POST", path, [body] if path.endswith("batch") else body))
    if path.endswith("batch"):
        run = decoded[0]
        decoded = json.loads(await text_of(session, "GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}/join"))
    assert decoded["__interrupt__"][0]["value"] == "go on?"


@pytest.mark.parametrize(
    ("graph", "node"), [("by_runtime", "ask_alice"), ("by_config", "ask_alice"), ("by_tone", "ask_none")]
)
async def test_a_factory_knows_its_caller_whatever_the_graph_is_made_for(
    session: aiohttp.ClientSession, graph: str, node: str
) -> None:
    thread = json.loads(await text_of(session, "POST", "/threads", {}))["thread_id"]
    path = f"/threads/{thread}"
    asked = {"assistant_id": graph, "input": {}}
    assert "__interrupt__" in json.loads(await text_of(session, "POST", f"{path}/runs/wait", asked))
    (decoded,) = json.loads(await text_of(session, "POST", "/assistants/search", {"graph_id": graph}))
    assistant = f"/assistants/{decoded['assistant_id']}"
    assert json.loads(await text_of(session, "GET", f"{path}/state"))["next"] == [node]
    assert json.loads(await text_of(session, "POST", f"{path}/history", {}))[0]["next"] == [node]
    await text_of(session, "POST", f"{path}/state", {"values": {"saw": 1}, "as_node": node})
    drawn = json.loads(await text_of(session, "GET", f"{assistant}/graph"))
    assert node in [one["id"] for one in drawn["nodes"]]
    assert json.loads(await text_of(session, "GET", f"{assistant}/subgraphs")) == {}
    assert json.loads(await text_of(session, "GET", f"{assistant}/schemas"))["input_schema"]["properties"]["saw"]
    headers = {"accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with session.post("/mcp", json=body, headers=headers) as answer:
        assert graph in [tool["name"] for tool in (await answer.json())["result"]["tools"]]


def exported(server: LiveServer) -> str:
    """All records of the log, decoded."""
    done = subprocess.run(
        [sys.executable, "-m", "langlog", "log", "export", "--data-dir", str(server.data)],
        env=server.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# what keeps them


@pytest.fixture
async def pool(postgres: EmbeddedPostgres) -> AsyncIterator[Pool]:
    settings = Settings(database_uri=postgres.uri, projection=f"p{os.urandom(4).hex()}")
    result = Pool(await connect_pool(settings))
    await ensure_read_model(result, settings)
    yield result
    await result.close()


def settings_of(**changes: Any) -> Settings:
    return Settings(keys_schema=f"k{os.urandom(4).hex()}", **changes)


PRIVATE = Private(user={"upstream": "t"}, headers={"x-key": "h"})


async def test_what_is_kept_is_sealed_and_opens_under_any_of_the_secrets(pool: Pool) -> None:
    settings = settings_of(secret="the former secret")
    await RunCredentials(pool, settings).keep({"r1": PRIVATE})
    sealed = await pool.fetchval(f"SELECT sealed FROM {settings.keys_schema}.run_credentials")
    assert b"upstream" not in sealed
    both = Settings(keys_schema=settings.keys_schema, secret="the newer secret, the former secret")
    assert await RunCredentials(pool, both).of("r1") == PRIVATE
    newer = Settings(keys_schema=settings.keys_schema, secret="the newer secret")
    with pytest.raises(CredentialsGone, match="LANGLOG_SECRET"):
        await RunCredentials(pool, newer).of("r1")
    with pytest.raises(CredentialsGone, match="create the run again"):
        await RunCredentials(pool, both).of("r2")


async def test_services_that_start_at_once_agree_on_one_secret(pool: Pool) -> None:
    settings = settings_of()
    services = [RunCredentials(pool, settings) for _ in range(4)]
    await asyncio.gather(*(service.keep({f"r{n}": PRIVATE}) for n, service in enumerate(services)))
    assert [await service.of(f"r{3 - n}") for n, service in enumerate(services)] == [PRIVATE] * 4


async def test_credentials_of_runs_that_are_over_are_deleted_and_young_ones_stay(pool: Pool) -> None:
    settings = settings_of()
    credentials = RunCredentials(pool, settings)
    await credentials.forget()  # before anything was ever kept
    await credentials.keep({"old": PRIVATE, "young": PRIVATE})
    await pool.execute(
        f"UPDATE {settings.keys_schema}.run_credentials SET kept_at = now() - interval '2 hours' WHERE run_id = 'old'"
    )
    await credentials.forget()
    assert await credentials.of("young") == PRIVATE
    with pytest.raises(CredentialsGone):
        await credentials.of("old")
