"""The processes of Node beside a worker: one that dies is replaced, one that a graph blocks gets no more jobs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from langlog_executor.graph_host import hosts as hosts_module
from langlog_executor.graph_host.hosts import GraphHosts
from langlog_executor.graph_host.jobs import HostLost
from langlog_executor.graph_host.process import STATIC, GraphHost, GraphHostError

from tests.js.host.stack import Observed, graph_files, node_programs, run, started

LIMIT_S = 60.0


async def first_frame(observed: Observed, name: str) -> None:
    """Returns once the run has streamed one of this name."""
    async with asyncio.timeout(LIMIT_S):
        while not observed.frames(name):
            observed.news.clear()
            await observed.news.wait()


async def test_a_process_that_dies_loses_its_jobs_and_is_replaced(project: Path, tmp_path: Path) -> None:
    async with started(project) as host:
        job, observed = await run(host, "gate", {"gate": str(tmp_path / "gate")}, modes=["custom"])
        await first_frame(observed, "custom")
        pid = host.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(HostLost):
            await asyncio.wait_for(job.done, LIMIT_S)
        again, observed = await run(host, "quiet", {"text": "a"})
        assert (await asyncio.wait_for(again.done, LIMIT_S))["how"] == "done"
        assert observed.frames("values")[-1]["seen"] == ["said a"]
        assert host.pid != pid and host.starts == 2


async def test_a_job_that_is_dropped_streams_nothing_more(project: Path, tmp_path: Path) -> None:
    async with started(project) as host:
        job, observed = await run(host, "gate", {"gate": str(tmp_path / "gate")}, modes=["custom"])
        await first_frame(observed, "custom")
        job.drop()
        count = len(observed.items)
        (tmp_path / "gate").touch()
        other, _ = await run(host, "quiet", {"text": "a"})
        await other.done
        assert len(observed.items) == count and host.jobs == 0


async def test_a_job_is_cancelled_and_drained(project: Path, tmp_path: Path) -> None:
    async with started(project) as host:
        job, observed = await run(host, "gate", {"gate": str(tmp_path / "never")}, modes=["custom"])
        await first_frame(observed, "custom")
        job.stop("cancel")
        assert (await asyncio.wait_for(job.done, LIMIT_S))["how"] == "cancelled"
        # the step that is executed ends, and the next one does not begin
        gate = tmp_path / "gate"
        job, observed = await run(host, "gated", {"gate": str(gate)}, modes=["custom", "updates"])
        await first_frame(observed, "custom")
        job.stop("drain")
        later, _ = await run(host, "quiet", {"text": "a"})
        await asyncio.wait_for(later.done, LIMIT_S)  # messages keep their order: the process has got the request
        gate.touch()
        assert (await asyncio.wait_for(job.done, LIMIT_S))["how"] == "drained"
        assert observed.frames("updates") == [{"wait": {"done": ["passed"]}}]


@contextlib.asynccontextmanager
async def hosts_of(project: Path, most: int, node: Path | None = None) -> AsyncIterator[GraphHosts]:
    def make() -> GraphHost:
        return GraphHost(node or node_programs()["path"], STATIC, project, dict(os.environ), graph_files(project))

    hosts = GraphHosts(make, most)
    try:
        await hosts.start()
        yield hosts
    finally:
        await hosts.stop()


async def until_blocked(hosts: GraphHosts) -> None:
    """Returns once a node is known to hold the event loop of a process."""
    async with asyncio.timeout(LIMIT_S):
        while not hosts.blocked:
            await asyncio.sleep(0.05)  # nothing signals it


async def test_a_blocked_process_gets_no_more_jobs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    async with hosts_of(project, 2) as hosts:
        blocking, observed = await run(hosts, "busy", {"gate": str(gate)}, modes=["custom"])
        await first_frame(observed, "custom")
        await until_blocked(hosts)
        other, _ = await run(hosts, "quiet", {"text": "a"})
        assert (await asyncio.wait_for(other.done, LIMIT_S))["how"] == "done"
        assert not blocking.done.done() and hosts.starts == 2 and len(hosts.pids) == 2
        assert hosts.blocking == {"busy"}
        gate.touch()
        assert (await asyncio.wait_for(blocking.done, LIMIT_S))["how"] == "done"
        monkeypatch.setattr(hosts_module, "IDLE_S", 0.0)
        hosts.sweep()
        assert len(hosts.pids) == 1 and hosts.starts == 2


class BreakableNode:
    """A program that is Node as long as a file is there, and else fails."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "breakable-node"
        self.sound = folder / "sound"
        self.sound.touch()
        real = node_programs()["path"]
        self.path.write_text(f'#!/bin/sh\n[ -e "{self.sound}" ] || exit 1\nexec "{real}" "$@"\n')
        self.path.chmod(0o755)


async def killed(host: GraphHost) -> None:
    """Returns once it has noticed that its process is over."""
    assert host.pid is not None
    os.kill(host.pid, signal.SIGKILL)
    async with asyncio.timeout(LIMIT_S):
        while host.ready:
            await asyncio.sleep(0.01)  # nothing signals it


async def test_after_a_start_that_failed_a_job_waits_for_the_next_one(project: Path, tmp_path: Path) -> None:
    node = BreakableNode(tmp_path)
    host = GraphHost(node.path, STATIC, project, dict(os.environ), graph_files(project))
    try:
        await host.start()
        node.sound.unlink()
        await killed(host)
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(GraphHostError):
                await run(host, "quiet", {"text": "a"})
            later = asyncio.create_task(run(host, "quiet", {"text": "a"}))
            node.sound.touch()
            job, _ = await later
            assert (await job.done)["how"] == "done"
    finally:
        await host.stop()


async def test_while_a_process_starts_again_another_one_takes_its_jobs(project: Path, tmp_path: Path) -> None:
    node = BreakableNode(tmp_path)
    gate = tmp_path / "gate"
    async with hosts_of(project, 2, node.path) as hosts:
        blocking, _ = await run(hosts, "busy", {"gate": str(gate)}, modes=["custom"])
        first = hosts.pids[0]
        async with asyncio.timeout(LIMIT_S):
            await until_blocked(hosts)
            other, _ = await run(hosts, "quiet", {"text": "a"})
            await other.done
            node.sound.unlink()
            os.kill(first, signal.SIGKILL)
            with pytest.raises(HostLost):
                await blocking.done
            other, _ = await run(hosts, "quiet", {"text": "a"})
            assert (await other.done)["how"] == "done"
            assert first not in hosts.pids


async def test_the_last_process_is_waited_for(project: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with hosts_of(project, 1) as hosts:
        blocking, observed = await run(hosts, "busy", {"gate": str(gate)}, modes=["custom"])
        await first_frame(observed, "custom")
        await until_blocked(hosts)
        waiting = asyncio.ensure_future(run(hosts, "quiet", {"text": "a"}))
        done, _ = await asyncio.wait([waiting], timeout=1.0)
        assert not done
        gate.touch()
        job, _ = await asyncio.wait_for(waiting, LIMIT_S)
        assert (await asyncio.wait_for(job.done, LIMIT_S))["how"] == "done"
        await blocking.done
