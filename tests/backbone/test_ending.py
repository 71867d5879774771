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


FORKS = """
import asyncio, multiprocessing, os, signal, time
from langlog_backbone.process.ending import Ending
{imports}

def sleeping(ready):
    ready.send("up")
    time.sleep(3600)  # until a signal ends it

def terminated():
    forking = multiprocessing.get_context("fork")
    here, there = forking.Pipe()
    child = forking.Process(target=sleeping, args=(there,), daemon=True)
    child.start()
    here.recv()
    child.terminate()
    child.join({wait_s})
    return child.exitcode

async def main():
    ending, later = Ending(3600.0), asyncio.Event()
    ending.listen()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, later.set)
    print(terminated() if {on_loop} else await asyncio.to_thread(terminated))
    os.kill(os.getpid(), signal.SIGUSR1)  # signals come in order: one that the child had passed on would come before it
    await later.wait()
    print("asked to end" if ending.requested.is_set() else "goes on")

{run}(main())
"""


@pytest.mark.parametrize("on_loop", [False, True], ids=["in a thread", "on the loop"])
@pytest.mark.parametrize(("imports", "run"), [("", "asyncio.run"), ("import uvloop", "uvloop.run")])
def test_a_signal_ends_the_process_that_the_projects_code_forked_and_not_this_one(
    imports: str, run: str, on_loop: bool
) -> None:
    """The child inherits the parent's handlers, and the file descriptor by which they wake the parent's loop."""
    script = FORKS.format(imports=imports, run=run, on_loop=on_loop, wait_s=WAIT_S)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=2 * WAIT_S, check=False
    )
    assert (done.stdout.split("\n"), done.returncode) == ([str(-signal.SIGTERM), "goes on", ""], 0), done.stderr


FORKS_AT_ONCE = """
import asyncio, multiprocessing, os, signal, time
from langlog_backbone.process.ending import Ending

async def main():
    ending, later = Ending(3600.0), asyncio.Event()
    ending.listen()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, later.set)
    for _ in range(50):
        child = os.fork()
        if child == 0:
            time.sleep(3600)  # until a signal ends it
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    os.kill(os.getpid(), signal.SIGUSR1)
    await later.wait()
    print("asked to end" if ending.requested.is_set() else "goes on")

asyncio.run(main())
"""


def test_a_signal_that_comes_while_the_process_is_forked_is_its_own_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS_AT_ONCE], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (done.stdout, done.returncode) == ("goes on\n", 0), done.stderr
