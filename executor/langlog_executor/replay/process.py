"""Runs a past run again in a process of its own (`langlog_executor.replay.run`), which is killed when it takes too long.

Imports no graph code. When the process dies, the caller gets the problem in words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable

from langlog_backbone.process.environment import FILE_SUFFIX, VARIABLES
from langlog_backbone.process.settings import Settings

from .request import END, HEAD_BYTES, Replayed, ReplayRequest, StepDiff, decode_replayed, decode_step, encode, head


async def run_in_sandbox(
    request: ReplayRequest, settings: Settings, limit_s: float, on_step: Callable[[StepDiff], Awaitable[None]]
) -> Replayed:
    """Replay in a separate process, which is killed when it takes too long. ``on_step`` is awaited with each completed step: the process
    waits while it takes long."""
    servers = [name for field in ("database_uri", "redis_uri") for name in VARIABLES[field]]
    unset = {name: "" for server in servers for name in (server, server + FILE_SUFFIX)}
    env = {"LOG_LEVEL": "error", **os.environ, "LOG_URI": settings.log_uri, **unset}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "langlog_executor.replay.run"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=env,
    )
    try:
        async with asyncio.timeout(limit_s):
            replayed = await _answer(process, encode(request), on_step)
            await process.wait()
    except TimeoutError:
        return Replayed(problem=f"the graph has not ended within {limit_s:g} s: give it longer with --timeout")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if replayed is None:
        return Replayed(
            problem=f"the process of the graph died with exit code {process.returncode}; its output is above"
        )
    return replayed


async def _answer(process: Process, request: bytes, on_step: Callable[[StepDiff], Awaitable[None]]) -> Replayed | None:
    """Return the process's answer, read part by part; None if it ends before the last part."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(request)
        await process.stdin.drain()
    process.stdin.close()
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            kind, length = head(await process.stdout.readexactly(HEAD_BYTES))
            body = await process.stdout.readexactly(length)
            if kind == END:
                return decode_replayed(body)
            await on_step(decode_step(body))
    return None
