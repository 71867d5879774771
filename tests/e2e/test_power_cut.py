"""``langlog dev`` after everything was killed at once, as by a power cut, the OOM killer or the end of a container."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import psutil
from langgraph_sdk import get_client
from langlog_backbone.embedded.servers import EmbeddedPostgres

from tests.e2e.conftest import PROJECT
from tests.stack.ends import await_ends
from tests.stack.server import LiveServer


def kill_everything(server: LiveServer) -> None:
    """The server, its workers, Postgres with its processes, and Redis: none of them does anything more."""
    psutil.Process(server.pid).suspend()
    doomed: list[psutil.Process] = []
    while started := [process for process in server.children() if process not in doomed]:
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):  # Postgres' own processes come and go
                process.suspend()
        doomed += started
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.kill()
    await_ends(process.pid for process in doomed)


async def test_it_starts_again_and_knows_all_that_was_acknowledged(tmp_path: Path) -> None:
    server = LiveServer(PROJECT, tmp_path)
    known: dict[str, str] = {}
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        for round in range(3):
            server.start()
            async with get_client(url=server.url) as client:
                for thread, draft in known.items():
                    assert (await client.threads.get_state(thread))["values"]["draft"] == draft
                thread = (await client.threads.create())["thread_id"]
                await client.runs.wait(thread, "interrupting", input={"draft": f"draft {round}"})
                known[thread] = f"draft of draft {round}"
            kill_everything(server)
            sockets = EmbeddedPostgres(server.data)._sockets
            left = [*server.data.glob("postgres-*/postmaster.pid"), *sockets.glob(".s.PGSQL.*.lock")]
            assert len(left) >= 2
            for path in left:  # the pids of the dead are those of others by now
                _, _, rest = path.read_bytes().partition(b"\n")
                path.write_bytes(f"{bystander.pid}\n".encode() + rest)
        with server.up():
            async with get_client(url=server.url) as client:
                for thread, draft in known.items():
                    assert (await client.threads.get_state(thread))["values"]["draft"] == draft
        assert bystander.poll() is None
    finally:
        server.kill()
        bystander.kill()
        bystander.wait()
