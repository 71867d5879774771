"""The ``langlog`` command beside a server under test, on its data folder and in its environment."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

from .server import LiveServer

TOOL_S = 240.0
"""No command takes longer, whatever else the machine does."""


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
