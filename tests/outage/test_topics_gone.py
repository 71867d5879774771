"""A topic of Kafka that an operator deletes while langlog runs: it is not ready, says so, and loses nothing that it acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from langlog_backbone.log import Log, started_log
from langlog_backbone.log.kafka.client import topic_options
from langlog_backbone.log.records import command_record
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd

from tests.e2e.conftest import PROJECT
from tests.outage.eventually import eventually
from tests.stack.command_line import langlog
from tests.stack.server import LiveServer, kafka_env

pytestmark = pytest.mark.kafka
LIMIT_S = 180.0


def call(server: LiveServer, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, server.url + path, json=body, timeout=LIMIT_S)


def lived(server: LiveServer) -> str:
    thread: str = call(server, "POST", "/threads", {}).json()["thread_id"]
    answer = call(server, "POST", f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": "hello"}})
    assert answer.ok, answer.text
    return thread


@asynccontextmanager
async def operator(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def delete(settings: Settings, topic: str) -> None:
    async with operator(settings) as admin:
        await admin.delete_topics([settings.topic_prefix + topic])


async def make(settings: Settings, topic: str) -> None:
    new = NewTopic(settings.topic_prefix + topic, settings.partitions, 1, topic_configs=topic_options(settings, 1))

    async def made() -> bool:
        async with operator(settings) as admin:
            return bool((await admin.create_topics([new])).topic_errors[0][1] == 0)

    await eventually(made)  # a broker may still delete what had the name


def until(what: Callable[[], bool]) -> None:
    async def look() -> bool:
        return await asyncio.to_thread(what)

    asyncio.run(eventually(look))


def with_log(settings: Settings, use: Callable[[Log], Awaitable[None]]) -> None:
    async def used() -> None:
        async with started_log(settings) as log:
            await use(log)

    asyncio.run(used())


def test_commands_that_were_deleted_and_made_again_are_refused_until_their_offsets_continue(
    kafka: str, tmp_path: Path
) -> None:
    server = LiveServer(PROJECT, tmp_path, kafka_env(kafka))
    settings = read_settings(server.env, data_dir=server.data)
    stored = settings.topic_prefix + "commands"
    with server.up(verified=False):
        threads = [lived(server) for _ in range(4)]
        asyncio.run(delete(settings, "commands"))
        until(lambda: "was deleted" in call(server, "GET", "/ok").text)
        ill = call(server, "GET", "/ok").text
        assert call(server, "GET", "/ok").status_code == 503
        assert f"topic {stored} was deleted" in ill and "docs/how-to/backup.md" in ill
        refused = call(server, "POST", "/threads", {})
        assert refused.status_code == 503, refused.text
        assert call(server, "GET", f"/threads/{threads[0]}").ok
        figures = call(server, "GET", "/metrics").text
        ready = [line for line in figures.splitlines() if line.startswith("langlog_service_ready")]
        assert {float(line.rsplit(" ", 1)[1]) for line in ready if "decider" in line or "projector" in line} == {0}
        (shown,) = [
            line for line in figures.splitlines() if line.startswith("langlog_unavailable{") and "log.topics" in line
        ]
        assert float(shown.rsplit(" ", 1)[1]) == 1
        asyncio.run(make(settings, "commands"))
        until(lambda: not server.alive)
        assert server.count(lambda said: said.get("event") == "kafka.topic_missing")
        assert server.count(lambda said: said.get("event") == "kafka.topic_made_again" and not said["used"])
    with pytest.raises(RuntimeError, match="ended with 1") as ended:
        server.start()
    (said,) = [line for line in str(ended.value).splitlines() if line.startswith("langlog: ")]
    assert "langlog log repair-commands" in said, said

    new = [new_id() for _ in range(8)]
    records = [command_record(cmd.CreateThread(thread_id=id), id=new_id(), source="/test") for id in new]

    async def append(log: Log) -> None:
        await log.append(records)

    with_log(settings, append)
    repaired = langlog(server, "log", "repair-commands", "--yes")
    assert repaired.code == 0 and "Repaired" in repaired.out, repaired
    again = langlog(server, "log", "repair-commands", "--yes")
    assert again.code == 0 and "Nothing to repair" in again.out, again
    with server.up():
        for thread in [*threads, *new]:
            until(lambda thread=thread: call(server, "GET", f"/threads/{thread}").ok)  # type: ignore[misc]
        lived(server)


def test_a_topic_without_records_may_be_made_again_while_langlog_runs(kafka: str, tmp_path: Path) -> None:
    server = LiveServer(PROJECT, tmp_path, kafka_env(kafka))
    settings = read_settings(server.env, data_dir=server.data)
    with server.up():
        lived(server)
        asyncio.run(delete(settings, "cron-events"))
        until(lambda: "was deleted" in call(server, "GET", "/ok").text)
        asyncio.run(make(settings, "cron-events"))
        until(lambda: call(server, "GET", "/ok").ok)
        lived(server)
        cron = call(
            server, "POST", "/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {"text": "hello"}}
        )
        assert cron.ok, cron.text
