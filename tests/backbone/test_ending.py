"""A process ends in time after a stop signal, also when its event loop no longer runs."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

WAIT_S = 60.0

STUCK = """
import asyncio, threading
from langlog_backbone.process.ending import Ending, end_by_force

async def main():
    ending = Ending(float({limit_s}), end_by_force)
    ending.listen()
    print("up", flush=True)
    await ending.requested.wait()
    print("asked", flush=True)
    if {blocked}:
        threading.Event().wait()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def started(*, limit_s: float, blocked: bool) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK.format(limit_s=limit_s, blocked=blocked)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("blocked", [False, True])
def test_a_process_that_does_not_stop_is_ended_when_its_time_is_over(blocked: bool) -> None:
    process = started(limit_s=0.2, blocked=blocked)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert "ended by force 0.2 s after the stop signal (LANGLOG_STOP_SECS)" in errors


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_long_before_that(second: int) -> None:
    process = started(limit_s=10 * WAIT_S, blocked=False)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"
    process.send_signal(second)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert "ended at once by a second signal" in errors
