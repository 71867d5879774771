"""WebSockets of the streaming protocol on one gateway: costs of an idle one, and delay of events on the active ones."""

from __future__ import annotations

import asyncio
import gc
import uuid
from typing import Any

import psutil

from bench.driver.load import Result, Server, open_connections, until_idle
from bench.driver.processes import Meter
from bench.driver.websocket import WebSocket

IDLE = 1000
ACTIVE = 100
PER_S = 20
AT_ONCE = 50
"""Maximum number of concurrent handshakes."""
SETTLING_S = 1.0
MARK = b'"text":"'
"""Text before the time of a word's emission."""
WORDS = b'"content-block-delta"'
OVER = b'"event":"completed"'


class Words:
    """Delays of the words of a model that streams the current time."""

    def __init__(self, over: asyncio.Event) -> None:
        self.ms: list[float] = []
        self._over = over

    def __call__(self, event: bytes, now: int) -> None:
        if WORDS in event:
            start = event.index(MARK) + len(MARK)
            self.ms.append((now - int(event[start : event.index(b" ", start)])) / 1e6)
        elif OVER in event:
            self._over.set()


def _speaking(words: int) -> dict[str, Any]:
    """Return the parameters that start a model with so many words."""
    return {
        "assistant_id": "speaker",
        "input": {"messages": [{"role": "user", "content": f"{words} {1 / PER_S}"}]},
    }


async def _unheard(server: Server, words: int) -> None:
    """Execute the same runs without subscribers, whose memory in the process is not that of the sockets."""
    sockets = await _opened(server, ACTIVE, subscribed=False)
    await asyncio.gather(*(socket.command("run.start", _speaking(words)) for socket in sockets))
    _close(sockets)
    [connection] = await open_connections(server, 1)
    await until_idle(connection)
    connection.close()


async def _opened(server: Server, count: int, *, subscribed: bool = True) -> list[WebSocket]:
    """Open sockets, each on a thread of its own."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one() -> WebSocket:
        async with limit:
            socket = await WebSocket.open(server.host, server.port, f"/threads/{uuid.uuid4()}/stream/events")
            if subscribed:
                await socket.command("subscription.subscribe", {"channels": ["messages", "lifecycle"]})
            return socket

    return await asyncio.gather(*(one() for _ in range(count)))


def _close(sockets: list[WebSocket]) -> None:
    for socket in sockets:
        socket.close()


async def sockets(server: Server) -> list[Result]:
    """Measure a thousand idle sockets, and a hundred on which a model streams; what the gateway's resident memory grows by."""
    gateway = psutil.Process(server.stack.root)
    _close(await _opened(server, ACTIVE))  # what the first ones of a process cost is not theirs
    await asyncio.sleep(SETTLING_S)
    before = gateway.memory_info().rss
    idle = await _opened(server, IDLE)
    await asyncio.sleep(SETTLING_S)
    with_idle = gateway.memory_info().rss
    words = int(server.seconds * PER_S)
    await _unheard(server, words)
    await asyncio.sleep(SETTLING_S)
    before_active = gateway.memory_info().rss
    active = await _opened(server, ACTIVE)
    ends = [asyncio.Event() for _ in active]
    received = [Words(end) for end in ends]
    for socket, hearing in zip(active, received, strict=True):
        socket.on_event = hearing
    gc.collect()
    gc.disable()  # of this process, whose pauses are not the server's
    meter = Meter(server.stack)
    try:
        await asyncio.gather(*(socket.command("run.start", _speaking(words)) for socket in active))
        await asyncio.gather(*(end.wait() for end in ends))
    finally:
        gc.enable()
    passed, cpu = meter.read()
    grown = with_idle - before + gateway.memory_info().rss - before_active
    lost = sum(socket.close_code is not None for socket in (*idle, *active))
    _close(idle + active)
    delays = [ms for hearing in received for ms in hearing.ms]
    missing = abs(ACTIVE * words - len(delays))
    idle_kb = (with_idle - before) / IDLE / 1000
    every_kb = grown / (IDLE + ACTIVE) / 1000
    return [
        Result(
            f"{IDLE:,} idle sockets",
            0,
            "",
            0,
            [],
            {},
            errors=lost,
            note=f"{idle_kb:.1f} kB each",
            more={"kb_each": idle_kb},
        ),
        Result(
            f"{ACTIVE} active sockets at {PER_S}/s beside them",
            len(delays),
            "frame",
            passed,
            delays,
            cpu,
            missing,
            more={"kb_each": every_kb},
        ),
    ]
