"""The ``langlog`` command beside a measured server, on its data folder and in its environment."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import NamedTuple

from bench.driver.load import Server


class Done(NamedTuple):
    seconds: float
    """Seconds from the start of the process to its end."""
    err: str


async def langlog(server: Server, *words: str, expected: bytes) -> Done:
    """Run ``langlog WORDS --data-dir …`` to its end. Raises RuntimeError if it fails, or its output lacks ``expected``."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "langlog", *words, "--data-dir", str(server.stack.data)),
        env=server.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode != 0 or expected not in out:
        output = f"{out.decode()[-500:]} {err.decode()[-500:]}"
        raise RuntimeError(f"langlog {words[0]} ended with {process.returncode}: {output}")
    return Done(time.perf_counter() - began, err.decode())
