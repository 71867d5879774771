"""Reports of a process on its services."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from langlog.services.figures import FiguresService
from langlog_backbone.operation import service_reports
from langlog_backbone.operation.service_reports import processes
from langlog_schemas import messages
from structlog.testing import capture_logs


class Pipe:
    """Takes commands, and answers with the hash that they made."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reported = asyncio.Event()

    def key(self, *parts: str) -> str:
        return ":".join(parts)

    def send(self, *command: Any) -> None:
        if command[0] == "HSET":
            self.kept[command[2]] = command[3]
            self.reported.set()
        elif command[0] == "HDEL":
            self.kept.pop(command[2], None)

    async def call(self, *command: Any) -> Any:
        return {name.encode(): data for name, data in self.kept.items()}


class Reporting:
    """A service that is not ready, or has a defect."""

    def __init__(self, name: str, reason: str | None, error: Exception | None = None) -> None:
        self.name, self.reason, self._error = name, reason, error

    async def not_ready(self) -> str | None:
        if self._error is not None:
            raise self._error
        return self.reason


def figures(*services: Any) -> tuple[FiguresService, Any]:
    pipe: Any = Pipe()
    backbone: Any = SimpleNamespace(pipe=pipe)
    return FiguresService(services, backbone), pipe


async def test_a_process_reports_its_services_and_withdraws_the_report_at_its_end() -> None:
    service, pipe = figures(Reporting("gateway", None), Reporting("decider", "it waits"))
    await service.start()
    serving = asyncio.create_task(service.serve())
    await pipe.reported.wait()
    (one,) = await processes(pipe)
    assert one.services == {"gateway": None, "decider": "it waits"}
    pipe.kept["other:1"] = b"of another release"
    pipe.kept["other:2"] = messages.encode(
        messages.ProcessInfo(host="other", pid=2, version="1", started_ms=0, reported_ms=0, services={})
    )
    assert await processes(pipe) == [one], "what cannot be read, and what is old, is left out"
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await service.stop()
    assert f"{one.host}:{one.pid}" not in pipe.kept


async def test_a_service_that_makes_progress_again_is_reported_before_the_next_regular_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_reports, "EVERY_S", 3600.0)
    monkeypatch.setattr(service_reports, "CORRECTED_S", 0.0)
    starting = Reporting("decider", "it starts")
    service, pipe = figures(starting)
    await service.start()
    serving = asyncio.create_task(service.serve())
    await pipe.reported.wait()
    starting.reason = None
    async with asyncio.timeout(60):
        while (await processes(pipe))[0].services["decider"] is not None:
            pipe.reported.clear()
            await pipe.reported.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await service.stop()


async def test_a_defect_of_a_service_does_not_end_the_process() -> None:
    service, _ = figures(Reporting("gateway", None, ValueError("a defect")))
    with capture_logs() as logs:
        await service.start()
        serving = asyncio.create_task(service.serve())
        while not logs:  # the report is made by a task
            await asyncio.sleep(0)
        assert logs[0]["event"] == "figures.report_failed" and not serving.done()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await service.stop()
