"""The ``langlog`` command beside a measured server, on its data folder and in its environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from typing import NamedTuple

from bench.driver.load import Server


class Done(NamedTuple):
    seconds: float
    """Seconds from the start of the process to its end."""
    err: str
    """Text on its stderr, which is a terminal: only there it shows its progress."""


async def langlog(server: Server, *words: str, expected: bytes) -> Done:
    """Run ``langlog WORDS --data-dir …`` to its end. Raises RuntimeError if it fails, or its output lacks ``expected``."""
    began = time.perf_counter()
    own, terminal = os.openpty()
    reading = asyncio.create_task(asyncio.to_thread(_text_of, own))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "langlog", *words, "--data-dir", str(server.stack.data)),
            env=server.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=terminal,
        )
    finally:
        os.close(terminal)
    out, _ = await process.communicate()
    seconds, err = time.perf_counter() - began, await reading
    if process.returncode != 0 or expected not in out:
        raise RuntimeError(f"langlog {words[0]} ended with {process.returncode}: {out.decode()[-500:]} {err[-500:]}")
    return Done(seconds, err)


def _text_of(terminal: int) -> str:
    """Return all that is written to the terminal until its last writer has closed it."""
    pieces = []
    # Linux reports EIO instead of an end
    with open(terminal, "rb", buffering=0) as file, contextlib.suppress(OSError):
        while piece := file.read(65_536):
            pieces.append(piece)
    return b"".join(pieces).decode(errors="replace")
