"""Replays over HTTP, whose executor the test plays: what waits for a client that does not read is bounded."""

from __future__ import annotations

import asyncio
import socket

import msgspec
from langlog_backbone.metrics.table import SLOW_READERS
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.replays import REPLAYS
from langlog_schemas import messages
from langlog_schemas.messages import ReplayKind, ReplayPart, ReplayQuery

from .conftest import MakeStack, Stack, make_thread

LIMIT_S = 60.0
STEP_BYTES = 900_000
STEPS_MAX = 100
"""More of them than sockets and the gateway hold together."""


class Executor:
    """The test, in place of an executor that has claimed a replay."""

    def __init__(self, stack: Stack, query: ReplayQuery) -> None:
        self._bus, self._channel = stack.backbone.bus, channels.replay(query.id)

    async def send(self, kind: ReplayKind, body: bytes = b"") -> int:
        """Return the number of gateways that follow."""
        return await self._bus.publish_counted(self._channel, messages.encode(ReplayPart(kind=kind, body=body)))


async def past_run(stack: Stack) -> str:
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo"})
    return f"/threads/{thread_id}/runs/{run['run_id']}/replay"


async def claimed(stack: Stack) -> Executor:
    client = RedisPipe(stack.backbone.settings, patient=True)
    try:
        async with asyncio.timeout(LIMIT_S):
            _, data = await client.call("BRPOP", client.key(REPLAYS), 0)
    finally:
        client.drop()
    return Executor(stack, messages.decode_replay_query(data))


async def test_a_replay_is_given_up_when_its_client_stops_reading(make_stack: MakeStack) -> None:
    async with make_stack(stream_buffer_bytes=2 * STEP_BYTES) as stack:
        path, cut_off = await past_run(stack), SLOW_READERS._value.get()
        port = int(stack.url.rpartition(":")[2])
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(
                client, f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()
            )
            executor = await claimed(stack)
            assert await executor.send("began")
            step, sent = msgspec.json.encode("x" * STEP_BYTES), 0
            while sent < STEPS_MAX and await executor.send("step", step):
                sent += 1
            async with asyncio.timeout(LIMIT_S):  # the gateway gives a client that does not read some seconds
                while await executor.send("beat"):
                    await asyncio.sleep(0.05)
            assert SLOW_READERS._value.get() == cut_off + 1


async def test_a_client_that_reads_again_is_told_that_it_was_too_slow(make_stack: MakeStack) -> None:
    async with make_stack(stream_buffer_frames=2) as stack:
        path = await past_run(stack)
        async with stack.http.post(f"{stack.url}{path}") as answer:
            executor = await claimed(stack)
            parts = [messages.encode(ReplayPart(kind="step", body=b"%d" % n)) for n in range(4)]
            for part in parts:  # at once: the gateway writes none of them before it has the last one
                stack.backbone.bus.deliver_local(executor._channel, part)
            [(name, data)] = await stack.events(answer)
            assert (name, data["detail"]) == ("refused", "the client reads too slowly: too many steps wait for it")


async def test_beats_do_not_gather(make_stack: MakeStack) -> None:
    async with make_stack(stream_buffer_frames=2) as stack:
        path = await past_run(stack)
        async with stack.http.post(f"{stack.url}{path}") as answer:
            executor = await claimed(stack)
            for _ in range(4):
                stack.backbone.bus.deliver_local(executor._channel, messages.encode(ReplayPart(kind="beat")))
            assert await executor.send("end", b"{}")
            assert await stack.events(answer) == [("end", {})]
