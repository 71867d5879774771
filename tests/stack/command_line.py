"""The ``langlog`` command beside a server under test, on its data folder and in its environment: as a process, or in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from unittest.mock import patch

from click.testing import CliRunner
from langlog.main import cli
from langlog_backbone.process.settings import Settings
from langlog_executor.replay.request import Replayed, ReplayRequest, StepDiff

from .server import LiveServer

TOOL_S = 240.0
"""Maximum seconds of a command, whatever else the machine does."""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def langlog(server: LiveServer, *words: str, **env: str) -> Done:
    """Run ``langlog WORDS --data-dir …`` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "langlog", *words, "--data-dir", str(server.data)],
        env={**server.env, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def langlog_here(server: LiveServer, *words: str) -> Done:
    """Run a command in this process, because the imports of a new one would take longer than the command."""
    env: dict[str, str | None] = {name: None for name in os.environ if name not in server.env}
    env |= {**server.env, "LOG_JSON": None, "LOG_LEVEL": "error"}
    # a command that fails must not end the tests with it, nor `rebuild` lower the priority of those that follow
    with patch("langlog.services.running._end_anyway"), patch("os.nice"):
        done = CliRunner(env=env).invoke(cli, [*words, "--data-dir", str(server.data)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


async def carried_out_here(
    order: ReplayRequest, settings: Settings, limit_s: float, on_step: Callable[[StepDiff], Awaitable[None]]
) -> Replayed:
    """Instead of `langlog_executor.replay.process.run_in_sandbox`: the graph in this process too."""
    from langlog_executor.replay.run import CannotReplay, replay

    os.environ["LOG_URI"] = settings.log_uri  # as the process gets it; CliRunner puts back what was
    steps: list[StepDiff] = []
    try:
        return await replay(order, steps.append)
    except CannotReplay as error:
        return Replayed(problem=str(error))
    finally:
        del os.environ["LOG_URI"]
        for step in steps:
            await on_step(step)
