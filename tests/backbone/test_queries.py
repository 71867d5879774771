"""Queries to workers that Redis loses."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import Bus, RedisPipe
from langlog_backbone.redis.queries import QUERIES, QueryClient
from langlog_backbone.redis.replies import ANSWER, ReplyRouter
from langlog_schemas import messages
from langlog_schemas.messages import Answer, Query

LIMIT_S = 60.0


class Worker:
    """Receives queries like a worker; answers when the test requests it."""

    def __init__(self, settings: Settings) -> None:
        self._pipe = RedisPipe(settings, patient=True)

    async def take(self) -> Query:
        async with asyncio.timeout(LIMIT_S):
            _, data = await self._pipe.call("BRPOP", self._pipe.key(QUERIES), 0)
        return messages.decode_query(data)

    async def answer(self, query: Query) -> None:
        data = ANSWER + messages.encode(Answer(id=query.id, body=b"{}"))
        await self._pipe.call("PUBLISH", self._pipe.key(channels.gateway(query.reply_to)), data)

    def close(self) -> None:
        self._pipe.drop()


@pytest.fixture
def settings(redis_server: EmbeddedRedis) -> Settings:
    return Settings(redis_uri=redis_server.uri, redis_prefix=f"{uuid.uuid4().hex}:")


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    made = Worker(settings)
    yield made
    made.close()


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[QueryClient]:
    pipe = RedisPipe(settings)
    bus = Bus(pipe, settings)
    await bus.start()
    replies = ReplyRouter(bus)
    await replies.start()
    yield QueryClient(pipe, replies)
    assert replies.idle
    await replies.stop()
    await bus.stop()
    await pipe.stop()


async def test_a_query_is_asked_again_when_the_subscription_was_lost(
    client: QueryClient, worker: Worker, settings: Settings
) -> None:
    asked = asyncio.create_task(client.query("state", b"{}", 3600.0))
    first = await worker.take()
    pipe = RedisPipe(settings)
    await pipe.call("CLIENT", "KILL", "TYPE", "pubsub")
    await pipe.stop()
    again = await worker.take()
    assert again == first
    await worker.answer(again)
    assert (await asyncio.wait_for(asked, LIMIT_S)).body == b"{}"


async def test_a_query_whose_worker_died_is_asked_once_more_and_one_that_waits_is_not(
    client: QueryClient, worker: Worker, settings: Settings
) -> None:
    pipe = RedisPipe(settings)
    asked = asyncio.create_task(client.query("state", b"{}", 3600.0))
    async with asyncio.timeout(LIMIT_S):
        while await pipe.call("LLEN", pipe.key(QUERIES)) == 0:
            await asyncio.sleep(0)
    (query_id, data), *_ = client._under_way.items()
    await client._resend_if_taken(query_id, data)
    assert await pipe.call("LLEN", pipe.key(QUERIES)) == 1
    first = await worker.take()
    await client._resend_if_taken(query_id, data)
    again = await worker.take()
    assert again == first
    await worker.answer(again)
    await asyncio.wait_for(asked, LIMIT_S)
    await pipe.stop()


async def test_a_query_that_no_worker_answers_is_given_up(client: QueryClient) -> None:
    with pytest.raises(TimeoutError):
        await client.query("state", b"{}", 0.1)
