"""The wait of tests for processes that are not their children."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import psutil
import pytest

from tests.stack.ends import await_ends

CHILDLESS = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE).pid, flush=True); input()"
"""Starts a process and never takes notice of its end."""


async def test_a_process_has_ended_although_nobody_has_taken_notice() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", CHILDLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        with pytest.raises(AssertionError, match=f"process {child.pid} .* goes on after 0 s"):
            await_ends([child.pid], 0)
        waiting = asyncio.create_task(asyncio.to_thread(await_ends, [child.pid]))
        child.kill()
        await waiting
        assert child.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.communicate()
    await_ends([child.pid])
