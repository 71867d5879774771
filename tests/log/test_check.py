"""A log's check before an append: its disk has room, or not."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from langlog_backbone.log import LogUnavailable, open_log

from tests.stack.fixtures import MakeSettings

PROGRAM = Path(__file__).with_name("full_disk.py")
LIMIT_S = 120.0


async def test_a_log_that_is_well_passes(make_log_settings: MakeSettings) -> None:
    log = open_log(make_log_settings())
    await log.start()
    await log.check()
    await log.stop()
    with pytest.raises(LogUnavailable):
        await log.check()


async def test_a_disk_that_takes_no_more_is_told_and_so_is_an_append_that_failed(tmp_path: Path) -> None:
    """Embedded."""
    command = [sys.executable, str(PROGRAM), str(tmp_path / "log.sqlite")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    first, well, full, refused, reported, again, recovered = json.loads(done.stderr.splitlines()[-1])
    assert (first, well, again, recovered) == ("ok", "ok", "ok", "ok")
    assert full.startswith("the log's disk takes no more")
    assert refused.startswith("the log cannot be written")
    assert reported == "the last append failed a moment ago"
    assert not list(tmp_path.glob("*.room"))
