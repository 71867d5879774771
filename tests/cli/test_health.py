"""The health port of a service and the command that queries it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio
from langlog.services.health import HealthService

from tests.stack.server import free_port

WAIT_S = 120.0


class Patient:
    """A service whose health a test decides."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reason: str | None = None

    async def start(self) -> None: ...

    async def serve(self) -> None: ...

    async def drain(self) -> None: ...

    async def stop(self) -> None: ...

    async def not_ready(self) -> str | None:
        return self.reason


class Surgery:
    def __init__(self) -> None:
        self.patients = [Patient("decider"), Patient("workers")]
        self.port = free_port()

    async def asked(self) -> tuple[int, str]:
        """Exit code and words of `langlog health`."""
        words = [sys.executable, "-m", "langlog", "health", "--port", str(self.port)]
        finished = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=WAIT_S)
        return finished.returncode, (finished.stdout + finished.stderr).strip()


@pytest_asyncio.fixture
async def surgery() -> AsyncIterator[Surgery]:
    surgery = Surgery()
    service = HealthService(surgery.patients, "127.0.0.1", surgery.port)
    await service.start()
    task = asyncio.create_task(service.serve())
    yield surgery
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.stop()


async def test_it_is_healthy_when_all_services_of_the_process_are(surgery: Surgery) -> None:
    assert await surgery.asked() == (0, "ok")


async def test_the_one_that_is_not_is_named(surgery: Surgery) -> None:
    surgery.patients[1].reason = "no worker process runs"
    assert await surgery.asked() == (1, "not healthy: workers (no worker process runs)")


async def test_a_service_that_is_not_ready_is_alive(surgery: Surgery) -> None:
    surgery.patients[0].reason = "Postgres is unavailable"
    async with aiohttp.ClientSession(f"http://127.0.0.1:{surgery.port}") as http:
        async with http.get("/live") as answer:
            assert answer.status == 200
        async with http.get("/ok") as answer:
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_nonsense_and_silence_do_no_harm(surgery: Surgery) -> None:
    for data in (b"", b"\x00\xff", b"x" * 20_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", surgery.port)
        writer.write(data)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
        writer.close()
    assert await surgery.asked() == (0, "ok")


async def test_nobody_there_is_not_healthy() -> None:
    surgery = Surgery()
    code, said = await surgery.asked()
    assert code == 1
    assert f"no answer from 127.0.0.1:{surgery.port}" in said
